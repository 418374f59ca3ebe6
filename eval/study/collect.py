"""The files that runs and evaluations left -> what a study's numbers are made of."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scope_eval.compare import differing
from scope_eval.evaluate import STORE
from scope_eval.results import Graded
from scope_eval.store import Store
from scope_eval.study.numbers import ScoredModel, refuse_other_work
from scope_eval.study.settings import STUDENT, StudySettings
from scope_eval.study.stages import reason
from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.errors import ConfigError

FIRST = ("reward", "delta_right", "delta_wrong", "gap_right", "gap_wrong")
"""What is kept of a run's first step, in which all have the same student: it says whether that one reads what it is
shown."""
Models = dict[str, dict[int, ScoredModel]]
"""By algorithm and seed."""
Work = dict[str, dict[int, dict[str, Any]]]
"""By algorithm and seed: what work_of says."""


def collect(study: StudySettings) -> tuple[ScoredModel, Models, Work, dict[str, str]]:
    """The student, the models and the work of the finished runs, and {name: why} of those that are not finished.

    Raises ConfigError where two did not do the same work or were not evaluated alike, and where there is nothing to
    show.
    """
    if why := reason(study, STUDENT):
        raise ConfigError(
            f"the untrained student is not scored ({why}), so there is nothing to compare with; run the study without "
            "--report-only"
        )
    student, settings = result_of(study, STUDENT)
    models: Models = {}
    work: Work = {}
    failed = {}
    for algorithm, seed in [(a, s) for a in study.algorithm_names for s in study.seed_numbers]:
        name = f"{algorithm}-{seed}"
        if why := reason(study, name):
            failed[name] = why
            continue
        work.setdefault(algorithm, {})[seed] = work_of(study.runs / name)
        found, of = result_of(study, name)
        models.setdefault(algorithm, {})[seed] = found
        if other := differing(settings, of):
            raise ConfigError(f"{name} and the student were not scored alike: {other}")
    if not models:
        raise ConfigError(f"no run in {study.runs} is finished: {failed}")
    refuse_other_work(work)
    return student, models, work, failed


def result_of(study: StudySettings, name: str) -> tuple[ScoredModel, dict[str, Any]]:
    """A model's results on the held-out problems, and all that decided how it was asked and graded."""
    store = Store(study.runs / "eval" / name / STORE)
    try:
        graded = Graded(store, next(b for b in store.benchmarks() if b["name"] == study.heldout.stem))
        distinct = []
        for problem, right in zip(graded.problems, graded.correct, strict=True):
            texts = store.texts(graded.about["id"], problem["id"], len(right))
            distinct.append(float(len({text.strip() for text, r in zip(texts, right, strict=True) if r})))
        settings = graded.about["settings"] | {"data": graded.about["data"], "graded with": graded.about["graded_with"]}
        return ScoredModel(graded.correct, distinct), settings
    finally:
        store.close()


def work_of(run: Path) -> dict[str, Any]:
    """What a run trained on and what it took. Raises ConfigError if its rows lack a number."""
    from scope_openrlhf.host.luggage import read_prompts  # torch comes with it, seconds that --help need not wait for

    rows, summary = whole_rows(run / "metrics.jsonl"), json.loads((run / "summary.json").read_text())
    for key in ("rollouts", "teacher_tokens", "context_tokens"):
        if any(row.get(key) is None for row in rows):
            raise ConfigError(
                f"{run}/metrics.jsonl has rows without {key}; an older version trained it: choose another --runs"
            )
    return {
        "ids": [problem.id for problem in read_prompts(run / "prompts.jsonl")],
        "rollouts": [int(row["rollouts"]) for row in rows],
        "seconds": sum(row["seconds"]["total"] for row in rows),
        "startup": summary["seconds"]["startup"],
        "first": {key: rows[0].get(key) for key in FIRST},
        **{key: int(sum(row[key] for row in rows)) for key in ("teacher_tokens", "context_tokens")},
    }


def knobs(study: StudySettings) -> dict[str, dict]:
    """The knobs of each algorithm that the config sets any of."""
    chosen = {name: study.config_of(f"{name}-1").algorithm for name in study.algorithm_names}
    return {name: rest for name, c in chosen.items() if (rest := {k: v for k, v in c.items() if k != "name"})}


def scale(study: StudySettings, work: Work) -> dict[str, Any]:
    """At what size, on what data and on what machine the study was done."""
    config, one = study.base, next(iter(next(iter(work.values())).values()))
    params = {"student": params_of(config.student.path), "teacher": params_of(config.teacher.path)}
    sampling = ("temperature", "top_p", "top_k", "max_tokens")
    return {
        "steps": len(one["rollouts"]),
        "prompts": len(one["ids"]) // len(one["rollouts"]),
        "rollouts": one["rollouts"][0],
        "seeds": study.seed_numbers,
        "problems": study.problems,
        "samples": study.samples,
        "train": config.data.path,
        "heldout": config.eval.path,
        "params": params,
        "sampling": {k: v for k, v in asdict(config.eval).items() if k in sampling},
        "device": "a CPU in float32" if cpu.active() else "GPUs",
    }


def params_of(model: str) -> int | None:
    """Number of params by the headers of a model's .safetensors files; None for one that is not in a folder here."""
    total = 0
    for file in Path(model).glob("*.safetensors") if model else ():
        with file.open("rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        total += sum(math.prod(tensor["shape"]) for key, tensor in header.items() if key != "__metadata__")
    return total or None
