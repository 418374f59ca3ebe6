"""Commands about runs that are there: which there are, what two differ in, their pages, models, old checkpoints."""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from scope_openrlhf.run.clean import clean
from scope_openrlhf.run.listing import compare_runs, config_of, list_runs, runs_in
from scope_openrlhf.run.page import write_pages
from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.run.trackers import TRACKERS, require_installed
from scope_openrlhf.run.tracking import tracked
from scope_openrlhf.settings.command_line import CommandLine
from scope_openrlhf.settings.config import origin_of
from scope_openrlhf.settings.errors import ConfigError

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
    config_of(run)  # or there is no such run, in whose folder nothing is to be written
    with quiet(run / "logs" / "export.log") as (out, _):
        from scope_openrlhf.run.export import export  # torch and transformers: seconds, once the terminal is quiet

        export(run, step, options.out or run / "exports" / f"step{step}", out)


def push_model(options: argparse.Namespace) -> None:
    """Upload a model with its card."""
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "log") as (out, err):
        from scope_openrlhf.run.push import push  # torch: seconds, once the terminal is quiet

        with contextlib.redirect_stderr(err):  # where the hub's library shows how far it is
            push(options.source, options.repo, options.private, options.endpoint, options.dry_run, out)


def send_to_trackers(options: argparse.Namespace) -> None:
    """Send trackers what they lack of runs."""
    for run in options.run:
        track = config_of(run)["track"]
        names = options.to or track["to"]
        if not names:
            raise ConfigError(f"{run} has no tracker; set track.to in its config, or name some with --to")
        require_installed(names)
        with tracked(run, names, track["project"], sys.stdout):
            pass  # they end at once, and send all that there is before that


def write_page(options: argparse.Namespace) -> None:
    """Write the page of runs."""
    print(f"written: {write_pages(options.run, options.out)}")


COMMANDS = {
    "runs": show_runs,
    "diff": show_differences,
    "page": write_page,
    "export": export_checkpoint,
    "clean": clean_runs,
    "track": send_to_trackers,
    "push": push_model,
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
    _add_sending(line)


def _add_sending(line: CommandLine) -> None:
    """The commands that send something of a run elsewhere."""
    track = line.add(
        "track",
        "Send runs to trackers, or what these lack of them.",
        "scope-train track runs/a --to mlflow trackio",
        "operations.md",
    )
    track.add_argument("run", nargs="+", type=Path, metavar="RUN", help=RUN)
    what = f"trackers, of {', '.join(TRACKERS)} (default: track.to of the run's config)"
    track.add_argument("--to", nargs="+", choices=TRACKERS, metavar="NAME", help=what)
    push = line.add(
        "push",
        "Upload a run's model to a hub, with a card of method, config and scores.",
        "scope-train push runs/a me/my-model --private --dry-run",
        "operations.md",
    )
    push.add_argument("source", metavar="RUN", help=f"{RUN}; or one of its checkpoints, as runs/NAME@step20")
    push.add_argument("repo", metavar="REPO_ID", help="OWNER/NAME on the hub; it is created if it is not there")
    push.add_argument("--private", action="store_true", help="a new repository can be seen by its owner alone")
    push.add_argument("--endpoint", metavar="URL", help="the hub (default HF_ENDPOINT, or https://huggingface.co)")
    push.add_argument("--dry-run", action="store_true", help="show files and card; nothing is sent or asked")
