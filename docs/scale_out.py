"""The numbers of docs/scale-out.md: seconds of a SCOPE step by number of GPUs, on paper.

Change a constant below and run it again:

    .venv/bin/python docs/scale_out.py             # the page's tables
    .venv/bin/python docs/scale_out.py measure     # what is called measured and is not in `make bench-driver`; minutes
"""

import os
import random
import sys
import time

from scope_openrlhf.models.shape import Shape, known_shape, shape_of
from scope_openrlhf.platform import cpu
from scope_openrlhf.run.dry_run import GIB, engine_room

# published: an H100 SXM's bf16 FLOP/s, bytes/s, GiB; its 400 Gb/s network port
FLOPS, HBM, MEMORY_GIB, PORT = 989e12, 3.35e12, 80, 50e9
# assumed: share of the peak that is reached; sequences of an engine at once, at most; least seconds of a decode step
PREFILL, TRAIN, DECODE, SEQUENCES, FLOOR = 0.30, 0.40, 0.50, 256, 0.005
# assumed: tokens of a prompt and of a response, mean; of the longest response; share of rollouts that is wrong
PROMPT, RESPONSE, LONGEST, WRONG = 150, 6_000, 12_288, 0.5
TCP = 2.5e9  # assumed: bytes/s in and out of the driver's node
# the recipes: rollouts a prompt, prompts a step on 8 GPUs, tokens of a micro-batch
GROUP, PROMPTS, PACKED = 8, 256, 16_384
# measured on two CPU cores, seconds and bytes
# driver: response -> rollout, and train_step; for a rollout, for each token
INTAKE, TRAIN_STEP = (1.0e-3, 0.14e-6), (0.5e-3, 0.1e-6)
STORE, DRIVER = 71, 145  # through the object store, and the driver's own memory at its peak; for each token
WAIT = 2.2e-6  # ray.wait for the next group: times prompts squared
BALANCE, BALANCE_BYTES = 2.3e-6, 125  # balanced micro-batches: times rollouts x micro-batches
CALL, HANDLE = 0.7e-3, 0.9e-5  # a call to an engine; what the handle of each training rank adds to it

SETTINGS = {
    "Qwen3-1.7B, Qwen3-8B": ("Qwen/Qwen3-1.7B", "Qwen/Qwen3-8B"),
    "R1-Distill-1.5B, Skywork-OR1-7B": ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "Skywork/Skywork-OR1-Math-7B"),
}
PARTS = ("generate", "teacher", "log-probs", "update", "sync", "driver", "collect", "balance")


def decode(student: Shape, rollouts: float) -> float:
    """Seconds of an engine for so many rollouts; no shorter than its longest one."""
    context = PROMPT + RESPONSE / 2
    together = min(rollouts, SEQUENCES, engine_room(student, 0.7, 1, MEMORY_GIB) * GIB / (student.kv_bytes * context))
    token = max(FLOOR, (2 * student.params + together * context * student.kv_bytes) / (HBM * DECODE))
    return max(rollouts * RESPONSE / together * token, LONGEST * FLOOR)


def step(
    student: Shape, teacher: Shape, tensors: int, prompts: int, gpus: int, replicas: int, repaired: bool
) -> dict[str, float]:
    """Seconds of each part. The GPUs without a teacher train and hold a rollout engine each, in turns."""
    ranks, rollouts = gpus - replicas, prompts * GROUP
    tokens = rollouts * (PROMPT + RESPONSE)
    micro_batches = tokens / PACKED
    scoring = WRONG * tokens * 2 * teacher.params / (FLOPS * PREFILL * replicas)
    # ZeRO-2 reduces the gradient in every micro-batch; FLOPs of 8 params a token: 6, and a forward for checkpointing
    reduce = micro_batches / ranks * 2 * student.params / PORT if ranks > 8 else 0.0
    intake, train_step = (rollouts * once + tokens * each for once, each in (INTAKE, TRAIN_STEP))
    parts = {
        "generate": max(decode(student, rollouts / ranks), scoring),
        "teacher": scoring,
        "log-probs": tokens * 2 * student.params / (FLOPS * PREFILL * ranks),
        "update": tokens * 8 * student.params / (FLOPS * TRAIN * ranks) + reduce,
        "sync": tensors * ranks * (CALL + HANDLE * ranks),
        "driver": train_step + STORE * tokens / TCP,
        "collect": intake + (0.0 if repaired else WAIT * prompts**2),
        "balance": 0.0 if repaired else BALANCE * rollouts * micro_batches,
    }
    beside = max(parts["generate"], parts["collect"])  # these run at once
    return parts | {"step": beside + sum(parts[name] for name in ("log-probs", "update", "sync", "driver", "balance"))}


def with_teachers(
    student: Shape, teacher: Shape, tensors: int, prompts: int, gpus: int, repaired: bool
) -> tuple[int, dict[str, float]]:
    """Number of replicas and seconds of each part, with the fewest that score within the time of generation.

    Beyond 16 GPUs, whole nodes of them.
    """
    for replicas in range(1, gpus) if gpus <= 16 else range(8, gpus, 8):
        parts = step(student, teacher, tensors, prompts, gpus, replicas, repaired)
        if parts["teacher"] < decode(student, prompts * GROUP / (gpus - replicas)):
            break
    return replicas, parts


def tables() -> None:
    import torch  # seconds
    from transformers import AutoModelForCausalLM

    for title, ids in SETTINGS.items():
        student, teacher = (shape_of(known_shape(i)) for i in ids)
        with torch.device("meta"):
            tensors = len(list(AutoModelForCausalLM.from_config(known_shape(ids[0])).parameters()))
        billions = f"{student.params / 1e9:.2f} and {teacher.params / 1e9:.2f} billion params"
        print(f"{title}: {billions}, {tensors} tensors in the student")
        for scaling, repaired in (("weak", False), ("weak", True), ("strong", False), ("strong", True)):
            print(f"\n{scaling} scaling, {'the two repaired' if repaired else 'as it is'}\n")
            print_row("GPUs", "teachers", "rollouts", *PARTS, "step", "bottleneck")
            print("|---" * (len(PARTS) + 5) + "|")
            for gpus in (8, 64, 256, 1_024):
                prompts = PROMPTS * gpus // 8 if scaling == "weak" else PROMPTS
                replicas, parts = with_teachers(student, teacher, tensors, prompts, gpus, repaired)
                worst = max(set(PARTS) - {"teacher"}, key=parts.__getitem__)
                seconds = (f"{parts[name]:,.0f}" for name in (*PARTS, "step"))
                print_row(f"{gpus:,}", replicas, f"{prompts * GROUP:,}", *seconds, worst)
        print()
    print_row("GPUs, weak scaling", "rollouts", "object store", "driver's memory", "balancing's memory")
    print("|---" * 5 + "|")
    for gpus in (8, 64, 256, 1_024):
        rollouts = PROMPTS * GROUP * gpus // 8
        tokens = rollouts * (PROMPT + RESPONSE)
        sizes = (STORE * tokens, DRIVER * tokens, BALANCE_BYTES * rollouts * tokens / PACKED)
        print_row(f"{gpus:,}", f"{rollouts:,}", *(f"{size / GIB:,.1f} GiB" for size in sizes))


def print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |")


def measure() -> None:
    cpu.install()  # before OpenRLHF is imported
    import ray
    import torch
    from openrlhf.utils.seqlen_balancing import get_minimum_num_micro_batch_size, get_seqlen_balanced_partitions
    from torch.multiprocessing.reductions import rebuild_cuda_tensor

    rng = random.Random(0)
    for rollouts in (1_000, 2_000, 4_000):
        lengths = [rng.randint(2_500, 7_500) for _ in range(rollouts)]
        num, clock = get_minimum_num_micro_batch_size(lengths, PACKED, 1, 1), time.perf_counter()
        get_seqlen_balanced_partitions(lengths, num, False)
        print(f"balance: {rollouts} rollouts, {num} micro-batches: {time.perf_counter() - clock:.2f} s")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=2**28)
    for prompts in (250, 1_250, 2_500):
        pending, clock = [ray.put([0] * 10) for _ in range(prompts)], time.perf_counter()
        while pending:
            _, pending = ray.wait(pending, num_returns=1, timeout=10.0)
        print(f"collect: {prompts} groups: {time.perf_counter() - clock:.2f} s")
    engine = ray.remote(type("Engine", (), {"update": lambda self, name, handles: None})).options(num_cpus=0).remote()
    for ranks in (0, 64, 512):
        tensor = (torch.Tensor, torch.Size([2048, 6144]), (6144, 1), 0, torch.storage.UntypedStorage, torch.bfloat16, 0)
        handles = {os.urandom(16).hex(): (rebuild_cuda_tensor, (*tensor, *handle(rank))) for rank in range(ranks)}
        clock = time.process_time()
        for _ in range(200):
            ray.get(engine.update.remote("model.layers.0.mlp.up_proj.weight", handles))
        print(f"call with {ranks} handles: {(time.process_time() - clock) / 200 * 1000:.2f} ms of the caller")
    ray.shutdown()


def handle(rank: int) -> tuple:
    """Made-up arguments of the kind that torch sends of a tensor on a GPU."""
    return os.urandom(66), 25_165_824, 0, True, os.urandom(66), rank, os.urandom(64), True, False


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["measure"] else tables()
