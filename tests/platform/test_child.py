"""A command that runs as a process of its own ends with whoever started it."""

import os
import signal
import subprocess
import sys
import time

import pytest

PARENT = """
import signal, sys
from scope_openrlhf.platform import child
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
print(child.finish([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"], 1, 2))
"""


def gone(pid: int, within: float) -> bool:
    """Whether a process ends within so many seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_command_ends_with_the_process_that_waits_for_it(how):
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        parent.send_signal(how)
        parent.wait(10)
    assert gone(pid, within=10)
