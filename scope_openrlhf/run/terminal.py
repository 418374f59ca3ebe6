"""Keep the terminal for what the user wants to read: the noise of the engines goes to a log file."""

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from scope_openrlhf.settings.errors import ConfigError

warnings.filterwarnings("ignore", message="The pynvml package is deprecated")  # torch says so on every import

SOON = 2.0
"""Seconds after which it is told what goes on."""


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[tuple[TextIO, TextIO]]:
    """Send stdout and stderr of this process and its children to a log; yield streams to the real ones.

    Raises ConfigError if there can be no such log.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        opened = log.open("a")
    except OSError as error:
        raise ConfigError(
            f"{log.parent} cannot be written ({error.strerror}); choose another folder: runs=... of a run, --out of an "
            "evaluation"
        ) from None
    saved = os.dup(1), os.dup(2)
    with opened as file, os.fdopen(os.dup(1), "w") as out, os.fdopen(os.dup(2), "w") as err:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield out, err
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError):  # the log's disk may be full, and what is to be told of it comes
                    stream.flush()
            for fd, number in zip(saved, (1, 2), strict=True):
                os.dup2(fd, number)
                os.close(fd)


def progress(err: TextIO) -> Callable[[str], None]:
    """What tells somebody who waits what is done next, once that takes long."""
    began = time.monotonic()

    def say(what: str) -> None:
        if (seconds := time.monotonic() - began) > SOON:
            print(f"{seconds:.0f} s: {what}", file=err, flush=True)

    return say
