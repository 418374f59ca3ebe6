"""A command that runs as a process of its own, and that has engines to put away when it is stopped."""

import contextlib
import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def finish(command: Sequence[str], stdout: IO | int, stderr: IO | int) -> int:
    """Exit code of a command. If this process is stopped, so is that one, and waited for; if it is killed, too."""
    with started(command, stdout, stderr) as process:
        return process.wait()


@contextlib.contextmanager
def started(
    command: Sequence[str], stdout: IO | int, stderr: IO | int, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen]:
    """A command that runs beside the block, which waits for it at its end, and as `finish` where that is stopped."""
    # in a session of its own a Ctrl-C reaches it once, from here
    with subprocess.Popen(
        command, stdout=stdout, stderr=stderr, env=env, start_new_session=True, preexec_fn=_end_with_parent
    ) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            process.wait()
            raise


def _end_with_parent() -> None:
    """Ask the kernel to stop this process once its parent is gone, also where that could say nothing any more."""
    if LIBC:
        LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
