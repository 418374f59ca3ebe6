"""Loaded by vLLM (entry point `vllm.general_plugins`) in each of its processes, engine core included, before any model."""

import ctypes
import os
import signal

from scope_openrlhf.settings.resolved import RUN_VARIABLE


def register() -> None:
    """Tie the engine core's life to its parent's, its sockets to loopback where the run's are, and install the CPU platform. Nothing outside a run of ours."""
    if RUN_VARIABLE not in os.environ:
        return
    if _is_engine_core():
        # An engine core outlives a Ray actor that is killed; ask the kernel to end it with its parent (Linux prctl, PR_SET_PDEATHSIG).
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    from scope_openrlhf.platform import cpu, loopback

    loopback.install()
    cpu.install_vllm()


def _is_engine_core() -> bool:
    import multiprocessing

    return multiprocessing.parent_process() is not None
