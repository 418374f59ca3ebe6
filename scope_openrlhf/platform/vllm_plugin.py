"""vLLM's door to this package: it loads this in each of its processes, engine core included, before any model.

Entry point `vllm.general_plugins` of pyproject.toml.
"""

import ctypes
import multiprocessing
import os
import signal

from scope_openrlhf.platform import cpu, loopback
from scope_openrlhf.settings.resolved import RUN_VARIABLE


def register() -> None:
    """Prepare a vLLM process of a run of ours; does nothing in any other.

    It ties the life of an engine core to its parent's, keeps sockets on loopback where the run's are, and installs the
    CPU platform.
    """
    if RUN_VARIABLE not in os.environ:
        return
    if multiprocessing.parent_process() is not None:  # an engine core
        # it would outlive a Ray actor that is killed: ask the kernel to end it with its parent (Linux prctl,
        # PR_SET_PDEATHSIG)
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    loopback.install()
    cpu.install_vllm()
