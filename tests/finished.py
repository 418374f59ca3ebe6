"""A run that is done, written by hand: three steps, a model, its scores before and after."""

import json
import shutil
from pathlib import Path

import yaml

from scope_openrlhf.run.folder import WHOLE
from scope_openrlhf.settings.config import Config

SCORES = {
    "before": {"avg": 0.25, "avg_ci": [0.2, 0.3], "pass": {"2": 0.5}, "pass_ci": {"2": [0.4, 0.6]}},
    "after": {"avg": 0.75, "avg_ci": [0.7, 0.8], "pass": {"2": 1.0}, "pass_ci": {"2": [0.9, 1.0]}},
}
GAIN = {"avg": 0.5, "ci": [0.45, 0.55], "pass": 0.5, "pass_ci": [0.4, 0.6]}


def row(step: int, of: int = 3) -> dict:
    """A row of metrics.jsonl: reward step / 10, no perplexity, seconds."""
    return {"step": step, "of": of, "reward": step / 10, "ppl_teacher_wrong": None, "right": 3, "wrong": 1,
            "seconds": {"teacher": 0.25, "total": 1.5}}  # fmt: skip


def append(run: Path, *rows: dict) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write("".join(json.dumps(r) + "\n" for r in rows))


def finished_run(folder: Path, *overrides: str, done: bool = True) -> Path:
    """The run `a` in a folder of runs. done: with its model and its scores."""
    run = folder / "a"
    (run / "logs").mkdir(parents=True)
    config = Config.load("examples/cpu_tiny.yaml", [f"runs={folder}", "name=a", "steps=3", *overrides])
    (run / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    (run / "prompts.jsonl").write_text('{"prompt": "1+1?"}\n')
    append(run, *(row(step) for step in (1, 2, 3)))
    if done:
        shutil.copytree("examples/tiny/student", run / "model")
        (run / "model" / WHOLE).touch()
        evaluated(run)
    return run


def evaluated(run: Path) -> None:
    """Write the scores of a run, and that it is done."""
    for when, scores in SCORES.items():
        (run / "eval" / when).mkdir(parents=True)
        (run / "eval" / when / "results.json").write_text(json.dumps({"benchmarks": {"heldout": scores}}))
    (run / "eval" / "pair.json").write_text(json.dumps({"n": 4, "k": 2, "difference": GAIN}))
    (run / "summary.json").write_text("{}")
