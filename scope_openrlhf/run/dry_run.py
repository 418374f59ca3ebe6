"""scope-train --dry-run: what a run asks of a cluster, told on a machine that has none of it. Estimates, from shapes and flags alone."""

from types import SimpleNamespace

from scope_openrlhf.models.shape import Shape
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.sections import TeacherConfig

GIB = 2**30
ENGINE_GIB = 2.0
"""What a vLLM engine takes beside params and KV cache: CUDA context, graphs, activations."""
TRAINER_GIB = 3.0
"""The same for a training rank: CUDA context, NCCL, DeepSpeed's buckets."""


def student_gib(shape: Shape, args: SimpleNamespace) -> dict[str, float]:
    """GiB of a training rank in bf16 mixed precision: what DeepSpeed's ZeRO stage leaves on it, and one micro-batch's activations and logits.

    Activations: with checkpointing one bf16 hidden state a layer and one layer recomputed, without it 34 bytes * hidden of every layer
    (https://arxiv.org/abs/2205.05198, flash attention). Logits: 10 bytes a token and word (bf16, float32 and its gradient).
    """
    ranks = args.actor.num_nodes * args.actor.num_gpus_per_node
    copies = ranks // args.ds.ring_attn_size // args.ds.tensor_parallel_size
    stage = args.ds.zero_stage
    tokens = (
        args.train.max_tokens_per_gpu
        if args.train.dynamic_batch_enable
        else args.train.micro_batch_size * args.data.max_len
    )
    tokens = max(tokens, args.data.max_len) / args.ds.ring_attn_size
    checkpointed = args.actor.gradient_checkpointing_enable
    activations = tokens * shape.hidden * (2 * shape.layers + 34 if checkpointed else 34 * shape.layers)
    params = shape.params / args.ds.tensor_parallel_size
    return {
        "params": 2 * params / (copies if stage == 3 else 1) / GIB,
        "gradients": 2 * params / (copies if stage >= 2 else 1) / GIB,
        "optimiser": 0.0 if args.ds.adam_offload else 12 * params / (copies if stage >= 1 else 1) / GIB,
        "activations": activations / GIB,
        "logits": 10 * tokens * shape.vocab / args.ds.tensor_parallel_size / GIB,
        "other": TRAINER_GIB,
    }


def engine_room(shape: Shape, share: float, tensor_parallel: int, gpu_gib: float) -> float:
    """GiB that an engine's share of each of its GPUs leaves for the KV cache."""
    return share * gpu_gib - 2 * shape.params / tensor_parallel / GIB - ENGINE_GIB


def seats(config: Config, args: SimpleNamespace, uses_teacher: bool) -> list[tuple[str, list[int]]]:
    """(who, GPUs counted over the whole cluster) in the order in which they are asked for. Ray places whole engines; numbers are names."""
    student = list(range(args.actor.num_nodes * args.actor.num_gpus_per_node))
    found = [(f"student, ZeRO-{args.ds.zero_stage} over {len(student)} ranks", student)]
    engines, tp = args.vllm.num_engines, args.vllm.tensor_parallel_size
    if args.train.colocate_all and not args.train.async_enable:
        asleep = " (asleep while it trains)" if args.vllm.enable_sleep else ""
        found.append((f"{engines} rollout engines of {tp} GPUs, with the student{asleep}", student))
        after = len(student)
    else:
        after = len(student) + engines * tp
        found.append((f"{engines} rollout engines of {tp} GPUs", list(range(len(student), after))))
    for name, teacher in config.all_teachers.items() if uses_teacher else ():
        title = f"teacher {name}".rstrip() + f", {teacher.replicas} replicas of {teacher.gpus_per_replica:g} GPUs"
        if not teacher.started_here:
            found.append((f"teacher {name}".rstrip() + f", served at {', '.join(teacher.urls)}", []))
        elif teacher.placement == "colocate":
            found.append((f"{title}, with the student", student))
        else:
            from scope_openrlhf.host import flags

            gpus = flags.teacher_gpus([teacher])
            found.append((title, list(range(after, after + gpus))))
            after += gpus
    return found


def report(config: Config, args: SimpleNamespace, shapes: dict[str, Shape], rows: int, steps: int, uses_teacher: bool, gpu_gib: float,
           gpus_per_node: int) -> tuple[list[str], list[str]]:  # fmt: skip
    """(lines to print, reasons why it cannot fit). shapes: by "student" and by each teacher's name."""
    student = shapes["student"]
    lines, problems = ["GPUs"], []
    for who, gpus in seats(config, args, uses_teacher):
        lines.append(f"  {where(gpus, gpus_per_node):<28}{who}")
    trainer = student_gib(student, args)
    lines.append(f"memory, of {gpu_gib:g} GiB a GPU (estimates)")
    lines.append(f"  {'student':<28}" + _sum(trainer))
    train_gib = sum(trainer.values())
    tp, share = args.vllm.tensor_parallel_size, args.vllm.gpu_memory_utilization
    room = engine_room(student, share, tp, gpu_gib)
    together = int(room * tp * GIB / student.kv_bytes / args.data.max_len)
    lines.append(
        f"  {'rollout engine':<28}{share * gpu_gib:.1f} GiB reserved, {max(room, 0):.1f} of it for {max(together, 0)} sequences of {args.data.max_len} tokens at once"
    )
    if together < 1:
        problems.append(f"a rollout engine has {room:.1f} GiB for its KV cache, a sequence of {args.data.max_len} tokens needs "
                        f"{student.kv_bytes * args.data.max_len / tp / GIB:.1f}; raise openrlhf.vllm.gpu_memory_utilization or tensor_parallel_size")  # fmt: skip
    colocated = args.train.colocate_all and not args.train.async_enable
    resident = train_gib + (0.0 if args.vllm.enable_sleep or not colocated else share * gpu_gib)
    for name, teacher in config.all_teachers.items() if uses_teacher else ():
        if not teacher.started_here:
            continue
        line, why = _teacher(name, teacher, shapes[name], max(teacher.max_model_len - 1, args.data.max_len), gpu_gib)
        lines.append(line)
        problems += why
        if teacher.placement == "colocate" and not teacher.sleep:
            resident += teacher.gpu_memory_utilization * gpu_gib
    if resident > gpu_gib:
        problems.append(f"the student's GPUs would hold {resident:.0f} of {gpu_gib:g} GiB; use ds.zero_stage=3, ds.adam_offload, smaller micro-batches "
                        "(train.max_tokens_per_gpu), actor.gradient_checkpointing_enable, or more GPUs")  # fmt: skip
    responses = steps * args.rollout.batch_size * args.rollout.n_samples_per_prompt
    longest = args.rollout.max_new_tokens or args.data.max_len
    lines += [
        "work",
        f"  {steps} steps of {args.rollout.batch_size} prompts x {args.rollout.n_samples_per_prompt} samples = {responses:,} responses from {rows:,} problems",
        f"  at most {responses * longest:,} generated tokens ({longest:,} a response)",
    ]
    for name in config.all_teachers if uses_teacher else ():
        if name in shapes:
            exaflop = 2 * shapes[name].params * responses * longest / 1e18
            lines.append(
                f"  teacher {name}".rstrip()
                + f": at most {exaflop:,.1f} exaFLOP if it scored every response at full length; it scores those that its algorithm asks for"
            )
    return lines, problems


def _teacher(name: str, teacher: TeacherConfig, shape: Shape, max_len: int, gpu_gib: float) -> tuple[str, list[str]]:
    tp, share = teacher.tensor_parallel_size, teacher.gpu_memory_utilization
    room = engine_room(shape, share, tp, gpu_gib)
    logits = 10 * teacher.max_num_batched_tokens * shape.vocab / tp / GIB  # outside vLLM's own profile (vllm#38830)
    title = f"teacher {name}".rstrip()
    line = f"  {title:<28}{share * gpu_gib:.1f} GiB reserved, {max(room, 0):.1f} of it for the KV cache; {logits:.1f} GiB beside it for prompt log-probs"
    problems = []
    if room * tp * GIB < shape.kv_bytes * (max_len + 1):
        problems.append(
            f"{title}: {room:.1f} GiB are left for the KV cache, too little for a sequence of {max_len} tokens; raise gpu_memory_utilization or tensor_parallel_size"
        )
    if share * gpu_gib + logits > gpu_gib:
        problems.append(
            f"{title}: {share * gpu_gib:.1f} GiB reserved and {logits:.1f} for prompt log-probs are more than a GPU has; lower max_num_batched_tokens or gpu_memory_utilization"
        )
    return line, problems


def where(gpus: list[int], per_node: int) -> str:
    """Example: where([6, 7, 8, 9], 8) == "node 0: 6-7, node 1: 0-1"."""
    nodes: dict[int, list[int]] = {}
    for gpu in gpus:
        nodes.setdefault(gpu // per_node, []).append(gpu % per_node)
    spans = {n: f"{g[0]}-{g[-1]}" if len(g) > 1 else str(g[0]) for n, g in nodes.items()}
    return ", ".join(f"node {n}: {span}" for n, span in spans.items()) or "none of ours"


def _sum(parts: dict[str, float]) -> str:
    return " + ".join(f"{name} {gib:.1f}" for name, gib in parts.items()) + f" = {sum(parts.values()):.1f} GiB"
