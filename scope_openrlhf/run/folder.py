"""The folder of a run: whose it is, whether it is done, and that one command works on it at a time."""

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from scope_openrlhf.files import checkpoint
from scope_openrlhf.files.disk import append_rows, whole_rows
from scope_openrlhf.run import changes
from scope_openrlhf.run.errors import RunError
from scope_openrlhf.run.summary import summary_table
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

WHOLE = ".whole"
"""In the folder of the trained model, once all its files are written."""
OF_BOTH = ("pair.json", "compare.html", "compare.json", "compare.md")
"""In the folder of a run's evaluation: what it says of both models."""


def open_run(config: Config) -> bool:
    """Whether the run of this config is done. Raises ConfigError if steps of another config lie in its folder."""
    run = config.run_dir
    stored = run / "config.yaml"
    if not stored.exists():
        strangers = [p.name for p in run.iterdir() if p.name not in ("logs", "prompts.jsonl")] if run.exists() else []
        if strangers:
            raise ConfigError(
                f"{run} exists and is no run of ours (it holds {strangers[0]}); choose another name=... or runs=..."
            )
        return False
    changed = changes.changes_of(config)
    if whole_rows(run / "metrics.jsonl"):
        changes.refuse_another_past(config, changed)
    if not changes.go_on(changed) and (run / "summary.json").exists():
        print(summary_table(json.loads((run / "summary.json").read_text())))
        print(
            f"{run} is done. More steps=... go on from its last checkpoint; train again under another name=..., or "
            "--fresh to delete it and start afresh."
        )
        return True
    return False


def take_over(config: Config, steps: int) -> None:
    """Note in changes.jsonl what a config changes in a run that has begun, and put aside what it makes untrue.

    steps: of the whole run from now on. Raises ConfigError if it cannot have so many.
    """
    run, changed = config.run_dir, changes.changes_of(config)
    done = len(whole_rows(run / "metrics.jsonl"))
    if steps < done:
        raise ConfigError(f"steps is {steps}, but {run} has done {done}; set it to {done} or more")
    if steps > done and (run / "model" / WHOLE).exists():
        if not checkpoint.latest(run / "checkpoints"):
            raise ConfigError(
                f"{run} is done and kept no checkpoint, so its {done} steps would be done again; choose another "
                "name=..., or --fresh to delete it first (openrlhf.ckpt.save_steps keeps checkpoints)"
            )
        (run / "model" / WHOLE).unlink()
        _put_aside(run / "eval", ("after", *OF_BOTH), done)
    if changes.other_samples(changed):
        _put_aside(run / "eval", ("before", "after", *OF_BOTH), done)
    if changes.go_on(changed):
        (run / "summary.json").unlink(missing_ok=True)
    if changed and done:
        append_rows(run / "changes.jsonl", [{"time": round(time.time()), "step": done, "changes": changed}])


def _put_aside(folder: Path, names: tuple[str, ...], done: int) -> None:
    """Move parts of an evaluation into its folder `earlier`: samples of two models or settings are never mixed."""
    found = [folder / name for name in names if (folder / name).exists()]
    if not found:
        return
    earlier = folder / "earlier"
    aside = earlier / f"{1 + len(list(earlier.glob('*')))}-step{done}"
    aside.mkdir(parents=True)
    for path in found:
        path.rename(aside / path.name)


def delete_run(run: Path) -> None:
    """Delete a run's folder. One that is no run of ours stays."""
    if (run / "config.yaml").exists():
        shutil.rmtree(run)


@contextlib.contextmanager
def alone(run: Path) -> Iterator[None]:
    """Keep other commands off a run while it is open, and keep why it failed in logs/error.

    The lock ends with its process. Raises ConfigError if another command works on the run.
    """
    failure = run / "logs" / "error"
    with (run / "logs" / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"another scope-train works on {run}; wait for it, or choose another name=...") from None
        failure.unlink(missing_ok=True)
        try:
            yield
        except RunError as error:
            with contextlib.suppress(OSError):  # the disk may be full, which is what the error says then
                failure.write_text(str(error))
            raise


def state_of(run: Path) -> str:
    """What has become of a run: "running", "done", "failed" or "stopped"."""
    lock = run / "logs" / "lock"
    if lock.exists():
        with lock.open() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return "running"
    if (run / "summary.json").exists():
        return "done"
    return "failed" if (run / "logs" / "error").exists() else "stopped"
