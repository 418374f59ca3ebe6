"""The teachers of a run that are started for it, and the command that looks at them alone."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TextIO

from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup

from scope_openrlhf.host import luggage
from scope_openrlhf.host.gpus import teacher_gpus
from scope_openrlhf.models.replies import ModelList
from scope_openrlhf.models.served import ModelServer, ServerError
from scope_openrlhf.platform.cluster import last_line
from scope_openrlhf.run.errors import RunError
from scope_openrlhf.run.plan import Plan, make_plan
from scope_openrlhf.run.session import ray_session
from scope_openrlhf.settings import api_keys
from scope_openrlhf.settings.config import Config, section_of
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.resolved import Teacher
from scope_openrlhf.teacher.contract import TeacherError
from scope_openrlhf.teacher.group import TeacherGroup
from scope_openrlhf.teacher.probe import longest_request, probe_run


@contextlib.contextmanager
def teacher_groups(plan: Plan, shared: PlacementGroup | None = None) -> Iterator[None]:
    """A Ray group of engines for each teacher of the run that nobody else serves; those that share GPUs are loaded.

    shared: the student's GPUs, for colocated ones.
    """
    colocated = 0
    with contextlib.ExitStack() as groups:
        for teacher in plan.run.teachers.values():
            if teacher.started_here:
                group = TeacherGroup(teacher)
                groups.callback(group.close)
                group.start(plan.run.seed, shared, colocated)
                colocated += teacher.replicas if teacher.placement == "colocate" else 0
        yield


LOOK_SECONDS = 10.0
"""Longest wait for a server to say what it serves, before a run begins."""


def require_served(teachers: dict[str, Teacher]) -> None:
    """Raise ConfigError if none of a teacher's servers answers: told in seconds, before engines take minutes."""
    for name, teacher in teachers.items():
        if teacher.urls and not teacher.replay:
            faults = asyncio.run(_faults_of(teacher.urls))
            if all(faults):
                said = "; ".join(faults)
                raise ConfigError(
                    f"{section_of(name)}.urls: no server answers; start one, or correct the address: {said}"
                )


async def _faults_of(urls: list[str]) -> list[str]:
    """Why each server does not say what it serves; empty where it does."""

    async def fault(url: str) -> str:
        server = ModelServer(url, api_keys.TEACHER, LOOK_SECONDS)
        try:
            await server.ask(ModelList, "GET", "/v1/models")
        except ServerError as error:
            return str(error)
        finally:
            await server.close()
        return ""

    return await asyncio.gather(*map(fault, urls))


@contextlib.contextmanager
def teachers_alone(plan: Plan, out: TextIO, advice: str = "") -> Iterator[None]:
    """Ray with the run's teachers and nothing else. Raises RunError, with advice at its end, where they fail."""
    require_served(plan.run.teachers)
    alone = replace(plan, gpus=teacher_gpus(plan.run.teachers.values()))
    try:
        with ray_session(alone, out), teacher_groups(plan):
            yield
    except (TeacherError, RayError) as error:
        print(error, file=sys.stderr, flush=True)  # whole, into driver.log
        raise RunError(f"{last_line(error)}\n  see {plan.run.run_dir}/logs{advice}") from None


def probe(config: Config, out: TextIO) -> None:
    """Start the teachers of a config and check them. Raises RunError at the first that cannot be trusted."""
    plan = make_plan(config)
    if not plan.run.teachers:
        raise ConfigError(f"algorithm {config.algorithm['name']} has no teacher to probe")
    if plan.run.replay:
        raise ConfigError("teacher.replay starts no teacher, so there is none to probe")
    print(f"scope-train probe: {plan.notes[0]}", file=out, flush=True)
    problem = luggage.read_prompts(plan.run.run_dir / "prompts.jsonl")[0]
    with teachers_alone(plan, out):
        for teacher in plan.run.teachers.values():
            longest = longest_request(plan.algorithm.asks, teacher, plan.args.data.max_len)
            lines, _ = probe_run(teacher, plan.run.student, problem, longest)
            print("\n".join([*lines, f"{teacher.title} can be trusted"]), file=out, flush=True)
