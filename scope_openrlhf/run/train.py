"""A run from its config to its summary: plan -> Ray, teachers, OpenRLHF's training -> evaluation -> summary."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

from ray.exceptions import RayError

from scope_openrlhf.files import checkpoint
from scope_openrlhf.files.disk import whole_rows, write_whole
from scope_openrlhf.files.stage import Stage
from scope_openrlhf.host.gpus import student_gpus
from scope_openrlhf.host.launch import launch
from scope_openrlhf.platform import child
from scope_openrlhf.platform.cluster import last_line
from scope_openrlhf.run.errors import LostError, RunError
from scope_openrlhf.run.folder import WHOLE
from scope_openrlhf.run.memory import require_memory
from scope_openrlhf.run.page import RunPage, note_fault
from scope_openrlhf.run.plan import Plan
from scope_openrlhf.run.session import deadline, lost, ray_session
from scope_openrlhf.run.summary import Progress, draw_summary, make_summary, summary_table
from scope_openrlhf.run.teachers import require_served, teacher_groups
from scope_openrlhf.run.tracking import tracked
from scope_openrlhf.settings.config import Config
from scope_openrlhf.teacher.contract import TeacherError


def train(config: Config, plan: Plan, out: TextIO, began: float) -> None:
    """Run or resume the run of this config, whose plan that is. Raises RunError, or ConfigError for a tracker.

    out: the terminal. began: when the command was given, in seconds since the epoch.
    """
    run = config.run_dir
    with tracked(run, config.track.to, config.track.project, out):
        _train_and_evaluate(config, plan, out, began)


def _train_and_evaluate(config: Config, plan: Plan, out: TextIO, began: float) -> None:
    """As `train`, whose trackers follow it."""
    run = config.run_dir
    logs = f"{run}/logs/driver.log (OpenRLHF), {run}/logs/ray (Ray, vLLM and DeepSpeed workers)"
    print("\n".join(f"  {line}" for line in (f"logs: {logs}", *plan.notes)), file=out, flush=True)
    seconds = {"setup": time.time() - began, "startup": 0.0, "train": 0.0}
    clock = time.time()
    done = len(whole_rows(run / "metrics.jsonl"))
    if done < plan.steps or not (run / "model" / WHOLE).exists():
        require_memory(plan)
        with Progress(run / "metrics.jsonl", out) as progress:
            train_to_the_end(plan, out)
        seconds["train"] = progress.seconds
        seconds["startup"] = time.time() - clock - progress.seconds
    rows = whole_rows(run / "metrics.jsonl")
    clock = time.time()
    evaluation = evaluate(config, run, out)
    seconds["eval"] = time.time() - clock
    summary = make_summary(config, rows, seconds, evaluation)
    draw_summary(rows, evaluation, run / "summary.png")
    write_whole(run / "summary.json", json.dumps(summary, indent=2) + "\n")
    RunPage(run).write()
    written = f"written: {run}/report.html, {run}/summary.json, {run}/summary.png"
    print(f"\n{summary_table(summary)}\n{written}", file=out, flush=True)


def train_to_the_end(plan: Plan, out: TextIO) -> None:
    """Train, and again from the last whole checkpoint when Ray has lost a part of the run.

    Raises RunError when that does not help.
    """
    require_served(plan.run.teachers)
    run_dir, ray = plan.run.run_dir, plan.config.ray
    checkpoints, stage = run_dir / "checkpoints", Stage(run_dir)
    failures, furthest, again = 0, 0, False
    while True:
        reached = _recover(checkpoints, out)
        if (step := checkpoint.step_of(reached)) > furthest:  # this many steps are safe: a new count begins
            failures, furthest = 0, step
        if again:
            print(f"  starting again from {reached or 'step 0'}", file=out, flush=True)
        elif step:
            print(f"  goes on after step {step}", file=out, flush=True)
        stage.begin("starting Ray")
        try:
            with deadline(stage, ray.hang_seconds), ray_session(plan, out, again):
                stage("placing and starting student, rollout engines and teacher")
                train_once(plan)
                (run_dir / "model" / WHOLE).touch()
                return
        except RunError as error:
            note_fault(run_dir, str(error))
            failures, again = failures + 1, True
            if not isinstance(error, LostError) or failures > ray.restarts:
                raise
            print(f"  {error}", file=out, flush=True)


def _recover(checkpoints: Path, out: TextIO) -> str:
    """The name of the newest whole checkpoint, empty for none, once the folder is in order. Raises RunError."""
    try:
        for line in checkpoint.recover(checkpoints):
            print(f"  {line}", file=out, flush=True)
            note_fault(checkpoints.parent, line)
    except OSError as error:
        raise RunError(
            f"{checkpoints} cannot be put in order ({error}); free the disk or mend its rights, then run the same again"
        ) from None
    return checkpoint.latest(checkpoints)


def train_once(plan: Plan) -> None:
    """Start teachers and OpenRLHF's training, and wait for its end. Raises RunError.

    They start beside each other where each has GPUs of its own.
    """
    try:
        colocated = any(t.placement == "colocate" for t in plan.run.teachers.values())
        shared = student_gpus(plan.args) if colocated else None
        with teacher_groups(plan, shared):
            launch(plan.args, shared)
    except (RayError, TeacherError) as error:
        with contextlib.suppress(OSError):  # of a full disk, which the error may be about
            print(error, file=sys.stderr, flush=True)  # whole, into driver.log
        raise (LostError if lost(error) else RunError)(
            f"training stopped: {last_line(error)}\n  see {plan.run.run_dir}/logs/driver.log; the same command resumes "
            "from the last checkpoint"
        ) from None


def evaluate(config: Config, run: Path, out: TextIO) -> dict | None:
    """Score the student before and after on the held-out problems with scope-eval, in a process of its own."""
    if not config.eval.path:
        return None
    samples = f"{config.eval.samples} samples of each problem in {config.eval.path}"
    print(f"evaluating before and after: {samples}", file=out, flush=True)
    command = [sys.executable, "-m", "scope_eval", "pair", "--run", str(run)]
    if code := child.finish(command, stdout=subprocess.DEVNULL, stderr=out):
        raise RunError(
            f"evaluation failed with exit code {code}; see {run}/eval/eval.log, then run the same command again"
        )
    return json.loads((run / "eval" / "pair.json").read_text())
