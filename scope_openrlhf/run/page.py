"""The page of a run, report.html: curves, rollouts, faults and the evaluation, of one run or of several."""

import contextlib
import json
import math
import os
import time
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from scope_openrlhf.files.disk import append_rows, whole_rows
from scope_openrlhf.files.growing import Growing
from scope_openrlhf.pages.page import clip, write_page
from scope_openrlhf.run.charts import charts_of
from scope_openrlhf.settings.errors import ConfigError

SOURCE = Path(__file__).parent / "page.html"
MOST_POINTS = 400
"""Points of a curve. Where there are more steps, each is the mean of several."""
MOST_STEPS = 40
"""Steps whose rollouts a page shows, of all its runs together: the first, the last, and others at even distances."""
MOST_FAULTS = 200
SHARE_OF_TIME, SHORTEST = 0.02, 10.0
"""Share of a run's time that its page may take, and seconds between two writes at least."""
FAULTS = "faults.jsonl"
REPORTS = {
    "side by side": "eval/compare.html",
    "before": "eval/before/report.html",
    "after": "eval/after/report.html",
}
"""What the page calls the pages of an evaluation -> where they lie in the run's folder."""


class RunReader:
    """A run's folder, as it is and as it grows."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._metrics, self._rollouts = Growing(run_dir / "metrics.jsonl"), Growing(run_dir / "rollouts.jsonl")
        self._rows: dict[int, dict[str, Any]] = {}

    def data(self, most_steps: int, beside: Path) -> dict[str, Any]:
        """What the page shows of this run. most_steps: as MOST_STEPS; beside: the folder of the page."""
        if self._metrics.look():
            self._rows = {}
        self._rows |= {
            r["step"]: r for r in self._metrics.rows([s for s in self._metrics.places if s not in self._rows])
        }
        self._rollouts.look()
        rows = [flat(self._rows[step]) for step in sorted(self._rows)]
        text = read(self.run_dir / "config.yaml")
        config = yaml.safe_load(text) or {}
        knobs = config.get("algorithm") or {}
        last = rows[-1] if rows else {"step": 0, "of": config.get("steps")}
        evaluation = read(self.run_dir / "eval" / "pair.json")
        faults = whole_rows(self.run_dir / FAULTS)
        return {
            "name": self.run_dir.name,
            "algorithm": knobs.get("name", ""),
            "step": last["step"],
            "of": last["of"],
            "seconds": sorted(r["seconds.total"] for r in rows[-50:])[len(rows[-50:]) // 2] if rows else None,
            "done": (self.run_dir / "summary.json").exists(),
            "curves": thinned(rows, MOST_POINTS),
            "rollouts": [shown(r) for r in self._rollouts.rows(spread(sorted(self._rollouts.places), most_steps))],
            "kept_steps": len(self._rollouts.places),
            "faults": faults[-MOST_FAULTS:],
            "of_faults": len(faults),
            "evaluation": json.loads(evaluation) if evaluation else None,
            "reports": [
                [name, quote(os.path.relpath(self.run_dir / file, beside))]
                for name, file in REPORTS.items()
                if (self.run_dir / file).exists()
            ],
            "config": text,
        }


class RunPage:
    """The page of a run that goes on. Nothing of the run depends on it, so its faults stop nothing."""

    def __init__(self, run_dir: Path) -> None:
        self.file = run_dir / "report.html"
        self._reader = RunReader(run_dir)
        self._due = 0.0

    def refresh(self) -> None:
        """Write the page anew, unless that was a moment ago; the longer it takes, the more seldom."""
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write the page anew. A fault is told in the run's log."""
        began = time.monotonic()
        try:
            write_runs([self._reader], self.file)
        except Exception:  # a full disk, or a row of another version
            traceback.print_exc()
        took = time.monotonic() - began
        self._due = began + took + max(SHORTEST, took / SHARE_OF_TIME)


def write_pages(runs: list[Path], out: Path | None) -> Path:
    """Write the page of one run, or of several over each other, and return its place. Raises ConfigError."""
    for run in runs:
        if not (run / "config.yaml").exists():
            raise ConfigError(f"{run} is no run of ours: it holds no config.yaml; name a folder like runs/tiny_scope")
    file = out or runs[0] / ("report.html" if len(runs) == 1 else "overlay.html")
    write_runs([RunReader(run) for run in runs], file)
    return file


def write_runs(readers: list[RunReader], file: Path) -> None:
    """Write the page of these runs."""
    from scope_openrlhf import algorithms  # torch, which a command that shows a line need not wait for

    runs = [reader.data(max(4, MOST_STEPS // len(readers)), file.parent) for reader in readers]
    known = [algorithms.load(run["algorithm"]) for run in runs if run["algorithm"] in algorithms.known()]
    paths = dict.fromkeys(path for algorithm in known for path in algorithm.paths)
    metrics = dict.fromkeys(metric for algorithm in known for metric in algorithm.metrics)
    keys = dict.fromkeys(key for run in runs for key in run["curves"]["values"])
    names = ", ".join(run["name"] for run in runs)
    data = {"runs": runs, "charts": charts_of(keys, tuple(paths), tuple(metrics)), "written": time.strftime("%F %T")}
    write_page(file, f"scope-train: {names}", SOURCE, data)


def note_fault(run_dir: Path, what: str) -> None:
    """Add a fault to those that the run's page tells of. A full disk may be the fault: then this one is left out."""
    rows = whole_rows(run_dir / "metrics.jsonl")
    step = rows[-1]["step"] if rows else 0
    with contextlib.suppress(OSError):
        append_rows(run_dir / FAULTS, [{"step": step, "at": time.strftime("%F %T"), "what": what}])


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row of metrics.jsonl with the keys of `seconds` as seconds.<key>."""
    return {k: v for k, v in row.items() if k != "seconds"} | {f"seconds.{k}": v for k, v in row["seconds"].items()}


def thinned(rows: list[dict[str, Any]], most: int) -> dict[str, Any]:
    """{"steps", "values": {key: numbers}, "each"}: curves of at most so many points, each the mean of `each` steps."""
    each = max(1, math.ceil(len(rows) / most))
    pieces = [rows[i : i + each] for i in range(0, len(rows), each)]
    keys = dict.fromkeys(key for row in rows for key in row)
    return {
        "steps": [piece[-1]["step"] for piece in pieces],
        "values": {key: [mean([row.get(key) for row in piece]) for piece in pieces] for key in keys},
        "each": each,
    }


def mean(values: list[float | None]) -> float | None:
    """The mean of those that are numbers, to 5 digits; None where there is none."""
    known = [v for v in values if v is not None]
    return float(f"{sum(known) / len(known):.5g}") if known else None


def spread(steps: list[int], most: int) -> list[int]:
    """At most so many of the steps, the first and the last among them, at even distances."""
    if len(steps) <= most:
        return steps
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row of rollouts.jsonl for the page: long texts are clipped."""
    return row | {"prompt": clip(row["prompt"]), "response": clip(row["response"])}


def read(file: Path) -> str:
    """The text of a file, empty where there is none."""
    return file.read_text(encoding="utf-8") if file.exists() else ""
