"""Ray for a run: started or joined, watched while it works, and what its errors mean."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import psutil
import ray
from ray import exceptions

from scope_openrlhf.files.stage import Stage
from scope_openrlhf.platform import cluster, cpu
from scope_openrlhf.run import memory
from scope_openrlhf.run.errors import LostError
from scope_openrlhf.run.plan import Plan
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.resolved import RUN_VARIABLE


@contextlib.contextmanager
def ray_session(plan: Plan, out: TextIO, patient: bool = False) -> Iterator[None]:
    """Ray with our environment in every worker; stopped on the way out if it was started here.

    patient: wait for GPUs that a joined Ray lacks (a lost node may be coming back), as long as `deadline` lets it,
    instead of refusing. Raises ConfigError, or LostError where it is patient or Ray does not start.
    """
    settings = plan.config.ray
    env = {"TOKENIZERS_PARALLELISM": "true", "NCCL_DEBUG": "WARN", "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1"}
    env |= {RUN_VARIABLE: plan.run.to_json()} | memory.environment(plan)
    workers = {"env_vars": env, "worker_process_setup_hook": "scope_openrlhf.platform.cpu.install"}
    try:
        try:
            cluster.join_or_start(settings.address, gpus=settings.num_gpus or plan.gpus, cpus=plan.gpus + 2,
                                  object_store_mib=512, runtime_env=workers)  # fmt: skip
        except ConnectionError as error:
            raise (LostError if patient else ConfigError)(
                f"ray.address {settings.address}: no Ray answers ({error}); start one (ray start --head) or set it to "
                "local"
            ) from None
        except OSError as error:
            raise LostError(str(error)) from None
        _link_logs(plan.run.run_dir)
        _require_gpus(plan, out, patient)
        logical = "logical " if cpu.active() else ""
        wait = "half a minute with tiny models, minutes with large ones"
        print(f"  Ray: {plan.gpus} {logical}GPUs; starting engines: {wait}", file=out, flush=True)
        yield
    finally:
        left = ray_workers() if settings.address == "local" else []
        ray.shutdown()
        for hung in psutil.wait_procs(left, timeout=20)[1]:  # it would keep its GPU
            with contextlib.suppress(psutil.NoSuchProcess):
                hung.kill()


def _link_logs(run_dir: Path) -> None:
    """Make logs/ray of the run's folder lead to the logs of Ray's workers."""
    logs = Path(ray._private.worker._global_node.get_logs_dir_path())
    link = run_dir / "logs" / "ray"
    link.unlink(missing_ok=True)
    link.symlink_to(logs)


def _require_gpus(plan: Plan, out: TextIO, patient: bool) -> None:
    """Raise ConfigError if this Ray has too few GPUs, or wait until it has enough."""
    have = ray.cluster_resources().get("GPU", 0)
    if patient and have < plan.gpus:
        print(f"  waiting for {plan.gpus} GPUs, Ray has {have:g}", file=out, flush=True)
        Stage(plan.run.run_dir)(f"waiting for {plan.gpus} GPUs of Ray, which had {have:g}")
    while patient and have < plan.gpus:
        time.sleep(2)
        have = ray.cluster_resources().get("GPU", 0)
    if have < plan.gpus:
        raise ConfigError(
            f"the run asks for {plan.gpus} (logical) GPUs, Ray at {plan.config.ray.address} has {have:g}; start Ray "
            f"with --num-gpus {plan.gpus} or more, set ray.share_gpus=true, or lower openrlhf.actor.num_gpus_per_node, "
            "openrlhf.vllm.num_engines, teacher.replicas or teacher.gpu_fraction"
        )


def ray_workers() -> list[psutil.Process]:
    """Processes of the Ray that this one started: actors, and the engine cores under them."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.cmdline() and process.cmdline()[0].startswith(("ray::", "VLLM::")):
                found.append(process)
    return found


@contextlib.contextmanager
def deadline(stage: Stage, seconds: float) -> Iterator[None]:
    """Watch a run while it is open, and end whatever the main thread waits for once no stage has moved for so long.

    Raises LostError then.
    """
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


NEVER_MENDED = (
    exceptions.RayTaskError,
    exceptions.ObjectStoreFullError,
    exceptions.OutOfDiskError,
    exceptions.RuntimeEnvSetupError,
    exceptions.ActorUnschedulableError,
)
"""Errors of Ray that would come again."""


def lost(error: BaseException) -> bool:
    """Whether a process, a node or an object is gone, rather than that the run's own code would not go on."""
    while isinstance(error, exceptions.RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    if isinstance(error, exceptions.RayError):
        # an actor that cannot start now will not start later
        return not isinstance(error, NEVER_MENDED) and not getattr(error, "actor_init_failed", False)
    # what is left of it in a process that talked to the lost one
    names = ("EngineDeadError", "DistBackendError", "DistNetworkError", "DistStoreError")
    signs = ("gloo/transport", "NCCL error")
    return type(error).__name__ in names or any(sign in str(error) for sign in signs)
