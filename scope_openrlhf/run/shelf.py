"""Commands about runs that are there: which there are, what two differ in, their pages, models, old checkpoints."""

import argparse
import sys
from pathlib import Path

from scope_openrlhf.run.clean import clean
from scope_openrlhf.run.listing import compare_runs, list_runs, runs_in
from scope_openrlhf.run.page import write_pages
from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.settings.command_line import CommandLine
from scope_openrlhf.settings.config import origin_of

RUN = "a run's folder, as runs/NAME"


def show_runs(options: argparse.Namespace) -> None:
    """List the runs of a folder."""
    list_runs(options.folder, sys.stdout)


def show_differences(options: argparse.Namespace) -> None:
    """Show what two runs differ in."""
    compare_runs(options.first, options.second, sys.stdout)


def clean_runs(options: argparse.Namespace) -> None:
    """List old checkpoints, and delete them where that is asked for."""
    clean(options.run or runs_in(Path("runs")), options.keep, options.delete, sys.stdout)


def export_checkpoint(options: argparse.Namespace) -> None:
    """Write the model of a checkpoint."""
    run, step = origin_of(options.checkpoint, "CHECKPOINT")
    with quiet(run / "logs" / "export.log") as (out, _):
        from scope_openrlhf.run.export import export  # torch and transformers: seconds, once the terminal is quiet

        export(run, step, options.out or run / "exports" / f"step{step}", out)


def write_page(options: argparse.Namespace) -> None:
    """Write the page of runs."""
    print(f"written: {write_pages(options.run, options.out)}")


COMMANDS = {
    "runs": show_runs,
    "diff": show_differences,
    "page": write_page,
    "export": export_checkpoint,
    "clean": clean_runs,
}


def add_to(line: CommandLine) -> None:
    """Add these commands and their flags."""
    runs = line.add("runs", "List runs: how far they are, what they reached.", "scope-train runs", "operations.md")
    what = "folder of the runs (default runs)"
    runs.add_argument("folder", nargs="?", type=Path, default=Path("runs"), metavar="DIR", help=what)
    diff = line.add(
        "diff",
        "Show what two runs differ in: keys of their configs, numbers of their last common step.",
        "scope-train diff runs/a runs/b",
        "operations.md",
    )
    diff.add_argument("first", type=Path, metavar="A", help=RUN)
    diff.add_argument("second", type=Path, metavar="B", help=RUN)
    page = line.add(
        "page",
        "Write a run's page anew, or one of several runs over each other.",
        "scope-train page runs/a runs/b --out both.html",
        "operations.md",
    )
    page.add_argument("run", nargs="+", type=Path, metavar="RUN", help=RUN)
    what = "the page (default report.html in the run's folder; overlay.html in the first one's for several)"
    page.add_argument("--out", type=Path, metavar="FILE.html", help=what)
    export = line.add(
        "export",
        "Write the model of a checkpoint in Hugging Face form, also while the run goes on.",
        "scope-train export runs/a@step20",
        "operations.md",
    )
    export.add_argument("checkpoint", metavar="CHECKPOINT", help="a run and one of its checkpoints, as runs/a@step20")
    what = "folder of the model (default exports/step20 in the run's)"
    export.add_argument("--out", type=Path, metavar="DIR", help=what)
    old = line.add(
        "clean",
        "List the checkpoints of runs but for the newest, and delete them with --delete.",
        "scope-train clean runs/a runs/b --delete",
        "operations.md",
    )
    old.add_argument("run", nargs="*", type=Path, metavar="RUN", help=f"{RUN} (default: all of runs/)")
    what = "checkpoints that stay of each run (default 1; 0 only for runs that are done)"
    old.add_argument("--keep", type=int, default=1, metavar="N", help=what)
    old.add_argument("--delete", action="store_true", help="do it; without this flag nothing is deleted")
