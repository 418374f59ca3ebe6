"""How many (logical) GPUs a run asks Ray for, and who shares them; the bundles of GPUs that colocated teachers sit on.

Where a single teacher replica sits is decided by `place` in teacher/group.py.
"""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import TypeVar

import ray
from ray.util.placement_group import PlacementGroup, placement_group

from scope_openrlhf.settings.sections import TeacherSettings

SomeTeacher = TypeVar("SomeTeacher", bound=TeacherSettings)

MOST_SEQUENCES = 512
"""Sequences that a rollout engine decodes at once: as many as vLLM captures CUDA graphs for, by default."""


def is_colocated(args: SimpleNamespace) -> bool:
    """Whether the rollout engines sit on the student's GPUs."""
    return args.train.colocate_all and not args.train.async_enable


def sequences(args: SimpleNamespace) -> int:
    """The most sequences that a rollout engine is asked for at once: an equal part of a step's rollouts."""
    return -(-args.rollout.batch_size * args.rollout.n_samples_per_prompt // args.vllm.num_engines)


def decoded_at_once(args: SimpleNamespace) -> int:
    """Sequences that a rollout engine decodes at once, if its cache holds them."""
    return min(sequences(args), MOST_SEQUENCES)


def gpus_wanted(teachers: Iterable[TeacherSettings], args: SimpleNamespace) -> int:
    """Number of GPUs that the whole run asks for. teachers: those that the algorithm asks; args: OpenRLHF's flags."""
    student = args.actor.num_nodes * args.actor.num_gpus_per_node
    engines = 0 if is_colocated(args) else args.vllm.num_engines * args.vllm.tensor_parallel_size
    return student + engines + teacher_gpus(t for t in teachers if t.placement != "colocate")


def packed(teachers: Iterable[SomeTeacher]) -> list[list[SomeTeacher]]:
    """The teachers of the replicas on each GPU; a replica of several GPUs has them to itself.

    Those that take a part of a GPU are packed onto as few as hold them: two of 0.6 need two.
    """
    replicas = [t for t in teachers if t.started_here for _ in range(t.replicas)]
    cards: list[list[SomeTeacher]] = []
    for teacher in sorted(replicas, key=lambda t: -t.gpus_per_replica):
        most = 1 - teacher.gpus_per_replica + 1e-9
        room = next((card for card in cards if sum(t.gpus_per_replica for t in card) <= most), None)
        if room is None:
            cards.append([teacher])
        else:
            room.append(teacher)
    return cards


def teacher_gpus(teachers: Iterable[TeacherSettings]) -> int:
    """Number of GPUs for teachers of their own."""
    return sum(max(1, int(card[0].gpus_per_replica)) for card in packed(teachers))


def student_gpus(args: SimpleNamespace) -> PlacementGroup:
    """The placement that OpenRLHF makes for a colocated run, made before it, so that teachers can sit there too."""
    bundles = [{"GPU": 1, "CPU": 1}] * (args.actor.num_nodes * args.actor.num_gpus_per_node)
    group = placement_group(bundles, strategy="PACK")
    ray.get(group.ready())
    return group
