"""Runs beside each other: a line for each, and what two of them differ in."""

import json
import time
from pathlib import Path
from typing import Any, TextIO

import yaml

from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.run.changes import differences, shown
from scope_openrlhf.run.folder import state_of
from scope_openrlhf.run.summary import right_share
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

HEAD = ("name", "algorithm", "student", "steps", "state", "right", "kl", "before", "after", "size", "age")
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""Seconds of each unit of an age."""


def list_runs(folder: Path, out: TextIO) -> None:
    """Print a line for each run of a folder, the newest last. Raises ConfigError if there is none."""
    runs = runs_in(folder)
    print(aligned([HEAD, *map(line_of, runs)]), file=out)
    print("right, kl: of the last step; before, after: Avg@k in percent; age: since the last step", file=out)
    for run in runs:
        if state_of(run) == "failed":
            print(f"{run.name} failed: {(run / 'logs' / 'error').read_text().splitlines()[0]}", file=out)


def runs_in(folder: Path) -> list[Path]:
    """Folders of the runs in a folder, by the time of their last step. Raises ConfigError if there is none."""
    found = [file.parent for file in folder.glob("*/config.yaml")]
    if not found:
        raise ConfigError(f"{folder} holds no run; name the folder of your runs")
    return sorted(found, key=touched)


def config_of(run: Path) -> dict[str, Any]:
    """The config of a run as a tree of values. Raises ConfigError if there is none to read."""
    file = run / "config.yaml"
    try:
        return Config.from_dict(yaml.safe_load(file.read_text(encoding="utf-8"))).to_dict()
    except FileNotFoundError:
        raise ConfigError(f"{run} is no run: there is no {file}; scope-train runs lists those in runs/") from None
    except (OSError, yaml.YAMLError, ValueError) as error:  # a ConfigError among them
        raise ConfigError(f"{run} is no run: {file} cannot be read ({error})") from None


def touched(run: Path) -> float:
    """When the last step of a run was written, or its config, in seconds since the epoch."""
    metrics = run / "metrics.jsonl"
    return (metrics if metrics.exists() else run / "config.yaml").stat().st_mtime


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())


def line_of(run: Path) -> tuple[str, ...]:
    """The cells of a run, as HEAD names them."""
    try:
        config = config_of(run)
    except ConfigError:  # of another version, or cut; the others are still listed
        return (run.name, *["?"] * (len(HEAD) - 1))
    rows = whole_rows(run / "metrics.jsonl")
    last = rows[-1] if rows else {}
    done = f"{last.get('step', 0)}/{last.get('of') or config['steps'] or '?'}"
    right = f"{right_share(last):.0%}" if last else "-"
    kl = "-" if last.get("reverse_kl") is None else f"{last['reverse_kl']:.3f}"
    before, after = averages(run)
    model = Path(config["student"]["path"]).name
    return (run.name, config["algorithm"]["name"], model, done, state_of(run), right, kl, before, after,
            f"{size_of(run) / 2**20:,.0f} MiB", age(time.time() - touched(run)))  # fmt: skip


def averages(run: Path) -> tuple[str, str]:
    """Avg@k of a run's student before and after, in percent; "-" where there was no evaluation."""
    file = run / "summary.json"
    found = json.loads(file.read_text()).get("eval") if file.exists() else None
    if not found:
        return "-", "-"
    return f"{100 * found['before']['avg']:.1f}", f"{100 * found['after']['avg']:.1f}"


def age(seconds: float) -> str:
    """A duration in its largest unit."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), (1, "s"))
    return f"{int(seconds // size)} {unit}"


def compare_runs(first: Path, second: Path, out: TextIO) -> None:
    """Print what two runs differ in: keys of their configs, and the numbers of the last step that both have."""
    changed = differences(config_of(first), config_of(second))
    keys = [(key, *map(shown, values)) for key, values in changed.items() if key not in ("name", "runs")]
    names = (first.name, second.name)
    print(aligned([("key", *names), *keys]) if keys else "their configs are alike", file=out)
    rows = [{row["step"]: row for row in whole_rows(run / "metrics.jsonl")} for run in (first, second)]
    both = sorted(rows[0].keys() & rows[1].keys())
    if both:
        print(f"\n{aligned([(f'step {both[-1]}', *names), *numbers(rows[0][both[-1]], rows[1][both[-1]])])}", file=out)
    scores = zip(averages(first), averages(second), strict=True)
    evaluated = [(f"Avg {when}", *pair) for when, pair in zip(("before", "after"), scores, strict=True)]
    print(f"\n{aligned([('', *names), *evaluated])}", file=out)


def numbers(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, ...]]:
    """The metrics that two rows of metrics.jsonl have in common, side by side, the right share first."""

    def written(value: Any) -> str:
        return "-" if value is None else f"{value:.4g}"

    common = [k for k in first if k in second and k not in ("step", "of", "seconds")]
    table = [("right share", *(f"{right_share(row):.1%}" for row in (first, second)))]
    return table + [(k, written(first[k]), written(second[k])) for k in common]


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Rows of cells as a table for the terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)
