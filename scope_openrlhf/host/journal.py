"""What a run writes of its steps: metrics.jsonl and rollouts.jsonl."""

import json
import math
from pathlib import Path
from typing import Any

from scope_openrlhf.equations import metric_definitions as definitions
from scope_openrlhf.files.disk import append_rows, whole_rows, write_whole


def step_row(step: int, of: int, status: dict[str, Any]) -> dict[str, Any]:
    """One row of metrics.jsonl, in the names of equations/metric_definitions.py.

    status: numbers of the step, OpenRLHF's among them. NaN (no such rollout this step) becomes null.
    """
    row: dict[str, Any] = {"step": step, "of": of}
    for name, value in status.items():
        if name in definitions.RENAMED:
            row[definitions.RENAMED[name]] = value
        elif not _left_out(name) and isinstance(value, int | float):
            row[name] = value
    seconds = {ours: round(status[theirs], 4) for theirs, ours in definitions.SECONDS.items() if theirs in status}
    seconds["total"] = round(sum(v for k, v in seconds.items() if k not in definitions.INSIDE_OTHERS), 4)
    clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return clean | {"seconds": seconds}


def _left_out(name: str) -> bool:
    return name in definitions.LEFT_OUT or name.startswith(definitions.LEFT_OUT_PREFIXES)


class StepLog:
    """Appends to the run's files from the trainer's process, a whole line at a time."""

    def __init__(self, run_dir: Path) -> None:
        self.metrics_file, self.rollouts_file = run_dir / "metrics.jsonl", run_dir / "rollouts.jsonl"

    def step(self, step: int, of: int, status: dict[str, Any]) -> None:
        """Append a step. of: steps of the run."""
        append_rows(self.metrics_file, [step_row(step, of, status)])

    def rollouts(self, rows: list[dict]) -> None:
        """Append what a few rollouts said."""
        append_rows(self.rollouts_file, rows)

    def forget_after(self, step: int) -> None:
        """Drop rows later than the checkpoint that a run resumes from: those steps are done again."""
        for file in (self.metrics_file, self.rollouts_file):
            if file.exists():
                kept = [row for row in whole_rows(file) if row["step"] <= step]
                write_whole(file, "".join(json.dumps(row) + "\n" for row in kept))
