"""Every algorithm with the same seeds, prompts and number of rollouts: trained, scored on the same problems, compared in one page.

    python -m scope_eval.study --config examples/cpu_tiny.yaml [--algorithms scope,grpo] [--seeds 1,2,3] [--steps 40] [key=value ...]

The same command continues a study that was stopped, and adds to one that was smaller. key=value go to every training run.
Exit code 0: done. 1: a run failed, the page says which. 2: what was asked for cannot work. 130: interrupted.
"""

import argparse
import contextlib
import io
import json
import math
import shlex
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scope_eval import study_report
from scope_eval.benchmarks import check, content_hash
from scope_eval.compare import differing
from scope_eval.results import Graded
from scope_eval.store import Store, StoreError
from scope_eval.study_numbers import STUDENT, Scored, numbers, refuse_other_work
from scope_openrlhf.data.problems import LABEL_COLUMN, read_jsonl
from scope_openrlhf.files.disk import whole_rows, write_whole
from scope_openrlhf.files.fingerprint import files_fingerprint
from scope_openrlhf.platform import cpu
from scope_openrlhf.run.train import WHOLE, open_run
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError, nearest

EVAL_SEED = 1
FIRST = ("reward", "delta_right", "delta_wrong", "gap_right", "gap_wrong")
"""What is kept of a run's first step, in which all have the same student: it says whether that one reads what it is shown."""


@dataclass(frozen=True)
class Study:
    config_file: str
    algorithms: list[str]
    seeds: list[int]
    steps: int
    problems: int
    samples: int
    runs: Path
    overrides: list[str]

    @cached_property
    def base(self) -> Config:
        return Config.load(self.config_file, self.overrides)

    def settings(self, algorithm: str, seed: int) -> list[str]:
        """Of one training run. It is scored by the study, and a checkpoint would only take time."""
        return [f"runs={self.runs}", f"name={algorithm}-{seed}", f"seed={seed}", f"steps={self.steps}", f"algorithm={algorithm}", "eval.path=",
                "openrlhf.ckpt.save_steps=-1", *self.overrides]  # fmt: skip

    def model(self, name: str) -> str:
        return self.base.student.path if name == STUDENT else str(self.runs / name / "model")

    @property
    def heldout(self) -> Path:
        return self.runs / f"heldout-{self.problems}.jsonl"

    def commands(self, name: str) -> dict[str, list[str]]:
        """What makes a model and what scores it; name is the student or <algorithm>-<seed>."""
        e, found = self.base.eval, {}
        if name != STUDENT:
            algorithm, _, seed = name.rpartition("-")
            found["train"] = [
                "scope_openrlhf.run.train",
                "--config",
                self.config_file,
                *self.settings(algorithm, int(seed)),
            ]
        found["eval"] = [
            "scope_eval.run", "run", "--model", self.model(name), "--benchmarks", str(self.heldout), "--samples", str(self.samples),
            "--seed", str(EVAL_SEED), "--temperature", str(e.temperature), "--top-p", str(e.top_p), "--top-k", str(e.top_k),
            "--max-tokens", str(e.max_tokens), "--instruction", e.instruction, "--out", str(self.runs / "eval" / name),
        ]  # fmt: skip
        return {stage: [sys.executable, "-m", *rest] for stage, rest in found.items()}

    def missing(self, name: str) -> list[str]:
        """Its stages that are not finished. Raises ConfigError if the folder holds a run of another config."""
        return [
            stage for stage in self.commands(name) if not (self.scored(name) if stage == "eval" else self.trained(name))
        ]

    def trained(self, name: str) -> bool:
        algorithm, _, seed = name.rpartition("-")
        with contextlib.redirect_stdout(io.StringIO()):  # it shows a finished run's summary
            done = open_run(Config.load(self.config_file, self.settings(algorithm, int(seed))))
        return done and (self.runs / name / "model" / WHOLE).exists()

    def scored(self, name: str) -> bool:
        """On these problems, with so many samples and this sampling, by the model as it is now."""
        file, model, e = self.runs / "eval" / name / "results.json", Path(self.model(name)), self.base.eval
        if not file.exists() or not self.heldout.exists():
            return False
        results = json.loads(file.read_text(encoding="utf-8"))
        found = results["benchmarks"].get(self.heldout.stem)
        wanted = {
            "temperature": e.temperature,
            "top_p": e.top_p,
            "top_k": e.top_k,
            "max_tokens": e.max_tokens,
            "seed": EVAL_SEED,
        }
        return (
            found is not None
            and (found["problems"], found["samples"]) == (self.problems, self.samples)
            and found["data"]["hash"] == content_hash(check(read_jsonl(self.heldout), str(self.heldout)))
            and all(found["settings"][k] == v for k, v in wanted.items())
            and (not model.is_dir() or results["identity"] == {"files": files_fingerprint(model)})
        )

    def log(self, name: str, stage: str) -> Path:
        return self.runs / "logs" / f"{name}.{stage}.log"


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        study = open_study(options)
        if not options.report_only:
            run_all(study)
        student, scored, work, failed = collect(study)
        found = numbers(student, scored, work, study_report.claimed_pairs())
        about = {"command": command_of(options), "scale": scale(study, work), "failed": failed, "knobs": knobs(study)}
        study_report.write(found | about, options.out)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (StoreError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it was", file=sys.stderr)
        return 130
    for name, why in failed.items():
        print(f"failed: {name}: {why}", file=sys.stderr)
    print(f"written: {options.out}/compare.md, compare.png, compare.json")
    return 1 if failed else 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scope_eval.study", description="Train and score all algorithms alike; compare them."
    )
    add = parser.add_argument
    add("--config", required=True, help="YAML file, see examples/; its eval section says how models are scored")
    add("--algorithms", default="all", help="all (default) or some, comma-separated")
    add("--seeds", default="1,2,3", help="of the training runs (default 1,2,3)")
    add("--steps", type=int, default=40, help="of each run (default 40)")
    add("--problems", type=int, default=100, help="held-out problems, in equal shares of every stratum (default 100)")
    add("--samples", type=int, default=32, help="of each problem (default 32)")
    add("--runs", type=Path, default=Path("runs/compare"), help="folder of the runs (default runs/compare)")
    add(
        "--out", type=Path, default=Path("docs"), help="folder for compare.md, compare.png, compare.json (default docs)"
    )
    add("--report-only", action="store_true", help="run nothing; write the page anew from what is finished")
    add("overrides", nargs="*", metavar="key=value", help="for every training run")
    return parser.parse_intermixed_args(argv)


def command_of(options: argparse.Namespace) -> str:
    flags = ("config", "algorithms", "seeds", "steps", "problems", "samples", "runs", "out")
    given = [text for flag in flags for text in (f"--{flag}", str(getattr(options, flag)))]
    return shlex.join([".venv/bin/python", "-m", "scope_eval.study", *given, *options.overrides])


def open_study(options: argparse.Namespace) -> Study:
    """Checked, with its held-out problems in their file. Raises ConfigError before anything starts."""
    from scope_openrlhf import algorithms  # torch comes with it

    known = algorithms.known()
    names = known if options.algorithms == "all" else list(dict.fromkeys(options.algorithms.split(",")))
    for name in names:
        if name not in known:
            raise ConfigError(f"--algorithms: there is no {name!r}; {nearest(name, known)}")
    try:
        seeds = list(dict.fromkeys(int(seed) for seed in options.seeds.split(",")))
    except ValueError:
        raise ConfigError(f"--seeds must be whole numbers with commas between, got {options.seeds!r}") from None
    if min(options.steps, options.problems, options.samples) < 1:
        raise ConfigError("--steps, --problems and --samples must be at least 1")
    own = ("runs", "name", "seed", "steps", "algorithm", "openrlhf.ckpt.save_steps", "eval.path", "eval.samples")
    for override in options.overrides:
        if (key := override.partition("=")[0]) in own or key.startswith("algorithm."):
            raise ConfigError(
                f"{key} is not for every run alike: use the study's own flags, and algorithms.NAME.knob=... for knobs"
            )
    study = Study(
        options.config, names, seeds, options.steps, options.problems, options.samples, options.runs, options.overrides
    )
    if not study.base.eval.path:
        raise ConfigError(f"{options.config} has no eval.path; the study scores its models on those problems")
    text = "".join(json.dumps(row) + "\n" for row in subset(read_jsonl(Path(study.base.eval.path)), study.problems))
    for algorithm in names:
        try:
            algorithms.load(**Config.load(options.config, study.settings(algorithm, 1)).algorithm)
        except (ValueError, TypeError) as error:
            raise ConfigError(str(error)) from None
        for seed in seeds:
            study.trained(f"{algorithm}-{seed}")  # or the folder is another's
    study.runs.mkdir(parents=True, exist_ok=True)
    if not study.heldout.exists() or study.heldout.read_text() != text:
        write_whole(study.heldout, text)
    return study


def subset(rows: list[dict], problems: int) -> list[dict]:
    """The first rows of every stratum in equal shares, which differ by one where the number does not divide. Raises ConfigError if there are too few."""
    strata: dict[str, list[dict]] = {}
    for row in rows:
        strata.setdefault(str(row.get("stratum") or "all"), []).append(row)
    share, more = divmod(problems, len(strata) or 1)
    wanted = {name: share + (i < more) for i, name in enumerate(strata)}
    for name, of in strata.items():
        if len(of) < wanted[name]:
            raise ConfigError(f"--problems {problems} takes {wanted[name]} problems of {name}, there are {len(of)}")
    return [row for name, of in strata.items() for row in of[: wanted[name]]]


def run_all(study: Study) -> None:
    """The student, then seed after seed every algorithm: a study that is cut has whole seeds first."""
    names = [STUDENT] + [f"{algorithm}-{seed}" for seed in study.seeds for algorithm in study.algorithms]
    began, taken = time.time(), []
    for number, name in enumerate(names, 1):
        start = time.time()
        said = run_one(study, name)
        if said == "done" and name != STUDENT:
            taken.append(time.time() - start)
        left = f", about {clock(statistics.mean(taken) * (len(names) - number))} left" if taken else ""
        print(f"[{number}/{len(names)}] {name}: {said}; {clock(time.time() - began)} gone{left}", flush=True)


def run_one(study: Study, name: str) -> str:
    """Do what is missing of it. Returns "done", "was done before", or why it failed."""
    missing = study.missing(name)
    for stage in missing:
        if execute(study.commands(name)[stage], study.log(name, stage)):
            return f"failed: {reason(study, name)}"
    return "done" if missing else "was done before"


def execute(command: list[str], log: Path) -> int:
    """Exit code of a process that writes to log. If this one is stopped, so is that, and waited for: it has engines to put away."""
    log.parent.mkdir(parents=True, exist_ok=True)
    # in a session of its own a Ctrl-C reaches it once, from here
    with (
        log.open("w") as file,
        subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True) as process,
    ):
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        file.write(f"exit code {code}\n")
    return code


def reason(study: Study, name: str) -> str:
    """Why it is not finished: what its last attempt said."""
    for stage in study.missing(name):
        lines = study.log(name, stage).read_text().splitlines() if study.log(name, stage).exists() else []
        said = [line for line in lines if line.startswith("error:")] or [
            line for line in lines[-1:] if line.startswith("exit code")
        ]
        return f"{stage}: {said[-1].removeprefix('error: ')[:300] if said else 'stopped on the way' if lines else 'not run'}"
    return ""


def clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def collect(study: Study) -> tuple[Scored, dict[str, dict[int, Scored]], dict[str, dict[int, dict]], dict[str, str]]:
    """The student, the models and the work of the finished runs by algorithm and seed, and why others are not.

    Raises ConfigError where two did not do the same work or were not scored alike, or where there is nothing to show.
    """
    if why := reason(study, STUDENT):
        raise ConfigError(
            f"the untrained student is not scored ({why}), so there is nothing to compare with; run the study without --report-only"
        )
    student, settings = score_of(study, STUDENT)
    scored: dict[str, dict[int, Scored]] = {}
    work: dict[str, dict[int, dict]] = {}
    failed = {}
    for algorithm, seed in [(a, s) for a in study.algorithms for s in study.seeds]:
        name = f"{algorithm}-{seed}"
        if why := reason(study, name):
            failed[name] = why
            continue
        work.setdefault(algorithm, {})[seed] = work_of(study.runs / name)
        found, of = score_of(study, name)
        scored.setdefault(algorithm, {})[seed] = found
        if other := differing(settings, of):
            raise ConfigError(f"{name} and the student were not scored alike: {other}")
    if not scored:
        raise ConfigError(f"no run in {study.runs} is finished: {failed}")
    refuse_other_work(work)
    return student, scored, work, failed


def score_of(study: Study, name: str) -> tuple[Scored, dict]:
    """And all that it was scored with."""
    store = Store(study.runs / "eval" / name / "samples.sqlite")
    try:
        graded = Graded(store, next(b for b in store.benchmarks() if b["name"] == study.heldout.stem))
        distinct = []
        for problem, right in zip(graded.problems, graded.correct, strict=True):
            texts = store.texts(graded.about["id"], problem["id"], len(right))
            distinct.append(float(len({text.strip() for text, r in zip(texts, right, strict=True) if r})))
        settings = graded.about["settings"] | {"data": graded.about["data"], "graded with": graded.about["graded_with"]}
        return Scored(graded.correct, distinct), settings
    finally:
        store.close()


def work_of(run: Path) -> dict[str, Any]:
    """What a run trained on and what it took. Raises ConfigError if its rows lack a number."""
    rows, summary = whole_rows(run / "metrics.jsonl"), json.loads((run / "summary.json").read_text())
    for key in ("rollouts", "teacher_tokens", "context_tokens"):
        if any(row.get(key) is None for row in rows):
            raise ConfigError(
                f"{run}/metrics.jsonl has rows without {key}; an older version trained it: choose another --runs"
            )
    return {
        "ids": [json.loads(row[LABEL_COLUMN])["id"] for row in whole_rows(run / "prompts.jsonl")],
        "rollouts": [int(row["rollouts"]) for row in rows], "seconds": sum(row["seconds"]["total"] for row in rows),
        "startup": summary["seconds"]["startup"], "first": {key: rows[0].get(key) for key in FIRST},
        **{key: int(sum(row[key] for row in rows)) for key in ("teacher_tokens", "context_tokens")},
    }  # fmt: skip


def knobs(study: Study) -> dict[str, dict]:
    """By algorithm, where the config sets any."""
    chosen = {name: Config.load(study.config_file, study.settings(name, 1)).algorithm for name in study.algorithms}
    return {name: rest for name, c in chosen.items() if (rest := {k: v for k, v in c.items() if k != "name"})}


def scale(study: Study, work: dict[str, dict[int, dict]]) -> dict[str, Any]:
    """At what size, on what data and on what machine."""
    e, one = study.base.eval, next(iter(next(iter(work.values())).values()))
    return {
        "steps": len(one["rollouts"]), "prompts": len(one["ids"]) // len(one["rollouts"]), "rollouts": one["rollouts"][0], "seeds": study.seeds,
        "problems": study.problems, "samples": study.samples, "train": study.base.data.path, "heldout": e.path,
        "params": {who: params_of(path) for who, path in (("student", study.base.student.path), ("teacher", study.base.teacher.path))},
        "sampling": {k: v for k, v in asdict(e).items() if k in ("temperature", "top_p", "top_k", "max_tokens")},
        "device": "a CPU in float32" if cpu.active() else "GPUs",
    }  # fmt: skip


def params_of(model: str) -> int | None:
    """By the headers of its .safetensors files; None for one that is not in a folder here."""
    total = 0
    for file in Path(model).glob("*.safetensors") if model else ():
        with file.open("rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        total += sum(math.prod(tensor["shape"]) for key, tensor in header.items() if key != "__metadata__")
    return total or None


if __name__ == "__main__":
    sys.exit(main())
