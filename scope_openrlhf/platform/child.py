"""A command that runs as a process of its own, and that has engines to put away when it is stopped."""

import subprocess
from collections.abc import Sequence
from typing import IO


def finish(command: Sequence[str], stdout: IO | int, stderr: IO | int) -> int:
    """Exit code of a command. If this process is stopped, so is that one, and waited for."""
    # in a session of its own a Ctrl-C reaches it once, from here
    with subprocess.Popen(command, stdout=stdout, stderr=stderr, start_new_session=True) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
