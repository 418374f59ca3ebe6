"""scope-train: config -> checks -> Ray, teacher, OpenRLHF's training -> evaluation -> summary.

    scope-train --config examples/cpu_tiny.yaml [key=value ...]
    scope-train --config examples/scope_qwen3_1.7b.yaml --dry-run
    scope-train --config examples/scope_qwen3_1.7b.yaml --traces solved.jsonl

Exit code 0: done, or done before. 1: the run failed. 2: the config cannot work. 130: interrupted.
"""

import argparse
import contextlib
import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import yaml

from scope_openrlhf import __version__
from scope_openrlhf.data import problems as data
from scope_openrlhf.files import checkpoint, disk
from scope_openrlhf.files.stage import Stage
from scope_openrlhf.models import loading
from scope_openrlhf.run import summary as summary_page
from scope_openrlhf.run.plan import Plan, make_plan
from scope_openrlhf.run.session import LostError, RunError, alone, cause_of, deadline, lost, ray_session
from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.settings.config import Config, section_of
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.parse import flatten

if TYPE_CHECKING:  # it imports torch, which takes seconds and prints; a wrong key is told before that
    from ray.util.placement_group import PlacementGroup


WHOLE = ".whole"
"""In the folder of the trained model, once all its files are written."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scope-train", description="Train a student by SCOPE on OpenRLHF and Ray.")
    parser.add_argument("--config", required=True, help="YAML file, see examples/")
    parser.add_argument("--fresh", action="store_true", help="delete the run of this name first")
    parser.add_argument("--probe", action="store_true", help="start the teacher alone, check its replicas, and stop")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check the config, say who sits on which GPU, what memory and work it takes, and stop",
    )
    parser.add_argument(
        "--traces",
        metavar="OUT.jsonl",
        help="have the teacher solve the problems without a worked solution, write all, and stop",
    )
    parser.add_argument(
        "--tries", type=int, default=4, metavar="N", help="solutions of each problem at most, for --traces (default 4)"
    )
    parser.add_argument(
        "--gpu-memory", type=float, default=80.0, metavar="GIB", help="of each GPU, for --dry-run (default 80)"
    )
    parser.add_argument("--gpus-per-node", type=int, default=8, metavar="N", help="for --dry-run (default 8)")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="for instance algorithm.tau=0.5 openrlhf.actor.adam.lr=1e-4"
    )
    options = parser.parse_intermixed_args(argv)  # overrides may stand before and after flags
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        config = Config.load(options.config, options.overrides)
        if options.dry_run:
            return dry_run(config, options.gpu_memory, options.gpus_per_node)
        if options.traces:
            return traces(config, Path(options.traces), options.tries)
        return probe(config) if options.probe else train(config, options.fresh)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed; run make setup (or, on a GPU machine, pip install 'scope-openrlhf[gpu]')",
            file=sys.stderr,
        )
        return 2
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from the last checkpoint", file=sys.stderr)
        return 130


def train(config: Config, fresh: bool = False) -> int:
    """Run or resume the run of this config. Raises ConfigError before any engine starts if it cannot work."""
    clock = time.time()
    run = config.run_dir
    if fresh and (run / "config.yaml").exists():  # a folder that is no run of ours is never deleted
        shutil.rmtree(run)
    if open_run(config):
        return 0
    print(f"scope-train {config.name}: {config.algorithm['name']} -> {run}/", flush=True)
    with quiet(run / "logs" / "driver.log") as (out, _), alone(run):
        plan = make_plan(config)
        print(
            f"  logs: {run}/logs/driver.log (OpenRLHF), {run}/logs/ray (Ray, vLLM and DeepSpeed workers)",
            file=out,
            flush=True,
        )
        print("\n".join(f"  {note}" for note in plan.notes), file=out, flush=True)
        seconds = {"setup": time.time() - clock, "startup": 0.0, "train": 0.0}
        clock = time.time()
        done = len(disk.whole_rows(run / "metrics.jsonl"))
        if done < plan.steps or not (run / "model" / WHOLE).exists():
            with summary_page.Progress(run / "metrics.jsonl", out) as progress:
                train_to_the_end(plan, out)
            seconds["train"] = progress.seconds
            seconds["startup"] = time.time() - clock - progress.seconds
        rows = disk.whole_rows(run / "metrics.jsonl")
        clock = time.time()
        evaluation = evaluate(config, run, out)
        seconds["eval"] = time.time() - clock
        summary = make_summary(config, rows, seconds, evaluation)
        summary_page.draw_summary(rows, evaluation, run / "summary.png")
        checkpoint.write_whole(run / "summary.json", json.dumps(summary, indent=2) + "\n")
        print(
            f"\n{summary_page.summary_table(summary)}\nwritten: {run}/summary.json, {run}/summary.png",
            file=out,
            flush=True,
        )
    return 0


def probe(config: Config) -> int:
    """Start the teacher of this config without anything else and check it. Exit code 1 if it cannot be trusted."""
    with quiet(config.run_dir / "logs" / "driver.log") as (out, _):
        plan = make_plan(config)
        if not plan.algorithm.uses_teacher:
            raise ConfigError(f"algorithm {config.algorithm['name']} has no teacher to probe")
        if plan.config.teacher.replay:
            raise ConfigError("teacher.replay starts no teacher, so there is none to probe")
        from ray.exceptions import RayError

        from scope_openrlhf.host import flags
        from scope_openrlhf.teacher.client import TeacherError
        from scope_openrlhf.teacher.probe import longest_request, probe_run

        print(f"scope-train --probe: {plan.notes[0]}", file=out, flush=True)
        teachers = plan.config.all_teachers
        with (
            ray_session(dataclasses.replace(plan, gpus=flags.teacher_gpus(teachers.values())), out),
            teacher_groups(plan),
        ):
            for name, teacher in teachers.items():
                try:
                    longest = longest_request(plan.algorithm, teacher, plan.args.data.max_len)
                    lines, _ = probe_run(
                        name, teacher, plan.config.student.path, plan.config.run_dir / "prompts.jsonl", longest
                    )
                except (TeacherError, RayError) as error:
                    print(error, file=sys.stderr, flush=True)  # whole, into driver.log
                    raise RunError(f"{cause_of(error)}\n  see {config.run_dir}/logs") from None
                print("\n".join([*lines, f"the teacher {name}".rstrip() + " can be trusted"]), file=out, flush=True)
    return 0


def traces(config: Config, file: Path, tries: int) -> int:
    """Have the teacher solve the problems that come without a solution, and write all rows to file. Raises ConfigError, RunError."""
    with (
        tempfile.TemporaryDirectory() as folder,
        quiet(config.run_dir / "logs" / "driver.log") as (out, _),
        alone(config.run_dir),
    ):
        # opd, whatever the run's own algorithm: it has a teacher; and elsewhere, because a run of this name is not begun by it
        (Path(folder) / config.name).mkdir()
        plan = make_plan(dataclasses.replace(config, algorithm={"name": "opd"}, runs=folder))
        if plan.config.teacher.replay:
            raise ConfigError("teacher.replay starts no teacher, so there is none to write traces")
        if tries < 1:
            raise ConfigError(f"--tries must be at least 1, got {tries}")
        from ray.exceptions import RayError

        from scope_openrlhf.host import flags
        from scope_openrlhf.run.traces import Traces
        from scope_openrlhf.teacher.client import TeacherError
        from scope_openrlhf.teacher.probe import probe_run

        found = Traces(file, plan, tries)
        if missing := found.missing():
            asked = f"{len(missing)} problems, the teacher at temperature {plan.config.teacher.temperature:g}"
            print(f"scope-train --traces: {asked}", file=out, flush=True)
            teachers, prompts = plan.config.all_teachers, plan.config.run_dir / "prompts.jsonl"
            logs = dataclasses.replace(plan.config, runs=config.runs)  # Ray's are linked into the run's folder
            session = dataclasses.replace(plan, config=logs, gpus=flags.teacher_gpus(teachers.values()))
            try:
                with ray_session(session, out), teacher_groups(plan):
                    for name, teacher in teachers.items():
                        probe_run(name, teacher, plan.config.student.path, prompts, plan.args.data.max_len)
                    found.ask(out)
            except (TeacherError, RayError) as error:
                print(error, file=sys.stderr, flush=True)  # whole, into driver.log
                raise RunError(
                    f"{cause_of(error)}\n  see {config.run_dir}/logs; the same command goes on where it was"
                ) from None
        print(found.write(), file=out, flush=True)
    return 0


def dry_run(config: Config, gpu_gib: float, gpus_per_node: int) -> int:
    """Print what the run would ask for. Raises ConfigError if it cannot work or cannot fit. Nothing is started and nothing stays behind."""
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "log") as (out, _):
        plan = make_plan(config, dry=True)
        from scope_openrlhf.models.shape import shape_of
        from scope_openrlhf.run.dry_run import report as describe

        uses = plan.algorithm.uses_teacher
        paths = {"student": ("student.path", plan.config.student.path, "")}
        paths |= {
            name: (f"{section_of(name)}.path", t.path, t.revision)
            for name, t in plan.config.all_teachers.items()
            if uses and t.path
        }
        trusted = {"student.path": config.student.trust_remote_code}
        shapes = {
            who: shape_of(
                loading.check_model(path, key, revision, known=True, trust_remote_code=trusted.get(key, False))
            )
            for who, (key, path, revision) in paths.items()
        }
        rows = len(data.load_rows(config.data))
        lines, problems = describe(plan.config, plan.args, shapes, rows, plan.steps, uses, gpu_gib, gpus_per_node)
        print(f"dry run of {config.name}: {config.algorithm['name']}, {plan.gpus} GPUs", file=out)
        print("\n".join([*lines, "notes", *(f"  {note}" for note in plan.notes)]), file=out, flush=True)
        if problems:
            raise ConfigError("it does not fit: " + "; ".join(problems))
    return 0


def open_run(config: Config) -> bool:
    """True if the run of this config is already done. Raises ConfigError if the folder holds steps of another config."""
    run = config.run_dir
    stored = run / "config.yaml"
    if not stored.exists():
        strangers = [p.name for p in run.iterdir() if p.name not in ("logs", "prompts.jsonl")] if run.exists() else []
        if strangers:
            raise ConfigError(
                f"{run} exists and is no run of ours (it holds {strangers[0]}); choose another name=... or runs=..."
            )
        return False
    then = yaml.safe_load(stored.read_text())
    with contextlib.suppress(ConfigError):  # what the config did not have yet when the run began is at its default
        then = Config.from_dict(then).to_dict()
    a, b = (flatten(json.loads(json.dumps(c))) for c in (then, config.to_dict()))
    # where a run computes does not change what it computes, and the knobs of its algorithm stand under `algorithm`
    keys = sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k) and not k.startswith(("ray.", "algorithms.")))
    if keys and disk.whole_rows(run / "metrics.jsonl"):
        raise ConfigError(
            f"{run} belongs to another config; it differs in {', '.join(keys[:5])}: choose another name=..., or --fresh to delete it first"
        )
    if not keys and (run / "summary.json").exists():
        print(summary_page.summary_table(json.loads((run / "summary.json").read_text())))
        print(f"{run} is done. Train again under another name=..., or --fresh to delete it and start afresh.")
        return True
    return False


def train_to_the_end(plan: Plan, out: TextIO) -> None:
    """Train, and again from the last whole checkpoint when Ray has lost a part of the run. Raises RunError when that does not help."""
    checkpoints, stage = plan.config.run_dir / "checkpoints", Stage(plan.config.run_dir)
    failures, furthest, again = 0, 0, False
    while True:
        try:
            for line in checkpoint.recover(checkpoints):
                print(f"  {line}", file=out, flush=True)
        except OSError as error:
            raise RunError(
                f"{checkpoints} cannot be put in order ({error}); free the disk or mend its rights, then run the same again"
            ) from None
        reached = checkpoint.latest(checkpoints)
        if (step := checkpoint.step_of(reached)) > furthest:  # this many steps are safe: a new count begins
            failures, furthest = 0, step
        if again:
            print(f"  starting again from {reached or 'step 0'}", file=out, flush=True)
        stage.begin("starting Ray")
        try:
            with deadline(stage, plan.config.ray.hang_seconds), ray_session(plan, out, again):
                stage("placing and starting student, rollout engines and teacher")
                launch(plan)
                (plan.config.run_dir / "model" / WHOLE).touch()
                return
        except LostError as error:
            failures, again = failures + 1, True
            if failures > plan.config.ray.restarts:
                raise
            print(f"  {error}", file=out, flush=True)


@contextlib.contextmanager
def teacher_groups(plan: Plan, shared: "PlacementGroup | None" = None) -> Iterator[None]:
    """A Ray group of engines for each teacher that the algorithm has and nobody else serves. shared: the student's GPUs, for colocated ones."""
    from scope_openrlhf.teacher.group import TeacherGroup

    colocated = 0
    with contextlib.ExitStack() as groups:
        for name, teacher in plan.config.all_teachers.items():
            if plan.algorithm.uses_teacher and teacher.started_here:
                # one token more than the longest rollout: vLLM wants room to generate one
                length = teacher.max_model_len or plan.args.data.max_len + 1
                groups.callback(
                    TeacherGroup(teacher, length, teacher.temperature, plan.config.seed, name, shared, colocated).close
                )
                colocated += teacher.replicas if teacher.placement == "colocate" else 0
        yield


def launch(plan: Plan) -> None:
    """Start the teacher group and OpenRLHF's training beside each other, and wait for the end of training."""
    from ray.exceptions import RayError

    from scope_openrlhf.host import flags

    colocated = plan.algorithm.uses_teacher and any(
        t.placement == "colocate" for t in plan.config.all_teachers.values()
    )
    try:
        shared = flags.student_gpus(plan.args) if colocated else None
        with teacher_groups(plan, shared):
            flags.launch(plan.args, shared)
    except RayError as error:
        print(error, file=sys.stderr, flush=True)  # whole, into driver.log
        raise (LostError if lost(error) else RunError)(
            f"training stopped: {cause_of(error)}\n  see {plan.config.run_dir}/logs/driver.log; the same command resumes from the last checkpoint"
        ) from None


def evaluate(config: Config, run: Path, out: TextIO) -> dict | None:
    """Score the student before and after on the held-out problems with scope-eval, in a process of its own."""
    if not config.eval.path:
        return None
    print(
        f"evaluating before and after: {config.eval.samples} samples of each problem in {config.eval.path}",
        file=out,
        flush=True,
    )
    command = [sys.executable, "-m", "scope_eval.run", "pair", "--run", str(run)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=out)
    if done.returncode:
        raise RunError(
            f"evaluation failed with exit code {done.returncode}; see {run}/eval/eval.log, then run the same command again"
        )
    return json.loads((run / "eval" / "pair.json").read_text())


def make_summary(config: Config, rows: list[dict], seconds: dict[str, float], evaluation: dict | None) -> dict:
    def total(name: str) -> int:
        return int(sum(r.get(name) or 0 for r in rows))

    return {
        "algorithm": config.algorithm["name"],
        "steps": len(rows),
        "seconds": {k: round(seconds[k], 1) for k in ("setup", "startup", "train", "eval")},
        "eval": {k: evaluation[k] for k in ("n", "k", "before", "after", "difference")} if evaluation else None,
        "rollouts": {k: total(k) for k in ("right", "wrong", "truncated")},
        "teacher": {
            "scored": total("teacher_scored"),
            "skipped": total("teacher_skipped"),
            "seconds": round(sum(r["seconds"].get("teacher", 0.0) for r in rows), 1),
        },
        "model": str(config.run_dir / "model"),
    }


if __name__ == "__main__":
    sys.exit(main())
