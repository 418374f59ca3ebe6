"""Ray for a run: started or joined, watched while it works, and what its errors mean."""

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from scope_openrlhf.files.stage import Stage
from scope_openrlhf.platform import cpu, loopback
from scope_openrlhf.run.plan import Plan
from scope_openrlhf.settings.resolved import RUN_VARIABLE
from scope_openrlhf.settings.errors import ConfigError

if TYPE_CHECKING:  # it comes with the training stack
    import psutil


class RunError(RuntimeError):
    """A run that started and could not go on. The message says why and where to look."""


class LostError(RunError):
    """Ray lost a part of the run, or nothing moves any more: another attempt may go further."""


@contextlib.contextmanager
def alone(run: Path) -> Iterator[None]:
    """No other scope-train may work on this run. Raises ConfigError if one does; the lock goes with its process."""
    with (run / "logs" / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"another scope-train works on {run}; wait for it, or choose another name=...") from None
        yield


@contextlib.contextmanager
def ray_session(plan: Plan, out: TextIO, patient: bool = False) -> Iterator[None]:
    """Ray, started for the run or joined, with our environment in every worker; stopped on the way out if it was ours.

    patient: wait for GPUs that a joined Ray lacks (a lost node may be coming back), as long as `deadline` lets it, instead of refusing.
    """
    import psutil
    import ray

    config = plan.config
    env = {"TOKENIZERS_PARALLELISM": "true", "NCCL_DEBUG": "WARN", "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1"}
    env[RUN_VARIABLE] = json.dumps(config.to_dict())
    runtime_env: dict = {"env_vars": env, "worker_process_setup_hook": "scope_openrlhf.platform.cpu.install"}
    local = config.ray.address == "local"
    kwargs: dict = {"address": config.ray.address}
    if local:
        loopback.enter()
        os.environ.setdefault(
            "RAY_prestart_worker_first_driver", "0"
        )  # idle workers would each import torch for nothing
        kwargs |= {"num_cpus": max(os.cpu_count() or 1, plan.gpus + 2), "include_dashboard": False}
        if cpu.active():
            kwargs |= {"num_gpus": config.ray.num_gpus or plan.gpus, "object_store_memory": 512 * 2**20}
    env |= cpu.environment()
    try:
        try:
            ray.init(runtime_env=runtime_env, log_to_driver=False, **kwargs)
        except ConnectionError as error:
            raise (LostError if patient else ConfigError)(
                f"ray.address {config.ray.address}: no Ray answers ({error}); start one (ray start --head) or set it to local"
            ) from None
        logs = Path(ray._private.worker._global_node.get_logs_dir_path())
        link = config.run_dir / "logs" / "ray"
        link.unlink(missing_ok=True)
        link.symlink_to(logs)
        have = ray.cluster_resources().get("GPU", 0)
        if patient and have < plan.gpus:
            print(f"  waiting for {plan.gpus} GPUs, Ray has {have:g}", file=out, flush=True)
            Stage(config.run_dir)(f"waiting for {plan.gpus} GPUs of Ray, which had {have:g}")
        while patient and have < plan.gpus:
            time.sleep(2)
            have = ray.cluster_resources().get("GPU", 0)
        if have < plan.gpus:
            raise ConfigError(
                f"the run asks for {plan.gpus} (logical) GPUs, Ray at {config.ray.address} has {have:g}; start Ray with --num-gpus {plan.gpus} "
                "or more, or lower openrlhf.actor.num_gpus_per_node, openrlhf.vllm.num_engines, teacher.replicas or teacher.gpu_fraction"
            )
        print(f"  Ray: {plan.gpus} {'logical ' if cpu.active() else ''}GPUs; starting engines", file=out, flush=True)
        yield
    finally:
        workers = ray_workers() if local else []
        ray.shutdown()
        for hung in psutil.wait_procs(workers, timeout=20)[1]:  # it would keep its GPU
            with contextlib.suppress(psutil.NoSuchProcess):
                hung.kill()


def ray_workers() -> "list[psutil.Process]":
    """Processes of the Ray that this one started: actors, and the engine cores under them."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.cmdline() and process.cmdline()[0].startswith(("ray::", "VLLM::")):
                found.append(process)
    return found


@contextlib.contextmanager
def deadline(stage: Stage, seconds: float) -> Iterator[None]:
    """While it is open, raise LostError in the main thread, whatever it waits for, once no stage of the run has moved for so long."""
    stuck = ""

    def look(*_) -> None:
        nonlocal stuck
        if at := stage.stalled(seconds):
            stuck = stuck or at
            stage.begin("stopping")  # which may take as long again
            raise KeyboardInterrupt  # the only exception that ends a wait inside Ray

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, min(seconds, 10), min(seconds, 10))
    try:
        yield
    except KeyboardInterrupt:
        if not stuck:
            raise
        raise LostError(f"nothing has moved for {seconds:g} s (ray.hang_seconds); the run was at: {stuck}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def lost(error: BaseException) -> bool:
    """Whether a process, a node or an object is gone, rather than that the run's own code would not go on."""
    from ray import exceptions as ray

    while isinstance(error, ray.RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    if isinstance(error, ray.RayError):
        mine = (
            ray.RayTaskError,
            ray.ObjectStoreFullError,
            ray.OutOfDiskError,
            ray.RuntimeEnvSetupError,
            ray.ActorUnschedulableError,
        )
        return not isinstance(error, mine) and not getattr(
            error, "actor_init_failed", False
        )  # one that cannot start will not later
    # what is left of it in a process that talked to the lost one
    names = ("EngineDeadError", "DistBackendError", "DistNetworkError", "DistStoreError")
    return type(error).__name__ in names or any(sign in str(error) for sign in ("gloo/transport", "NCCL error"))


def cause_of(error: Exception) -> str:
    """The line of a worker's traceback that says what happened: the last one, pydantic's pointer to its website left out."""
    return [line.strip() for line in str(error).splitlines() if line.strip() and "For further information" not in line][
        -1
    ]
