"""Old checkpoints of runs, listed and deleted."""

import shutil
from pathlib import Path
from typing import TextIO

from scope_openrlhf.files import checkpoint
from scope_openrlhf.run.folder import alone, state_of
from scope_openrlhf.run.listing import config_of, size_of
from scope_openrlhf.settings.errors import ConfigError


def clean(runs: list[Path], keep: int, delete: bool, out: TextIO) -> None:
    """List the checkpoints of runs but for the newest ones, and delete them if that was asked for.

    keep: how many stay of each run; with 0 runs that are not done keep one. Raises ConfigError for a folder that is no
    run.
    """
    for run in runs:
        config_of(run)
    if keep < 0:
        raise ConfigError(f"--keep must be at least 0, got {keep}")
    freed = 0
    for run in runs:
        state = state_of(run)
        if state == "running":
            print(f"{run} is running and stays as it is", file=out)
            continue
        for old in old_checkpoints(run, keep if state == "done" else max(keep, 1)):
            freed += (size := size_of(old))
            print(f"{'deleted' if delete else 'would delete'}  {size / 2**20:>9,.1f} MiB  {old}", file=out)
            if delete:
                _delete(run, old)
    how = "" if delete or not freed else "; nothing was deleted: give --delete to do it"
    print(f"{freed / 2**20:,.1f} MiB in all{how}", file=out)


def old_checkpoints(run: Path, keep: int) -> list[Path]:
    """Folders of a run's checkpoints but for the newest ones, and of those that were found torn."""
    whole = checkpoint.by_step(run / "checkpoints" / "_actor")
    return whole[: max(len(whole) - keep, 0)] + sorted((run / "checkpoints" / "torn").glob("*"))


def _delete(run: Path, old: Path) -> None:
    with alone(run):
        shutil.rmtree(old)
        folder = run / "checkpoints" / "_actor"
        if not checkpoint.by_step(folder):  # OpenRLHF takes an empty folder for a checkpoint
            shutil.rmtree(folder, ignore_errors=True)
