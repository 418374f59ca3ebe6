"""The two stages of each model of a study, training and evaluation: their commands, and whether they are finished.

A model's name is `student`, the untrained one, or <algorithm>-<seed>.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

from scope_eval.benchmarks import check, content_hash
from scope_eval.study.settings import STUDENT, StudySettings
from scope_openrlhf.data.files import read_file
from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.files.fingerprint import files_fingerprint
from scope_openrlhf.run.folder import WHOLE, open_run
from scope_openrlhf.settings.errors import ConfigError

EVAL_SEED = 1
"""Seed of the samples, the same for every model."""


def model_of(study: StudySettings, name: str) -> str:
    """Folder or hub id of a model."""
    return study.base.student.path if name == STUDENT else str(study.runs / name / "model")


def commands(study: StudySettings, name: str) -> dict[str, list[str]]:
    """{stage: command} of a model, in their order."""
    found: dict[str, list[str]] = {}
    if name != STUDENT:
        algorithm, _, seed = name.rpartition("-")
        overrides = study.of_run(algorithm, int(seed))
        found["train"] = ["scope_openrlhf.run", "run", "--config", study.config, *overrides]
    asked, student = study.base.eval, study.base.student
    flags = {
        "--model": model_of(study, name),
        "--benchmarks": study.heldout,
        "--samples": study.samples,
        "--seed": EVAL_SEED,
        "--temperature": asked.temperature,
        "--top-p": asked.top_p,
        "--top-k": asked.top_k,
        "--max-tokens": asked.max_tokens,
        "--instruction": asked.instruction,
        "--system": study.base.data.system,
        "--template-args": json.dumps(student.template_args),
        "--template-date": student.template_date,
        "--out": study.runs / "eval" / name,
    }
    found["eval"] = ["scope_eval", "run", *(str(text) for flag in flags.items() for text in flag)]
    return {stage: [sys.executable, "-m", *rest] for stage, rest in found.items()}


def log_of(study: StudySettings, name: str, stage: str) -> Path:
    """File of what a stage's process says."""
    return study.runs / "logs" / f"{name}.{stage}.log"


def missing(study: StudySettings, name: str) -> list[str]:
    """Stages of a model that are not finished. Raises ConfigError if its folder holds a run of another config."""
    done = {"train": trained, "eval": evaluated}
    return [stage for stage in commands(study, name) if not done[stage](study, name)]


def trained(study: StudySettings, name: str) -> bool:
    """Whether a training run is finished.

    Raises ConfigError if its folder holds a run of another config, or one of another length, which cannot go on.
    """
    run = study.runs / name
    with contextlib.redirect_stdout(io.StringIO()):  # it shows a finished run's summary
        done = open_run(study.config_of(name))
    whole = (run / "model" / WHOLE).exists()
    if whole and (steps := len(whole_rows(run / "metrics.jsonl"))) != study.steps:
        raise ConfigError(
            f"--steps {study.steps}: {run} has done {steps}, and a study keeps no checkpoint to go on from; choose "
            f"another --runs, or --steps {steps}"
        )
    return done and whole


def evaluated(study: StudySettings, name: str) -> bool:
    """Whether the model as it is now was tried on these problems, with so many samples and this sampling."""
    file, model, asked = study.runs / "eval" / name / "results.json", Path(model_of(study, name)), study.base.eval
    if not file.exists() or not study.heldout.exists():
        return False
    results = json.loads(file.read_text(encoding="utf-8"))
    found = results["benchmarks"].get(study.heldout.stem)
    wanted = {
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "max_tokens": asked.max_tokens,
        "seed": EVAL_SEED,
    }
    return (
        found is not None
        and (found["problems"], found["samples"]) == (study.problems, study.samples)
        and found["data"]["hash"] == content_hash(check(read_file(study.heldout), str(study.heldout)))
        and all(found["settings"][k] == v for k, v in wanted.items())
        and (not model.is_dir() or results["identity"] == {"files": files_fingerprint(model)})
    )


def reason(study: StudySettings, name: str) -> str:
    """Why a model is not finished, by what its last attempt said; empty if it is."""
    stages = missing(study, name)
    if not stages:
        return ""
    log = log_of(study, name, stages[0])
    lines = log.read_text().splitlines() if log.exists() else []
    said = [line for line in lines if line.startswith("error:")]
    said = said or [line for line in lines[-1:] if line.startswith("exit code")]
    if said:
        return f"{stages[0]}: {said[-1].removeprefix('error: ')[:300]}"
    return f"{stages[0]}: {'stopped on the way' if lines else 'not run'}"
