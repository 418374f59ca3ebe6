"""A Ray group of vLLM teacher engines: N named actors, watched, started again where they die or hang."""

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from scope_openrlhf.settings.resolved import Teacher
from scope_openrlhf.teacher.contract import TeacherError
from scope_openrlhf.teacher.replica import TeacherReplica

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup


def actor_names(teacher: Teacher) -> list[str]:
    """Ray names of a teacher's replicas. Example: ["scope-teacher-math-0", "scope-teacher-math-1"]."""
    return ["-".join(["scope-teacher", *filter(None, [teacher.name]), str(i)]) for i in range(teacher.replicas)]


def sleepers(teachers: dict[str, Teacher]) -> list[str]:
    """Ray names of the replicas, of all teachers, that are awake only while rollouts are generated."""
    return [actor for t in teachers.values() if t.sleep and t.started_here for actor in actor_names(t)]


def place(teacher: Teacher, replica: int, shared: "PlacementGroup | None") -> dict[str, Any]:
    """Ray's options for one replica: what it reserves, and where.

    replica: its number among those that share the bundles. shared: one bundle for each GPU of the student.
    """
    gpus = teacher.gpus_per_replica
    if teacher.placement == "colocate" and shared is not None:
        bundle = replica % shared.bundle_count
        where = PlacementGroupSchedulingStrategy(shared, bundle, placement_group_capture_child_tasks=True)
        # a bundle holds one CPU for all who share it
        return {"num_gpus": gpus, "num_cpus": gpus, "scheduling_strategy": where}
    # by default Ray fills a node before it takes the next one
    spread = "SPREAD" if teacher.placement == "spread" else "DEFAULT"
    return {"num_gpus": gpus, "num_cpus": 1, "scheduling_strategy": spread}


def starts(teacher: Teacher, bundles: int) -> list[range]:
    """Replicas by number, in parts that may start beside each other: no two of a part sit on one GPU.

    bundles: GPUs of the student that colocated replicas are dealt onto.

    An engine measures what its GPU has left while it starts, and counts what others take or give back meanwhile as its
    own: the cache comes out too small, or vLLM refuses (v1/worker/gpu_worker.py, determine_available_memory).
    """
    at_once = bundles if teacher.placement == "colocate" else 1 if teacher.gpu_fraction < 1 else teacher.replicas
    return [range(i, min(i + at_once, teacher.replicas)) for i in range(0, teacher.replicas, at_once)]


def shares(teacher: Teacher) -> bool:
    """Whether others may start an engine on a GPU of this teacher's."""
    return teacher.placement == "colocate" or teacher.gpu_fraction < 1


class TeacherGroup:
    """The actors of one teacher, watched from threads of the process that owns the run.

    They live as long as this object does. Ray starts one again that dies. One that is up but has not answered for
    teacher.hang_seconds is killed, so that Ray does.
    """

    def __init__(self, teacher: Teacher) -> None:
        self.teacher, self.names = teacher, actor_names(teacher)
        self.handles: list[Any] = []
        self.closed = threading.Event()

    def start(self, seed: int, shared: "PlacementGroup | None" = None, first: int = 0) -> None:
        """Start the actors. On GPUs that they share it is one after the other, each ready, and asleep if it is to be.

        shared: one bundle for each GPU of the student; colocated replicas are dealt onto them, from `first` on.
        Raises TeacherError if one that is waited for does not load by the teacher's deadline.
        """
        teacher = self.teacher
        actor = ray.remote(TeacherReplica)
        for part in starts(teacher, shared.bundle_count if shared is not None else 1):
            for i in part:
                options = {"name": self.names[i], "max_restarts": -1} | place(teacher, first + i, shared)
                self.handles.append(actor.options(**options).remote(teacher, seed))
                threading.Thread(target=self._watch, args=(self.names[i], self.handles[i]), daemon=True).start()
            if shares(teacher):
                wait_until_ready(teacher, part)
                if teacher.sleep:
                    ray.get([self.handles[i].sleep.remote() for i in part])

    def close(self) -> None:
        """End the actors and the watch over them."""
        self.closed.set()
        for handle in self.handles:
            ray.kill(handle)

    def _watch(self, name: str, handle: Any) -> None:
        patience = self.teacher.hang_seconds
        while not self.closed.wait(patience / 10):
            # not up yet, or being started again: that takes as long as it takes, and the callers have their deadline
            if ray._private.state.actors(handle._actor_id.hex()).get("State") != "ALIVE":
                continue
            try:
                stalled = ray.get(handle.stalled_seconds.remote(), timeout=patience)
            except ray.exceptions.GetTimeoutError:
                stalled = patience
            except ray.exceptions.RayError:
                continue  # it died; Ray knows
            if stalled >= patience and not self.closed.is_set():
                print(f"{name} has not answered for {stalled:.0f} s: it is started again", file=sys.stderr, flush=True)
                ray.kill(handle, no_restart=False)


def wait_until_ready(teacher: Teacher, replicas: Iterable[int] | None = None) -> None:
    """Wait until replicas of a Ray group, by number, have loaded their model; None: all.

    Raises TeacherError if one has not by the teacher's deadline; an error while loading comes through as it is.
    """
    names = actor_names(teacher)
    waiting = [ray.get_actor(names[i]).ready.remote() for i in (range(len(names)) if replicas is None else replicas)]
    try:
        ray.get(waiting, timeout=teacher.deadline_seconds)
    except ray.exceptions.GetTimeoutError:
        raise TeacherError(
            f"{teacher.title} did not load in {teacher.deadline_seconds} s; see its log, or raise "
            "teacher.deadline_seconds"
        ) from None


@contextlib.contextmanager
def awake(actors: Iterable[str], patience_seconds: float) -> Iterator[None]:
    """Keep replicas, by their Ray names, awake inside the block and asleep after it.

    One that does not obey takes nothing down: asleep it refuses to score and others are asked, awake it only takes
    memory.
    """
    handles = {name: ray.get_actor(name) for name in actors}

    def tell(what: str) -> None:
        refs = {getattr(handle, what).remote(): name for name, handle in handles.items()}
        done, waiting = ray.wait(list(refs), num_returns=len(refs), timeout=patience_seconds) if refs else ([], [])
        for ref in done:
            try:
                ray.get(ref)
            except ray.exceptions.RayError as error:
                print(f"{refs[ref]} could not be told to {what}: {error}", file=sys.stderr, flush=True)
        for ref in waiting:
            print(f"{refs[ref]} did not {what} in {patience_seconds:g} s", file=sys.stderr, flush=True)

    tell("wake")
    try:
        yield
    finally:
        tell("sleep")
