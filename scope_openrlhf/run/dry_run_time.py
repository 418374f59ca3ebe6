"""The part of `scope-train plan` about work and time: how much a run generates, and where the seconds of a step go."""

import math
from dataclasses import replace
from types import SimpleNamespace

from scope_openrlhf.host.gpus import decoded_at_once, is_colocated, teacher_gpus
from scope_openrlhf.models.shape import Shape
from scope_openrlhf.platform.rates import Gpu
from scope_openrlhf.run.gpu_memory import engine_room, ranks_of
from scope_openrlhf.run.memory import STUDENT
from scope_openrlhf.run.plan import Plan
from scope_openrlhf.run.step_seconds import Scorer, Step, decode, seconds_of, whole
from scope_openrlhf.settings.resolved import Teacher

PROMPT, WRONG = 150, 0.5
"""Assumed: tokens of a prompt, mean; share of rollouts that is wrong. Responses: half of what is allowed."""


def work(plan: Plan) -> list[str]:
    """Lines on how much is generated."""
    rollout, longest = plan.args.rollout, longest_of(plan.args)
    of_step = rollout.batch_size * rollout.n_samples_per_prompt
    each = f"{rollout.batch_size} prompts x {rollout.n_samples_per_prompt} samples"
    if not plan.steps:
        return [f"  unknown number of steps of {each} = {of_step:,} responses: there are no data, and steps is not set"]
    whence = f"from {plan.rows:,} problems" if plan.rows else "from data that are not there yet"
    return [
        f"  {plan.steps} steps of {each} = {plan.steps * of_step:,} responses {whence}",
        f"  at most {plan.steps * of_step * longest:,} generated tokens ({longest:,} a response)",
    ]


def step_of(plan: Plan, shapes: dict[str, Shape], gpu: Gpu) -> Step:
    """The work of a mean step, as far as it can be assumed."""
    args, asks, student = plan.args, plan.algorithm.asks, shapes[STUDENT]
    flops = 6 + 2 * args.actor.gradient_checkpointing_enable - 2 * (args.ds.lora.rank > 0)
    tp, longest = args.vllm.tensor_parallel_size, longest_of(args)
    share, sequences = args.vllm.gpu_memory_utilization, decoded_at_once(args)
    room = engine_room(student, share, tp, gpu.gib, sequences=sequences)
    step = Step(
        student=student, ranks=ranks_of(args), engines=args.vllm.num_engines, tensor_parallel=tp,
        room_gib=max(0.0, room),
        colocated=is_colocated(args), prompts=args.rollout.batch_size, group=args.rollout.n_samples_per_prompt,
        prompt=PROMPT, response=longest / 2, longest=longest,
        packed=args.train.max_tokens_per_gpu if args.train.dynamic_batch_enable else 0,
        train_flops=flops * args.train.max_epochs, top_k=asks.top_k,
        forwards=1 + (0 if asks.contexts_by_teacher else len(asks.contexts)),
    )  # fmt: skip
    started = [t for t in plan.run.teachers.values() if t.started_here]
    passes = len(asks.contexts) if asks.contexts_by_teacher else WRONG * len(asks.teacher_scores)
    scorers = tuple(
        Scorer(
            shapes[t.name],
            step.ranks if t.placement == "colocate" else teacher_gpus([t]),
            passes * step.tokens / len(plan.run.teachers),
            shared=t.placement == "colocate",
            later=asks.contexts_by_teacher,
        )
        for t in started
    )
    return replace(step, scorers=scorers)


def seconds(plan: Plan, shapes: dict[str, Shape], gpu: Gpu) -> list[str]:
    """Lines on where the time of a step goes."""
    step = step_of(plan, shapes, gpu)
    parts = seconds_of(step, gpu)
    total = whole(parts)

    def show(number: float) -> str:
        return f"{number:,.0f}" if total >= 10 else f"{number:.2f}"

    names = {"log-probs": "student's log-probs", "contexts": "teacher's scoring after it", "update": "update"}
    generation = f"generation {show(parts['generate'])}"
    if parts["teacher"]:
        shared = any(s.shared for s in step.scorers)
        generation += f" ({'of it' if shared else 'beside it'} the teacher's scoring {show(parts['teacher'])})"
    told = [generation, *(f"{title} {show(parts[name])}" for name, title in names.items() if parts[name])]
    rest = total - sum(parts[name] for name in ("generate", *names))
    lines = [
        f"  {', '.join(told)}, driver and sync {show(rest)} = {show(total)} s"
        + (f"; {plan.steps} steps: {plan.steps * total / 3600:,.1f} hours" if plan.steps else ""),
        f"  if responses have {step.response:,.0f} tokens in the mean"
        + (" and half of them are wrong" if plan.algorithm.asks.teacher_scores == ("wrong",) else ""),
    ]
    started = [t for t in plan.run.teachers.values() if t.started_here]
    for teacher, scorer in zip(started, step.scorers, strict=True):
        if not scorer.shared:
            lines.append(_busy(teacher, scorer, scorer.seconds(gpu), total, decode(step, gpu)))
    if len(started) < len(plan.run.teachers):
        lines.append("  the time of a teacher that is served elsewhere, or of the score log, is not known here")
    return lines


def _busy(teacher: Teacher, scorer: Scorer, seconds: float, total: float, generation: float) -> str:
    """How busy a teacher's own GPUs are, and what would do."""
    line = f"  {teacher_title(teacher.name)}'s {several(scorer.gpus, 'GPU')}: idle {1 - seconds / total:.0%} of a step"
    if scorer.later:
        return f"{line}; teacher.placement=colocate would have them train too"
    enough = max(1, math.ceil(seconds * teacher.replicas / generation))
    if enough >= teacher.replicas:
        return line
    return f"{line}; {several(enough, 'replica')} would keep up with generation, or teacher.placement=colocate"


def longest_of(args: SimpleNamespace) -> int:
    """Tokens of the longest response."""
    return args.rollout.max_new_tokens or args.data.max_len


def several(n: float, what: str) -> str:
    """Example: several(2, "GPU") == "2 GPUs"."""
    return f"{n:g} {what}{'' if n == 1 else 's'}"


def teacher_title(name: str) -> str:
    """Example: teacher_title("math") == "teacher math"."""
    return f"teacher {name}".rstrip()
