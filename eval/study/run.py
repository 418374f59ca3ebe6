"""A study from its settings to its page: what is missing is trained and evaluated, then everything is compared."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from scope_eval.study import collect, page, tables
from scope_eval.study.numbers import numbers
from scope_eval.study.settings import STUDENT, StudySettings, check, write_heldout
from scope_eval.study.stages import commands, log_of, missing, reason, trained
from scope_openrlhf.platform import child


def run_study(study: StudySettings) -> int:
    """Do what is missing and write the page. Returns the exit code: 1 if a run failed, which the page names.

    Raises ConfigError before anything starts if it cannot work, or if there is nothing to show.
    """
    open_study(study)
    if not study.report_only:
        run_all(study)
    student, models, work, failed = collect.collect(study)
    found = numbers(student, models, work, tables.claimed_pairs())
    about = {
        "command": study.command,
        "scale": collect.scale(study, work),
        "failed": failed,
        "knobs": collect.knobs(study),
    }
    page.write(found | about, study.out)
    for name, why in failed.items():
        print(f"failed: {name}: {why}", file=sys.stderr)
    print(f"written: {study.out}/compare.md, compare.png, compare.json")
    return 1 if failed else 0


def open_study(study: StudySettings) -> None:
    """Check all that is asked for and write the held-out problems. Raises ConfigError before anything starts."""
    check(study)
    for algorithm in study.algorithm_names:
        for seed in study.seed_numbers:
            trained(study, f"{algorithm}-{seed}")  # or the folder is another's
    write_heldout(study)


def run_all(study: StudySettings) -> None:
    """Do the student, then seed after seed every algorithm: a study that is cut has whole seeds first."""
    names = [STUDENT] + [f"{a}-{seed}" for seed in study.seed_numbers for a in study.algorithm_names]
    began, taken = time.time(), []
    for number, name in enumerate(names, 1):
        start = time.time()
        said = run_one(study, name)
        if said == "done" and name != STUDENT:
            taken.append(time.time() - start)
        left = f", about {clock(statistics.mean(taken) * (len(names) - number))} left" if taken else ""
        print(f"[{number}/{len(names)}] {name}: {said}; {clock(time.time() - began)} gone{left}", flush=True)


def run_one(study: StudySettings, name: str) -> str:
    """Do what is missing of one model. Returns "done", "was done before", or why it failed."""
    stages = missing(study, name)
    for stage in stages:
        if execute(commands(study, name)[stage], log_of(study, name, stage)):
            return f"failed: {reason(study, name)}"
    return "done" if stages else "was done before"


def execute(command: list[str], log: Path) -> int:
    """Exit code of a process that writes to log, where it stands at the end too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        code = child.finish(command, stdout=file, stderr=subprocess.STDOUT)
        file.write(f"exit code {code}\n")
    return code


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, for instance 1:02:03."""
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"
