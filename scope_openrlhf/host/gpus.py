"""How many (logical) GPUs a run asks Ray for, and who shares them; the bundles of GPUs that colocated teachers sit on.

Where a single teacher replica sits is decided by `place` in teacher/group.py.
"""

from collections.abc import Iterable
from types import SimpleNamespace

import ray
from ray.util.placement_group import PlacementGroup, placement_group

from scope_openrlhf.settings.sections import TeacherSettings


def is_colocated(args: SimpleNamespace) -> bool:
    """Whether the rollout engines sit on the student's GPUs."""
    return args.train.colocate_all and not args.train.async_enable


def sequences(args: SimpleNamespace) -> int:
    """The most sequences that a rollout engine is asked for at once: an equal part of a step's rollouts."""
    return -(-args.rollout.batch_size * args.rollout.n_samples_per_prompt // args.vllm.num_engines)


def gpus_wanted(teachers: Iterable[TeacherSettings], args: SimpleNamespace) -> int:
    """Number of GPUs that the whole run asks for. teachers: those that the algorithm asks; args: OpenRLHF's flags."""
    student = args.actor.num_nodes * args.actor.num_gpus_per_node
    engines = 0 if is_colocated(args) else args.vllm.num_engines * args.vllm.tensor_parallel_size
    return student + engines + teacher_gpus(t for t in teachers if t.placement != "colocate")


def teacher_gpus(teachers: Iterable[TeacherSettings]) -> int:
    """Number of GPUs for teachers of their own.

    Whole ones and, for replicas that take a part, as many as hold them: two of 0.6 need two.
    """
    shares = [t.gpus_per_replica for t in teachers if t.started_here for _ in range(t.replicas)]
    free: list[float] = []  # what is left of each GPU that is shared
    for share in sorted((s for s in shares if s < 1), reverse=True):
        room = next((i for i, f in enumerate(free) if f >= share - 1e-9), None)
        if room is None:
            free.append(1 - share)
        else:
            free[room] -= share
    return int(sum(s for s in shares if s >= 1)) + len(free)


def student_gpus(args: SimpleNamespace) -> PlacementGroup:
    """The placement that OpenRLHF makes for a colocated run, made before it, so that teachers can sit there too."""
    bundles = [{"GPU": 1, "CPU": 1}] * (args.actor.num_nodes * args.actor.num_gpus_per_node)
    group = placement_group(bundles, strategy="PACK")
    ray.get(group.ready())
    return group
