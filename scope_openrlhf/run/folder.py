"""The folder of a run: whose it is, whether it is done, and that one command works on it at a time."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.run.summary import summary_table
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.parse import flatten

WHOLE = ".whole"
"""In the folder of the trained model, once all its files are written."""


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
    differing = _differing(yaml.safe_load(stored.read_text()), config)
    if differing and whole_rows(run / "metrics.jsonl"):
        raise ConfigError(
            f"{run} belongs to another config; it differs in {', '.join(differing[:5])}: choose another name=..., "
            "or --fresh to delete it first"
        )
    if not differing and (run / "summary.json").exists():
        print(summary_table(json.loads((run / "summary.json").read_text())))
        print(f"{run} is done. Train again under another name=..., or --fresh to delete it and start afresh.")
        return True
    return False


def _differing(stored: dict, config: Config) -> list[str]:
    """Keys of a stored config whose values are others now."""
    with contextlib.suppress(ConfigError):  # what the config did not have yet when the run began is at its default
        stored = Config.from_dict(stored).to_dict()
    then, now = (flatten(json.loads(json.dumps(c))) for c in (stored, config.to_dict()))
    # where a run computes does not change what it computes, and the knobs of its algorithm stand under `algorithm`
    free = ("ray.", "algorithms.")
    return sorted(k for k in then.keys() | now.keys() if then.get(k) != now.get(k) and not k.startswith(free))


def delete_run(run: Path) -> None:
    """Delete a run's folder. One that is no run of ours stays."""
    if (run / "config.yaml").exists():
        shutil.rmtree(run)


@contextlib.contextmanager
def alone(run: Path) -> Iterator[None]:
    """Keep other commands off a run while it is open; the lock ends with its process.

    Raises ConfigError if another command works on the run.
    """
    with (run / "logs" / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"another scope-train works on {run}; wait for it, or choose another name=...") from None
        yield
