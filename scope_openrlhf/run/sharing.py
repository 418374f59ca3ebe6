"""A config that asks for more GPUs than there are, with its engines on shared ones: `ray.share_gpus`."""

from collections.abc import Iterator
from dataclasses import replace

from scope_openrlhf.algorithms.base.contract import Algorithm
from scope_openrlhf.host.gpus import gpus_wanted
from scope_openrlhf.platform import cluster, cpu
from scope_openrlhf.run.chosen import choose_teachers
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.sections import TeacherConfig


def share_gpus(config: Config, algorithm: Algorithm, dry: bool) -> tuple[Config, list[str]]:
    """The config as it fits on the GPUs that there are, and what is to be said of that; as it is if nothing does.

    dry: neither Ray nor this machine is asked for its GPUs; only ray.num_gpus says how many there are.
    """
    have = config.ray.num_gpus or (0 if dry else cluster.gpus(config.ray.address))
    if not config.ray.share_gpus or not have:
        return config, []
    from scope_openrlhf.host.flags import resolve_args  # OpenRLHF: seconds, which an error need not wait for

    def wanted(config: Config) -> int:
        return gpus_wanted(choose_teachers(config, algorithm).values(), resolve_args(config))

    args, asked = resolve_args(config), wanted(config)
    ranks, engines = args.actor.num_nodes * args.actor.num_gpus_per_node, args.vllm.num_engines
    # OpenRLHF shares GPUs between ranks and engines one to one, and not while both work
    if asked > have and ranks == engines * args.vllm.tensor_parallel_size and not args.train.async_enable:
        for shared, who in _shared(config, algorithm):
            if wanted(shared) <= have:
                return shared, [f"the config asks for {asked} GPUs and there are {have}: {who} (ray.share_gpus)"]
    return config, []


def _shared(config: Config, algorithm: Algorithm) -> Iterator[tuple[Config, str]]:
    """Configs that ask for ever fewer GPUs, each with a sentence on who shares."""
    gives_back = not cpu.active()  # what sleeps gives the memory of a GPU back
    sleep = {"vllm.enable_sleep": gives_back, "ds.enable_sleep": gives_back}
    config = replace(config, openrlhf=config.openrlhf | {"train.colocate_all": True} | sleep)
    yield config, "the student and its rollout engines take turns on one set of them"

    def beside(teacher: TeacherConfig) -> TeacherConfig:
        # a teacher that scores contexts does so after the rollouts, when sleepers sleep
        sleep = gives_back and not algorithm.asks.contexts_by_teacher
        return replace(teacher, placement="colocate", sleep=sleep) if teacher.started_here else teacher

    teachers = {name: beside(teacher) for name, teacher in config.teachers.items()}
    config = replace(config, teacher=beside(config.teacher), teachers=teachers)
    yield config, "the student, its rollout engines and the teacher take turns on one set of them"
