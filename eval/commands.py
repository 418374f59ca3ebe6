"""What the sub-commands of scope-eval do: one model, a pair, a folder graded anew, two folders compared."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any, TextIO

from scope_eval import compare_page, report, results
from scope_eval.compare import compare, table
from scope_eval.compare_page import Side
from scope_eval.evaluate import STORE, evaluate, finished, versions, write_results
from scope_eval.grade import grade_samples
from scope_eval.results import Graded
from scope_eval.settings import EvalSettings, PairSettings
from scope_eval.store import Store
from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.settings.errors import ConfigError


def run(model: str, out: Path, settings: EvalSettings) -> None:
    """Sample and grade one model and show its results. What is already in out is not sampled again."""
    with quiet(out / "eval.log") as (terminal, err):
        evaluate(model, out, settings, err, terminal)
        show(out, terminal)


def pair(settings: PairSettings) -> None:
    """Evaluate both models, each in its folder, and write pair.json: what training's summary needs of the two."""
    out = settings.out
    models = {"before": settings.before, "after": settings.after}
    with quiet(out / "eval.log") as (terminal, err):
        for name, model in models.items():
            evaluate(model, out / name, settings.asked, err)
        comparison = compare_and_write({name: out / name for name in models}, out)
        for name in models:
            print(f"{name}: {out / name}/report.html", file=terminal)
        print(f"side by side: {out}/compare.html", file=terminal)
        first = next(iter(comparison["benchmarks"].values()))
        (out / "pair.json").write_text(json.dumps(results.strict(first), indent=2) + "\n")
        print(report.pair_table(comparison), file=terminal)


def regrade(folder: Path) -> None:
    """Grade the samples that a folder's results are about anew. The model is not needed, and nothing is sampled."""
    store = open_store(folder)
    try:
        for benchmark in finished(store):
            problems, samples = benchmark["problems"], benchmark["samples"]
            grade_samples(store, benchmark, problems, samples, sys.stderr)
            store.finish(benchmark["id"], problems, samples, versions())
        write_results(store, folder)
    finally:
        store.close()
    show(folder, sys.stdout)


def compare_folders(before: Path, after: Path, out: Path | None) -> None:
    """Show two folders of `run` side by side, paired by problem; write page, table and numbers if out is given."""
    comparison = compare_and_write({"A": before, "B": after}, out)
    print(table(comparison, (str(before), str(after))))
    if out:
        print(f"written: {out}/compare.html, compare.md, compare.json")


def compare_and_write(folders: dict[str, Path], out: Path | None) -> dict[str, Any]:
    """The comparison of two folders, also as compare.html, compare.md and compare.json in out, if it is given.

    folders: what the page calls each of the two -> its folder.
    """
    with contextlib.ExitStack() as stack:
        sides = []
        for name, folder in folders.items():
            store = stack.enter_context(contextlib.closing(open_store(folder)))
            sides.append(Side(name, folder, store, {b["name"]: Graded(store, b) for b in finished(store)}))
        before, after = sides
        comparison = compare(before.graded, after.graded)
        if out:
            out.mkdir(parents=True, exist_ok=True)
            (out / "compare.json").write_text(json.dumps(results.strict(comparison), indent=2) + "\n")
            names = (str(before.folder), str(after.folder))
            (out / "compare.md").write_text(table(comparison, names) + "\n")
            compare_page.write(comparison, (before, after), out / "compare.html")
    return comparison


def open_store(folder: Path) -> Store:
    """The samples of a folder. Raises ConfigError if it holds none."""
    if not (folder / STORE).is_file():
        raise ConfigError(f"{folder} holds no {STORE}; it is what scope-eval run --out {folder} makes")
    return Store(folder / STORE)


def show(folder: Path, terminal: TextIO) -> None:
    """Print a folder's results as a table, with their warnings."""
    summary = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    print(report.terminal_table(summary), file=terminal)
    for warning in summary["warnings"]:
        print(f"warning: {warning}", file=terminal)
    print(f"written: {folder}/report.html, report.md, results.json", file=terminal, flush=True)
