"""Keep the terminal for what the user wants to read: the noise of the engines goes to a log file."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

warnings.filterwarnings("ignore", message="The pynvml package is deprecated")  # torch says so on every import


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[tuple[TextIO, TextIO]]:
    """Send stdout and stderr of this process and its children to a log; yield streams to the real ones."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file, os.fdopen(os.dup(1), "w") as out, os.fdopen(os.dup(2), "w") as err:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield out, err
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for fd, number in zip(saved, (1, 2), strict=True):
                os.dup2(fd, number)
                os.close(fd)
