"""What reaches the terminal where the log cannot be written."""

import subprocess
import sys

import pytest

from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.settings.errors import ConfigError

FAILING = """
import contextlib
import sys
from pathlib import Path
from scope_openrlhf.run.terminal import quiet
try:
    with quiet(Path(sys.argv[1])) as (out, err):
        with contextlib.suppress(OSError):  # an unbuffered print fails at once, a buffered one as the log is left
            print("said into the log")
        raise RuntimeError("the disk is full")
except RuntimeError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
"""


def test_a_log_that_cannot_be_is_told_with_its_folder(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(ConfigError, match="runs/logs cannot be written .Not a directory.; choose another folder"):
        quiet(tmp_path / "runs" / "logs" / "driver.log").__enter__()


def test_on_a_full_disk_the_error_still_comes_as_a_line(tmp_path):
    (tmp_path / "driver.log").symlink_to("/dev/full")
    command = [sys.executable, "-c", FAILING, str(tmp_path / "driver.log")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "error: the disk is full"
    assert "Traceback" not in done.stderr
