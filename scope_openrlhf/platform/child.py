"""A command that runs as a process of its own, and that has engines to put away when it is stopped."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def finish(command: Sequence[str], stdout: IO | int, stderr: IO | int) -> int:
    """Exit code of a command. If this process is stopped, so is that one, and waited for; if it is killed, too."""
    # in a session of its own a Ctrl-C reaches it once, from here
    with subprocess.Popen(
        command, stdout=stdout, stderr=stderr, start_new_session=True, preexec_fn=_end_with_parent
    ) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


def _end_with_parent() -> None:
    """Ask the kernel to stop this process once its parent is gone, also where that could say nothing any more."""
    if LIBC:
        LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
