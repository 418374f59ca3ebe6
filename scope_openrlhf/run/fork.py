"""A run that starts from a checkpoint of another one, as `from` of its config names it."""

import json
import os
import shutil
from pathlib import Path

from scope_openrlhf.files import checkpoint
from scope_openrlhf.files.disk import whole_rows, write_whole
from scope_openrlhf.run.changes import differences, shown
from scope_openrlhf.run.listing import config_of
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

OF_ITS_FORM = (
    "student.path",
    "openrlhf.rollout.batch_size",
    "openrlhf.actor.num_nodes",
    "openrlhf.actor.num_gpus_per_node",
    "openrlhf.actor.optim",
    "openrlhf.actor.muon",
    "openrlhf.actor.adam.betas",
    "openrlhf.actor.adam.eps",
    "openrlhf.actor.adam.weight_decay",
    "openrlhf.ds",
    "openrlhf.train.async_enable",
    "openrlhf.train.enable_ema",
)
"""Keys that a checkpoint has in it: shapes, cut of the optimiser and what it is set to, prompts of a step."""


def fork(config: Config, steps: int) -> None:
    """Put the checkpoint that `from` names, and the rows up to it, into the folder of a run that has not begun.

    steps: of the whole run. Raises ConfigError if it cannot go on from there.
    """
    run, (origin, step) = config.run_dir, config.origin
    if not step or has_begun(run):
        return
    if steps <= step:
        raise ConfigError(f"steps is {steps}, but from={config.from_} has done {step}; set it to more")
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        rows = [row for row in whole_rows(origin / name) if row["step"] <= step]
        write_whole(run / name, "".join(json.dumps(row) + "\n" for row in rows))
    part = checkpoint.begin(run / "checkpoints" / "_actor", f"global_step{step}")
    manifest = shutil.ignore_patterns(checkpoint.MANIFEST)  # it is written anew
    shutil.copytree(checkpoint_of(origin, step), part, copy_function=_link, ignore=manifest, dirs_exist_ok=True)
    checkpoint.commit(part, keep=1)


def has_begun(run: Path) -> bool:
    """Whether a run has steps or checkpoints of its own, and needs those of another no more."""
    return (run / "checkpoints").exists() or bool(whole_rows(run / "metrics.jsonl"))


def check_origin(config: Config) -> None:
    """Raise ConfigError unless there is a whole checkpoint at `from`, of the form that this run needs to begin."""
    origin, step = config.origin
    if not step or has_begun(config.run_dir):
        return
    theirs = config_of(origin)
    if fault := checkpoint.damage(checkpoint_of(origin, step)):
        raise ConfigError(f"from={config.from_}: the checkpoint is torn ({fault}); choose another of that run")
    changed = {k: v for k, v in differences(theirs, config.to_dict()).items() if k.startswith(OF_ITS_FORM)}
    if changed:
        told = ", ".join(f"{key}: {shown(old)} -> {shown(new)}" for key, (old, new) in changed.items())
        raise ConfigError(
            f"from={config.from_}: that checkpoint has another form; {told}. To start from its model alone: "
            f"scope-train export {config.from_}, and what that writes as student.path"
        )


def checkpoint_of(run: Path, step: int) -> Path:
    """Folder of a run's checkpoint. Raises ConfigError, naming those that there are, if it has none of this step."""
    folder = run / "checkpoints" / "_actor"
    found = folder / f"global_step{step}"
    if not found.is_dir():
        steps = ", ".join(f"@step{checkpoint.step_of(p.name)}" for p in checkpoint.by_step(folder)) or "none"
        raise ConfigError(f"{run} has no checkpoint of step {step}; it has {steps}")
    return found


def _link(source: str, target: str) -> None:
    """Give a file a second name, or copy it where the disk is another: a checkpoint is never written to again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
