"""What a run asks of a cluster, told on a machine that has none of it: `scope-train plan`.

Estimates, from shapes and flags alone.
"""

from types import SimpleNamespace
from typing import TextIO

from scope_openrlhf.equations.vocabulary import reading_gib
from scope_openrlhf.host.gpus import teacher_gpus
from scope_openrlhf.models.shape import Shape
from scope_openrlhf.platform import cpu
from scope_openrlhf.run.memory import STUDENT, free_gib, of_this_machine, shapes_of, shortage
from scope_openrlhf.run.plan import Plan, make_plan
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.resolved import Run, Teacher

GIB = 2**30
ENGINE_GIB = 2.0
"""What a vLLM engine takes beside params and KV cache: CUDA context, graphs, activations."""
PROMPT_LOGPROBS = 1024
"""Tokens of a chunk of prompt log-probs, CHUNK_SIZE in vllm/v1/worker/gpu/sample/prompt_logprob.py of vLLM 0.29."""
TRAINER_GIB = 3.0
"""The same for a training rank: CUDA context, NCCL, DeepSpeed's buckets."""


def dry_run(config: Config, gpu_gib: float, gpus_per_node: int, out: TextIO) -> None:
    """Print what the run would ask for, and start nothing. Raises ConfigError if it cannot work or cannot fit."""
    plan = make_plan(config, dry=True)
    shapes = shapes_of(plan.run)
    lines, problems = describe(plan, shapes, gpu_gib, gpus_per_node)
    title = f"dry run of {config.name}: {config.algorithm['name']}, {plan.gpus} GPUs"
    print("\n".join([title, *lines, "notes", *(f"  {note}" for note in plan.notes)]), file=out, flush=True)
    if problems:
        raise ConfigError("it does not fit: " + "; ".join(problems))


def student_gib(shape: Shape, args: SimpleNamespace) -> dict[str, float]:
    """GiB of a training rank in bf16 mixed precision.

    What DeepSpeed's ZeRO stage leaves on it, and one micro-batch's activations and logits. Activations: with
    checkpointing one bf16 hidden state a layer and one layer recomputed, without it 34 bytes * hidden of every layer
    (https://arxiv.org/abs/2205.05198, flash attention). Logits: see `reading_gib`.
    """
    ranks = args.actor.num_nodes * args.actor.num_gpus_per_node
    copies = ranks // args.ds.ring_attn_size // args.ds.tensor_parallel_size
    stage = args.ds.zero_stage
    dynamic = args.train.dynamic_batch_enable
    tokens = args.train.max_tokens_per_gpu if dynamic else args.train.micro_batch_size * args.data.max_len
    tokens = max(tokens, args.data.max_len) / args.ds.ring_attn_size
    checkpointed = args.actor.gradient_checkpointing_enable
    activations = tokens * shape.hidden * (2 * shape.layers + 34 if checkpointed else 34 * shape.layers)
    params = shape.params / args.ds.tensor_parallel_size
    return {
        "params": 2 * params / (copies if stage == 3 else 1) / GIB,
        "gradients": 2 * params / (copies if stage >= 2 else 1) / GIB,
        "optimiser": 0.0 if args.ds.adam_offload else 12 * params / (copies if stage >= 1 else 1) / GIB,
        "activations": activations / GIB,
        "logits": reading_gib(shape, tokens, 2, frozen=args.ds.lora.rank > 0, parted=args.ds.tensor_parallel_size > 1),
        "other": TRAINER_GIB,
    }


def engine_room(shape: Shape, share: float, tensor_parallel: int, gpu_gib: float) -> float:
    """GiB that an engine's share of each of its GPUs leaves for the KV cache."""
    return share * gpu_gib - 2 * shape.params / tensor_parallel / GIB - ENGINE_GIB


def seats(run: Run, args: SimpleNamespace) -> list[tuple[str, list[int]]]:
    """(who, GPUs counted over the whole cluster) in the order in which they are asked for.

    Ray places whole engines; the numbers are names.
    """
    student = list(range(args.actor.num_nodes * args.actor.num_gpus_per_node))
    found = [(f"student, ZeRO-{args.ds.zero_stage} over {len(student)} ranks", student)]
    engines, tp = args.vllm.num_engines, args.vllm.tensor_parallel_size
    title = f"{engines} rollout engines of {tp} GPUs"
    after = len(student)
    if _colocated(args):
        asleep = " (asleep while it trains)" if args.vllm.enable_sleep else ""
        found.append((f"{title}, with the student{asleep}", student))
    else:
        found.append((title, list(range(after, after + engines * tp))))
        after += engines * tp
    for name, teacher in run.teachers.items():
        title = f"{_teacher_title(name)}, {teacher.replicas} replicas of {teacher.gpus_per_replica:g} GPUs"
        if not teacher.started_here:
            found.append((f"{_teacher_title(name)}, served at {', '.join(teacher.urls)}", []))
        elif teacher.placement == "colocate":
            found.append((f"{title}, with the student", student))
        else:
            gpus = teacher_gpus([teacher])
            found.append((title, list(range(after, after + gpus))))
            after += gpus
    return found


def describe(plan: Plan, shapes: dict[str, Shape], gpu_gib: float, gpus_per_node: int) -> tuple[list[str], list[str]]:
    """(lines to print, reasons why it cannot fit). shapes: by STUDENT and by each teacher's name."""
    lines = ["GPUs"]
    lines += [f"  {where(gpus, gpus_per_node):<28}{who}" for who, gpus in seats(plan.run, plan.args)]
    lines.append(f"memory, of {gpu_gib:g} GiB a GPU (estimates)")
    memory, problems = _memory(plan, shapes, gpu_gib)
    if cpu.active():
        memory += _here(plan, shapes)
    return [*lines, *memory, "work", *_work(plan, shapes)], problems


def _here(plan: Plan, shapes: dict[str, Shape]) -> list[str]:
    """Lines on a run on this machine, which has no CUDA: that is what `scope-train run` would start here."""
    parts, free = of_this_machine(plan, shapes), free_gib()
    lines = ["memory on this machine, which has no CUDA (estimates)", f"  {'all processes':<28}{_sum(parts)}"]
    why = shortage(parts, free)
    return [*lines, f"  {'':<28}" + (f"scope-train run refuses it here: {why}" if why else f"{free:.1f} GiB are free")]


def _memory(plan: Plan, shapes: dict[str, Shape], gpu_gib: float) -> tuple[list[str], list[str]]:
    """(lines on the memory of each kind of process, reasons why it cannot fit)."""
    args, student = plan.args, shapes[STUDENT]
    trainer = student_gib(student, args)
    tp, share = args.vllm.tensor_parallel_size, args.vllm.gpu_memory_utilization
    room = engine_room(student, share, tp, gpu_gib)
    together = int(room * tp * GIB / student.kv_bytes / args.data.max_len)
    cache = f"{max(room, 0):.1f} of it for {max(together, 0)} sequences of {args.data.max_len} tokens at once"
    lines = [
        f"  {'student':<28}" + _sum(trainer),
        f"  {'rollout engine':<28}{share * gpu_gib:.1f} GiB reserved, {cache}",
    ]
    problems = []
    if together < 1:
        needs = student.kv_bytes * args.data.max_len / tp / GIB
        problems.append(
            f"a rollout engine has {room:.1f} GiB for its KV cache, a sequence of {args.data.max_len} tokens needs "
            f"{needs:.1f}; raise openrlhf.vllm.gpu_memory_utilization or tensor_parallel_size"
        )
    engines_stay = _colocated(args) and not args.vllm.enable_sleep
    resident = sum(trainer.values()) + (share * gpu_gib if engines_stay else 0.0)
    for name, teacher in plan.run.teachers.items():
        if teacher.started_here:
            line, why = _teacher_memory(name, teacher, shapes[name], gpu_gib)
            lines.append(line)
            problems += why
            if teacher.placement == "colocate" and not teacher.sleep:
                resident += teacher.gpu_memory_utilization * gpu_gib
    if resident > gpu_gib:
        problems.append(
            f"the student's GPUs would hold {resident:.0f} of {gpu_gib:g} GiB; use ds.zero_stage=3, ds.adam_offload, "
            "smaller micro-batches (train.max_tokens_per_gpu), actor.gradient_checkpointing_enable, or more GPUs"
        )
    return lines, problems


def _teacher_memory(name: str, teacher: Teacher, shape: Shape, gpu_gib: float) -> tuple[str, list[str]]:
    tp, share, max_len = teacher.tensor_parallel_size, teacher.gpu_memory_utilization, teacher.max_model_len - 1
    room = engine_room(shape, share, tp, gpu_gib)
    # outside vLLM's own profile: on GPUs it takes prompt log-probs of so many tokens at a time, in bf16 and float32
    logits = 6 * min(PROMPT_LOGPROBS, teacher.max_num_batched_tokens) * shape.vocab / tp / GIB
    title = _teacher_title(name)
    line = (
        f"  {title:<28}{share * gpu_gib:.1f} GiB reserved, {max(room, 0):.1f} of it for the KV cache; "
        f"{logits:.1f} GiB beside it for prompt log-probs"
    )
    problems = []
    if room * tp * GIB < shape.kv_bytes * (max_len + 1):
        problems.append(
            f"{title}: {room:.1f} GiB are left for the KV cache, too little for a sequence of {max_len} tokens; raise "
            "gpu_memory_utilization or tensor_parallel_size"
        )
    if share * gpu_gib + logits > gpu_gib:
        problems.append(
            f"{title}: {share * gpu_gib:.1f} GiB reserved and {logits:.1f} for prompt log-probs are more than a GPU "
            "has; lower max_num_batched_tokens or gpu_memory_utilization"
        )
    return line, problems


def _work(plan: Plan, shapes: dict[str, Shape]) -> list[str]:
    """Lines on how much is generated and scored."""
    rollout = plan.args.rollout
    responses = plan.steps * rollout.batch_size * rollout.n_samples_per_prompt
    longest = rollout.max_new_tokens or plan.args.data.max_len
    lines = [
        f"  {plan.steps} steps of {rollout.batch_size} prompts x {rollout.n_samples_per_prompt} samples = "
        f"{responses:,} responses from {plan.rows:,} problems",
        f"  at most {responses * longest:,} generated tokens ({longest:,} a response)",
    ]
    for name in (n for n in plan.run.teachers if n in shapes):
        exaflop = 2 * shapes[name].params * responses * longest / 1e18
        lines.append(
            f"  {_teacher_title(name)}: at most {exaflop:,.1f} exaFLOP if it scored every response at full length; it "
            "scores those that its algorithm asks for"
        )
    return lines


def where(gpus: list[int], per_node: int) -> str:
    """GPUs by node. Example: where([6, 7, 8, 9], 8) == "node 0: 6-7, node 1: 0-1"."""
    nodes: dict[int, list[int]] = {}
    for gpu in gpus:
        nodes.setdefault(gpu // per_node, []).append(gpu % per_node)
    spans = {n: f"{g[0]}-{g[-1]}" if len(g) > 1 else str(g[0]) for n, g in nodes.items()}
    return ", ".join(f"node {n}: {span}" for n, span in spans.items()) or "none of ours"


def _colocated(args: SimpleNamespace) -> bool:
    """Whether the rollout engines sit on the student's GPUs."""
    return args.train.colocate_all and not args.train.async_enable


def _teacher_title(name: str) -> str:
    return f"teacher {name}".rstrip()


def _sum(parts: dict[str, float]) -> str:
    return " + ".join(f"{name} {gib:.1f}" for name, gib in parts.items()) + f" = {sum(parts.values()):.1f} GiB"
