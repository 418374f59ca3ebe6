"""Whether this machine has the memory for a run without CUDA, told before an engine starts."""

import psutil

from scope_openrlhf.host import cpu as host_cpu
from scope_openrlhf.models.loading import check_model
from scope_openrlhf.models.shape import Shape, shape_of
from scope_openrlhf.platform import cpu
from scope_openrlhf.run.plan import Plan
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.resolved import Run

STUDENT = "the student"
"""Key of the student among shapes, where the name of a teacher could stand (which holds no blank)."""
SURE = 0.6
"""Part of an estimate that a run takes for sure."""
ADVICE = {
    "student": "name a smaller student.path, or train adapters alone (openrlhf.ds.lora.rank)",
    "activations": "lower openrlhf.train.micro_batch_size, or set openrlhf.actor.gradient_checkpointing_enable",
    "logits": "name a student.path with a smaller vocabulary, or lower openrlhf.actor.num_gpus_per_node where it is "
    "above 1: each rank reads a chunk of its own",
    "rollout engines": "lower openrlhf.vllm.num_engines, or name a smaller student.path",
    "teachers": "name a smaller teacher.path, or one that is served elsewhere (teacher.urls)",
    "processes": "end other programs, or lower openrlhf.vllm.num_engines, actor.num_gpus_per_node or teacher.replicas "
    "where they are above 1",
}
"""What makes each part of the estimate smaller."""


def shapes_of(run: Run) -> dict[str, Shape]:
    """The shape of the student, and of each teacher that has a path, by name."""
    trust = run.student.trust_remote_code
    student = check_model(run.student.path, "student.path", known=True, trust_remote_code=trust)
    models = {STUDENT: student} | {
        name: check_model(t.path, t.wrote, t.revision, known=True) for name, t in run.teachers.items() if t.path
    }
    return {who: shape_of(model) for who, model in models.items()}


def of_this_machine(plan: Plan, shapes: dict[str, Shape]) -> dict[str, float]:
    """GiB that the run would take here, by what holds them; see `host.cpu.memory_gib`."""
    return host_cpu.memory_gib(plan.args, shapes[STUDENT], plan.run.teachers, shapes)


def free_gib() -> float:
    """GiB that programs which start now may take, swap included."""
    return (psutil.virtual_memory().available + psutil.swap_memory().free) / host_cpu.GIB


def shortage(parts: dict[str, float], free: float) -> str:
    """Why a run of these parts cannot fit into the free GiB, and which key to change; empty if it can."""
    whole = sum(parts.values())
    if SURE * whole <= free:
        return ""
    largest = max(parts, key=lambda name: parts[name])
    return (
        f"without CUDA the run takes about {whole:.1f} GiB of memory ({largest}: {parts[largest]:.1f}), {free:.1f} are "
        f"free; {ADVICE[largest]}"
    )


def require_memory(plan: Plan) -> None:
    """Raise ConfigError if a run without CUDA, in a Ray of its own, surely finds too little memory on this machine."""
    if not cpu.active() or plan.config.ray.address != "local":
        return
    if why := shortage(of_this_machine(plan, shapes_of(plan.run)), free_gib()):
        raise ConfigError(f"it does not fit: {why}")


def environment(plan: Plan) -> dict[str, str]:
    """What the workers of this run need in their environment of the platform."""
    return host_cpu.environment(plan.args, shapes_of(plan.run)[STUDENT]) if cpu.active() else cpu.environment()
