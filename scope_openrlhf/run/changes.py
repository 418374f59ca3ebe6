"""What may change in a run that has begun: whatever no number of its steps depends on.

MAY_CHANGE and DECIDES_STEPS hold every key of a config; the longest entry that a key begins with counts.
"""

import contextlib
import json
from typing import Any

import yaml

from scope_openrlhf.files import checkpoint
from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.parse import flatten

MAY_CHANGE = {
    "base": "the keys that come of it are compared",
    "name": "the folder may be renamed",
    "runs": "the folder may be moved",
    "steps": "more steps follow the last checkpoint, fewer end the run sooner",
    "data": "the prompts that come of it are compared, row by row",
    "student.trust_remote_code": "it permits, and computes nothing",
    "teacher.urls": "the probe tells whether the same teacher answers there",
    "teacher.replicas": "a score is the same from every replica",
    "teacher.tensor_parallel_size": "where its engines sit",
    "teacher.gpu_fraction": "where its engines sit",
    "teacher.placement": "where its engines sit",
    "teacher.sleep": "when its memory is free",
    "teacher.max_num_batched_tokens": "the pace of its engines",
    "teacher.gpu_memory_utilization": "the memory of its engines",
    "teacher.enforce_eager": "the pace of its engines",
    "teacher.deadline_seconds": "when the run stops, not what it trains",
    "teacher.hang_seconds": "when a replica is started again",
    "teacher.score_log": "a score is looked up by the teacher's identity",
    "teacher.replay": "a score is looked up by the teacher's identity",
    "teacher.drop_budget": "when the run stops; dropped rollouts are counted",
    "teacher.max_model_len": "room for a request, not what it says",
    "teacher.accept": "it permits, and computes nothing",
    "algorithms": "knobs of other algorithms; those of this one stand under `algorithm`",
    "eval": "it comes after training; other samples than before are drawn anew",
    "health": "it describes steps and changes none",
    "ray": "where a run computes does not change what",
    "track": "where numbers are shown",
    "openrlhf.ckpt": "when a checkpoint is written, and how many stay",
    "openrlhf.logger": "where numbers are shown",
    "openrlhf.vllm": "every sample has a seed of its own, wherever it is drawn",
    "openrlhf.train.micro_batch_size": "the gradient does not depend on micro-batches",
    "openrlhf.rollout.micro_batch_size": "log-probs do not depend on micro-batches",
    "openrlhf.actor.gradient_checkpointing_enable": "it trades time for memory",
}
DECIDES_STEPS = {
    "from": "it is where the run began",
    "seed": "the order of problems and every sample follow from it",
    "data.system": "it stands in the prompts, of the evaluation too",
    "student": "it is what training began with, and how it is asked",
    "teacher": "it decides the scores",
    "algorithm": "it decides the loss",
    "openrlhf": "it decides what is drawn, or how the optimiser steps, or what form checkpoints have",
}
Changes = dict[str, tuple[Any, Any]]
"""Key -> the value of before and that of now; None where there was or is none."""


def may_change(key: str) -> bool:
    """Whether no number of a run's steps depends on a key, given with dots."""
    parts = key.split(".")
    if parts[0] == "teachers":
        parts = ["teacher", *parts[2:]]
    prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((found in MAY_CHANGE for found in prefixes if found in MAY_CHANGE or found in DECIDES_STEPS), False)


def differences(before: dict, now: dict) -> Changes:
    """The keys of two configs, as `Config.to_dict` gives them, whose values differ."""
    before, now = (flatten(json.loads(json.dumps(values))) for values in (before, now))
    keys = sorted(before.keys() | now.keys())
    return {k: (before.get(k), now.get(k)) for k in keys if before.get(k) != now.get(k)}


def changes_of(config: Config) -> Changes:
    """What a config changes in the run that its folder holds; nothing where there is none. Raises ConfigError."""
    file = config.run_dir / "config.yaml"
    if not file.exists():
        return {}
    try:
        stored = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError) as error:  # no right to read it, or no text
        raise ConfigError(f"{file} cannot be read ({error}); mend it, or choose another name=...") from None
    with contextlib.suppress(ConfigError):  # what the config did not have yet when the run began is at its default
        stored = Config.from_dict(stored).to_dict()
    return differences(stored, config.to_dict())


def refuse_another_past(config: Config, changes: Changes) -> None:
    """Raise ConfigError, with old and new value of each key, if changes decide what the steps so far were."""
    run = config.run_dir
    past = [f"{key}: {shown(old)} -> {shown(new)}" for key, (old, new) in changes.items() if not may_change(key)]
    if not past:
        return
    from scope_openrlhf.run.chosen import load_algorithm  # brings torch: seconds that other commands need not wait for

    load_algorithm(config)  # an algorithm that there is not is mistyped, and no reason to delete a run
    newest = checkpoint.step_of(checkpoint.latest(run / "checkpoints"))
    fork = f"start one from it with from={run}@step{newest}, " if newest else ""
    many = f" and {len(past) - 8} more" if len(past) > 8 else ""
    raise ConfigError(
        f"{run} belongs to another config; it differs in {', '.join(past[:8])}{many}, and its "
        f"{len(whole_rows(run / 'metrics.jsonl'))} steps were trained with the old: choose another name=..., {fork}"
        "or --fresh to delete it first"
    )


def change_notes(config: Config) -> list[str]:
    """What a config changes in a run that has done steps, for the eye of whoever gave it."""
    rows = whole_rows(config.run_dir / "metrics.jsonl")
    changed = [f"{key}: {shown(old)} -> {shown(new)}" for key, (old, new) in changes_of(config).items()] if rows else []
    return [f"changed after {len(rows)} steps: {', '.join(changed)}"] if changed else []


def shown(value: Any) -> str:
    """A value for a message, in the spelling of JSON; a missing one is "unset"."""
    return "unset" if value is None else value if isinstance(value, str) and value else json.dumps(value)


def other_samples(changes: Changes) -> bool:
    """Whether an evaluation draws other samples after these changes, and not only more of them.

    Where no evaluation is asked for any more, the one that there is stays.
    """
    return not _evaluates_no_more(changes) and any(key.startswith("eval.") and key != "eval.samples" for key in changes)


def go_on(changes: Changes) -> bool:
    """Whether a run that was done has something to do after these changes."""
    evaluates = any(key.startswith("eval.") for key in changes) and not _evaluates_no_more(changes)
    return "steps" in changes or evaluates


def _evaluates_no_more(changes: Changes) -> bool:
    return "eval.path" in changes and not changes["eval.path"][1]
