"""The numbers of docs/scale-out.md: seconds of a SCOPE step by number of GPUs, on paper.

Change a constant here, or a rate in scope_openrlhf/run/step_seconds.py, and run it again:

    .venv/bin/python docs/scale_out.py             # the page's tables
    .venv/bin/python docs/scale_out.py measure     # what is called measured and is not in `make bench-driver`; minutes
"""

import os
import random
import sys
import time
from dataclasses import replace

from scope_openrlhf.host.gpus import MOST_SEQUENCES
from scope_openrlhf.models.shape import Shape, known_shape, shape_of
from scope_openrlhf.platform import cpu
from scope_openrlhf.platform.rates import GPUS
from scope_openrlhf.run.gpu_memory import GIB, engine_room
from scope_openrlhf.run.step_seconds import (
    BALANCE_BYTES,
    DRIVER,
    STORE,
    Scorer,
    Step,
    decode,
    seconds_of,
    whole,
)  # fmt: skip

GPU = GPUS["h100"]
# assumed: tokens of a prompt and of a response, mean; of the longest response; share of rollouts that is wrong
PROMPT, RESPONSE, LONGEST, WRONG = 150, 6_000, 12_288, 0.5
# the recipes: rollouts a prompt, prompts a step on 8 GPUs, tokens of a micro-batch
GROUP, PROMPTS, PACKED = 8, 256, 16_384

SETTINGS = {
    "Qwen3-1.7B, Qwen3-8B": ("Qwen/Qwen3-1.7B", "Qwen/Qwen3-8B"),
    "R1-Distill-1.5B, Skywork-OR1-7B": ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "Skywork/Skywork-OR1-Math-7B"),
}
PARTS = ("generate", "teacher", "log-probs", "update", "sync", "driver", "collect", "balance")


def step(student: Shape, teacher: Shape, prompts: int, gpus: int, replicas: int, repaired: bool) -> Step:
    """The GPUs without a teacher train and hold a rollout engine each, in turns."""
    ranks = gpus - replicas
    made = Step(
        student=student, ranks=ranks, engines=ranks,
        room_gib=engine_room(student, 0.7, 1, GPU.gib, sequences=MOST_SEQUENCES),
        prompts=prompts,
        group=GROUP, prompt=PROMPT, response=RESPONSE, longest=LONGEST, packed=PACKED, linear=repaired,
    )  # fmt: skip
    return replace(made, scorers=(Scorer(teacher, replicas, WRONG * made.tokens),))


def with_teachers(
    student: Shape, teacher: Shape, prompts: int, gpus: int, repaired: bool
) -> tuple[int, dict[str, float]]:
    """Number of replicas and seconds of each part, with the fewest that score within the time of generation.

    Beyond 16 GPUs, whole nodes of them.
    """
    for replicas in range(1, gpus) if gpus <= 16 else range(8, gpus, 8):
        made = step(student, teacher, prompts, gpus, replicas, repaired)
        parts = seconds_of(made, GPU)
        if parts["teacher"] < decode(made, GPU):
            break
    return replicas, parts | {"step": whole(parts)}


def tables() -> None:
    for title, ids in SETTINGS.items():
        student, teacher = (shape_of(known_shape(i)) for i in ids)
        billions = f"{student.params / 1e9:.2f} and {teacher.params / 1e9:.2f} billion params"
        print(f"{title}: {billions}, {student.tensors} tensors in the student")
        for scaling, repaired in (("weak", False), ("weak", True), ("strong", False), ("strong", True)):
            print(f"\n{scaling} scaling, {'the two repaired' if repaired else 'as it is'}\n")
            print_row("GPUs", "teachers", "rollouts", *PARTS, "step", "bottleneck")
            print("|---" * (len(PARTS) + 5) + "|")
            for gpus in (8, 64, 256, 1_024):
                prompts = PROMPTS * gpus // 8 if scaling == "weak" else PROMPTS
                replicas, parts = with_teachers(student, teacher, prompts, gpus, repaired)
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
