"""What a run asks of a cluster, told on a machine that has none of it: `scope-train plan`.

Estimates, from shapes, flags and the rates of a GPU alone.
"""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import TextIO

from scope_openrlhf.host.gpus import decoded_at_once, is_colocated, teacher_gpus
from scope_openrlhf.models.shape import Shape
from scope_openrlhf.platform import cpu
from scope_openrlhf.platform.rates import GPUS
from scope_openrlhf.run import gpu_memory as memory
from scope_openrlhf.run.dry_run_time import seconds, several, step_of, teacher_title, work
from scope_openrlhf.run.gpu_memory import GIB, Engine, Moments, engine_room, ranks_of
from scope_openrlhf.run.memory import STUDENT, free_gib, of_this_machine, shapes_of, shortage
from scope_openrlhf.run.plan import Plan, make_plan
from scope_openrlhf.run.step_seconds import DRIVER
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.resolved import Run, Teacher

PROCESS_GIB = 2.0
"""Assumed: the host's memory that a process with CUDA takes before it holds a model."""
LESS_TRAINING = (
    "use ds.zero_stage=3, ds.adam_offload, smaller micro-batches (train.max_tokens_per_gpu), "
    "actor.gradient_checkpointing_enable, ds.lora.rank, or more GPUs; what is colocated can sleep (vllm.enable_sleep, "
    "teacher.sleep)"
)
LESS_RESERVED = "lower openrlhf.vllm.gpu_memory_utilization or teacher.gpu_memory_utilization, or set ds.enable_sleep"


def dry_run(config: Config, gpu: str, gpu_gib: float | None, gpus_per_node: int, out: TextIO) -> None:
    """Print what the run would ask for, and start nothing. Raises ConfigError if it cannot work or cannot fit.

    gpu: one of GPUS, whose memory gpu_gib replaces.
    """
    rates = replace(GPUS[gpu], gib=gpu_gib or GPUS[gpu].gib)
    plan = make_plan(config, dry=True)
    shapes = shapes_of(plan.run)
    lines, problems = fits(plan, shapes, rates.gib)
    told = [
        f"dry run of {config.name}: {config.algorithm['name']}, {plan.gpus} GPUs",
        "GPUs",
        *(f"  {where(gpus, gpus_per_node):<28}{who}" for who, gpus in seats(plan.run, plan.args)),
        f"memory, of {rates.gib:g} GiB a GPU (estimates)",
        *lines,
        *_host(plan, shapes, gpus_per_node),
        *(_here(plan, shapes) if cpu.active() else []),
        "work",
        *work(plan),
        f"seconds of a step, on paper, on {gpu} (--gpu names another)",
        *seconds(plan, shapes, rates),
        "notes",
        *(f"  {note}" for note in plan.notes),
    ]
    print("\n".join(told), file=out, flush=True)
    if problems:
        raise ConfigError("it does not fit: " + "; ".join(problems))


def seats(run: Run, args: SimpleNamespace) -> list[tuple[str, list[int]]]:
    """(who, GPUs counted over the whole cluster) in the order in which they are asked for.

    Ray places whole engines; the numbers are names.
    """
    student = list(range(ranks_of(args)))
    found = [(f"student, ZeRO-{args.ds.zero_stage} over {several(len(student), 'rank')}", student)]
    engines, tp = args.vllm.num_engines, args.vllm.tensor_parallel_size
    title = f"{several(engines, 'rollout engine')} of {several(tp, 'GPU')}"
    after = len(student)
    if is_colocated(args):
        asleep = " (asleep while it trains)" if args.vllm.enable_sleep else ""
        found.append((f"{title}, with the student{asleep}", student))
    else:
        found.append((title, list(range(after, after + engines * tp))))
        after += engines * tp
    for name, teacher in run.teachers.items():
        size = teacher.tensor_parallel_size * teacher.gpu_fraction
        title = f"{teacher_title(name)}, {several(teacher.replicas, 'replica')} of {several(size, 'GPU')}"
        if not teacher.started_here:
            found.append((f"{teacher_title(name)}, served at {', '.join(teacher.urls)}", []))
        elif teacher.placement == "colocate":
            asleep = " (asleep while it trains)" if teacher.sleep else ""
            found.append((f"{title}, with the student{asleep}", student))
        else:
            gpus = teacher_gpus([teacher])
            found.append((title, list(range(after, after + gpus))))
            after += gpus
    return found


def fits(plan: Plan, shapes: dict[str, Shape], gpu_gib: float) -> tuple[list[str], list[str]]:
    """(lines on the memory of each kind of process and of each kind of GPU, reasons why it cannot fit).

    shapes: by STUDENT and by each teacher's name.
    """
    args, student, teachers = plan.args, shapes[STUDENT], plan.run.teachers
    share = args.vllm.gpu_memory_utilization
    room = engine_room(student, share, args.vllm.tensor_parallel_size, gpu_gib, sequences=decoded_at_once(args))
    together = int(room * args.vllm.tensor_parallel_size * GIB / student.kv_bytes / args.data.max_len)
    cache = f"{max(room, 0):.1f} of it for {max(together, 0)} sequences of {args.data.max_len} tokens at once"
    lines = [
        f"  {'student':<28}" + _sum(memory.student_gib(student, args)),
        f"  {'rollout engine':<28}{share * gpu_gib:.1f} GiB reserved, {cache}",
    ]
    problems = []
    if together < 1:
        needs = student.kv_bytes * args.data.max_len / args.vllm.tensor_parallel_size / GIB
        problems.append(
            f"a rollout engine has {room:.1f} GiB for its KV cache, a sequence of {args.data.max_len} tokens needs "
            f"{needs:.1f}; raise openrlhf.vllm.gpu_memory_utilization or tensor_parallel_size"
        )
    for name, teacher in teachers.items():
        if teacher.started_here:
            line, why = _teacher_memory(teacher, shapes[name], gpu_gib)
            lines.append(line)
            problems += why
    for whose, found in _cards(plan, shapes, gpu_gib):
        lines += _by_moment(whose, found, gpu_gib)
        problems += _overfull(whose, found, gpu_gib)
    return lines, list(dict.fromkeys(problems))


def _teacher_memory(teacher: Teacher, shape: Shape, gpu_gib: float) -> tuple[str, list[str]]:
    tp, share, max_len = teacher.tensor_parallel_size, teacher.gpu_memory_utilization, teacher.max_model_len - 1
    room = engine_room(shape, share, tp, gpu_gib, teacher.quantization)
    title = teacher_title(teacher.name)
    line = (
        f"  {title:<28}{share * gpu_gib:.1f} GiB reserved, {max(room, 0):.1f} of it for the KV cache; "
        f"{memory.prompt_logprobs_gib(shape, teacher):.1f} GiB beside it for prompt log-probs"
    )
    if room * tp * GIB >= shape.kv_bytes * (max_len + 1):
        return line, []
    return line, [
        f"{title}: {room:.1f} GiB are left for the KV cache, too little for a sequence of {max_len} tokens; raise "
        "gpu_memory_utilization or tensor_parallel_size, or set quantization"
    ]


def _cards(plan: Plan, shapes: dict[str, Shape], gpu_gib: float) -> list[tuple[str, Moments]]:
    """(whose GPUs, what each holds by moment) of each kind of GPU that a run asks for, the student's first."""
    args, teachers = plan.args, plan.run.teachers

    def engines(replicas: Counter[str]) -> list[Engine]:
        return [
            Engine(
                teacher_title(name),
                n * (teachers[name].gpu_memory_utilization * gpu_gib
                     + memory.prompt_logprobs_gib(shapes[name], teachers[name])),
                teachers[name].sleep,
            )
            for name, n in replicas.items()
        ]  # fmt: skip

    drawing = Engine("rollout engine", args.vllm.gpu_memory_utilization * gpu_gib, args.vllm.enable_sleep)
    student = memory.student_moments(shapes[STUDENT], args)
    cards = [
        ("student's GPUs", memory.moments([*engines(replicas), *([drawing] if is_colocated(args) else [])], student))
        for replicas in memory.dealt(teachers.values(), ranks_of(args))
    ]
    cards += [
        (f"{' + '.join(map(teacher_title, replicas))}'s GPUs", memory.moments(engines(replicas)))
        for replicas in memory.sharing(teachers.values())
    ]
    kinds: dict[str, tuple[str, Moments]] = {}
    for whose, found in cards:  # of GPUs alike one, and that on which most sits
        if whose not in kinds or _most(found) > _most(kinds[whose][1]):
            kinds[whose] = whose, found
    return list(kinds.values())


def _by_moment(whose: str, found: Moments, gpu_gib: float) -> list[str]:
    """Lines on what a GPU holds by moment; none where one process alone does."""
    if len(set().union(*found.values())) < 2:
        return []
    worst = memory.worst(found)
    by_moment = ", ".join(f"{moment} {sum(held.values()):.1f}" for moment, held in found.items())
    most = f"{worst}, {_most(found):.1f} of {gpu_gib:g} GiB: " + _terms(found[worst])
    return [f"  {whose:<28}{by_moment}", f"  {'at worst':<28}{most}"]


def _overfull(whose: str, found: Moments, gpu_gib: float) -> list[str]:
    """Why a GPU cannot hold what it is asked to, told of the worst moment; nothing where it can."""
    if (most := _most(found)) <= gpu_gib:
        return []
    worst = memory.worst(found)
    todo = LESS_TRAINING if "student" in found[worst] and worst != "generation" else LESS_RESERVED
    if "student" not in found[worst] and len(found[worst]) == 1:
        todo = "lower its max_num_batched_tokens or gpu_memory_utilization"
    return [f"the {whose} would hold {most:.1f} of {gpu_gib:g} GiB when {worst} ({_terms(found[worst])}); {todo}"]


def _host(plan: Plan, shapes: dict[str, Shape], gpus_per_node: int) -> list[str]:
    """The line on the memory of the first node, on which the driver sits."""
    args = plan.args
    ranks = min(ranks_of(args), gpus_per_node)
    beside, left = ranks / ranks_of(args), float(gpus_per_node - ranks)  # part of what is colocated, GPUs for the rest

    def seated(number: int, gpus: float, with_student: bool) -> float:
        nonlocal left
        found = number * beside if with_student else min(number, left // gpus)
        left -= 0 if with_student else found * gpus
        return found

    engines = seated(args.vllm.num_engines, args.vllm.tensor_parallel_size, is_colocated(args))
    started = [t for t in plan.run.teachers.values() if t.started_here]
    replicas = {t.name: seated(t.replicas, t.gpus_per_replica, t.placement == "colocate") for t in started}
    parts = {
        "optimiser" if args.ds.adam_offload else "student asleep":
            ranks * memory.asleep_on_host_gib(shapes[STUDENT], args),
        "rollout engines asleep": engines * memory.weights_gib(shapes[STUDENT]) if args.vllm.enable_sleep else 0.0,
        "teachers asleep": sum(
            replicas[t.name] * memory.weights_gib(shapes[t.name], t.quantization) for t in started if t.sleep
        ),
        "rollouts": DRIVER * step_of(plan, shapes, GPUS["h100"]).tokens / GIB,
        # driver and trainer; for each engine an actor and its core
        "processes": PROCESS_GIB * (2 + ranks + 2 * engines + 2 * sum(replicas.values())),
    }  # fmt: skip
    held = {name: gib for name, gib in parts.items() if gib >= 0.05}
    return [f"  {'host memory of node 0':<28}{_sum(held)}"]


def _here(plan: Plan, shapes: dict[str, Shape]) -> list[str]:
    """Lines on a run on this machine, which has no CUDA: that is what `scope-train run` would start here."""
    parts, free = of_this_machine(plan, shapes), free_gib()
    title = "memory on this machine, which has no CUDA"
    if shortage(parts, free):
        return [f"{title}: {free:.1f} GiB are free, a run here takes about {sum(parts.values()):.1f} and is refused"]
    return [f"{title} (estimates)", f"  {'all processes':<28}{_sum(parts)}", f"  {'':<28}{free:.1f} GiB are free"]


def where(gpus: list[int], per_node: int) -> str:
    """GPUs by node. Example: where([6, 7, 8, 9], 8) == "node 0: 6-7, node 1: 0-1"."""
    nodes: dict[int, list[int]] = {}
    for gpu in gpus:
        nodes.setdefault(gpu // per_node, []).append(gpu % per_node)
    spans = {n: f"{g[0]}-{g[-1]}" if len(g) > 1 else str(g[0]) for n, g in nodes.items()}
    return ", ".join(f"node {n}: {span}" for n, span in spans.items()) or "none of ours"


def _most(found: Moments) -> float:
    return max(sum(held.values()) for held in found.values())


def _terms(parts: dict[str, float]) -> str:
    return " + ".join(f"{name} {gib:.1f}" for name, gib in parts.items())


def _sum(parts: dict[str, float]) -> str:
    return f"{_terms(parts)} = {sum(parts.values()):.1f} GiB"
