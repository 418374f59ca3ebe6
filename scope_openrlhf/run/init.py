"""`scope-train init`: a first config from five questions or flags, with a look at the data and the commands to come."""

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from scope_openrlhf import algorithms
from scope_openrlhf.data.files import read
from scope_openrlhf.data.layouts import guess_columns
from scope_openrlhf.models.loading import check_model, positions
from scope_openrlhf.run.data_check import accept, check_data
from scope_openrlhf.run.data_text import lines
from scope_openrlhf.run.init_template import PLACES, written
from scope_openrlhf.run.terminal import progress
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError, nearest
from scope_openrlhf.settings.sections import DataConfig, StudentConfig

QUESTIONS = {
    "model": "1. Model to train, a folder or a hub id",
    "data": "2. Training problems: a .jsonl, .json, .parquet or .csv file, or a hub id",
    "columns": "3. Columns of problem and gold answer",
    "teacher": "4. Teacher, a model with the student's tokenizer; empty for none",
    "algorithm": "   Algorithm",
    "where": f"5. Where it runs: {', '.join(PLACES)}",
}


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What was asked."""

    model: str
    data: str
    prompt_key: str
    answer_key: str
    algorithm: str
    teacher: str
    where: str


def init(options: argparse.Namespace, out: TextIO, err: TextIO) -> None:
    """Ask what flags leave open, write the config, and say what it found. Raises ConfigError.

    err: gets what goes on, where that takes long.
    """
    file = Path(options.out)
    if file.exists():
        raise ConfigError(f"{file} is there already; give another --out")
    answers = complete(options, out)
    model = check_model(answers.model, "--model") if Path(answers.model).exists() else None  # no hub is asked here
    check = check_data(looked_at(answers), [], progress(err))
    accept(check)
    longest, limit = max(check.prompts.lengths, default=0), positions(model) if model else 0
    text = written(answers, file, len(check.rows), longest, limit)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    Config.load(file, [])
    print("\n".join([*lines(check, (), count=1), "", *commands(file)]), file=out)


def complete(options: argparse.Namespace, out: TextIO) -> Answers:
    """The answers of flags and of whoever sits at the terminal. Raises ConfigError where nobody does."""
    asked = sys.stdin.isatty()
    missing = [f"--{name}" for name in ("model", "data", "where") if not getattr(options, name)]
    if missing and not asked:
        raise ConfigError(f"nobody can be asked without a terminal; give {', '.join(missing)}")

    def answer(name: str, default: str = "") -> str:
        if given := getattr(options, name, ""):
            return given
        if not asked:
            return default
        print(f"{QUESTIONS[name]}{f' [{default}]' if default else ''}: ", end="", file=out, flush=True)
        return sys.stdin.readline().strip() or default

    model, data = answer("model"), answer("data")
    keys = guess_columns(read(data), data, options.prompt_key or "", options.answer_key or "")
    if not (options.prompt_key and options.answer_key) and (said := answer("columns", " ".join(keys)).split()):
        if len(said) != 2:
            raise ConfigError(f"two columns are asked for, with a blank between; got {' '.join(said)!r}")
        keys = (said[0], said[1])
    teacher = answer("teacher")
    algorithm = answer("algorithm", "scope" if teacher else "grpo")
    where = answer("where", PLACES[0])
    check_choices(algorithm, teacher, where)
    return Answers(
        model=model,
        data=data,
        prompt_key=keys[0],
        answer_key=keys[1],
        algorithm=algorithm,
        teacher=teacher,
        where=where,
    )


def check_choices(algorithm: str, teacher: str, where: str) -> None:
    """Raise ConfigError for an algorithm that there is not, or that lacks its teacher, and for an unknown place."""
    if algorithm not in algorithms.known():
        raise ConfigError(f"there is no algorithm {algorithm}; {nearest(algorithm, algorithms.known())}")
    if algorithms.load(algorithm).asks.teacher_scores and not teacher:
        raise ConfigError(f"algorithm {algorithm} needs a teacher; give --teacher, or --algorithm grpo, which has none")
    if where not in PLACES:
        raise ConfigError(f"--where {where} is none of {', '.join(PLACES)}")


def looked_at(answers: Answers) -> Config:
    """The config of a look at the data, which the student is asked as far as it is here."""
    student = answers.model if Path(answers.model).exists() else ""
    data = DataConfig(path=answers.data, prompt_key=answers.prompt_key, answer_key=answers.answer_key)
    return Config(name="init", data=data, student=StudentConfig(path=student))


def commands(file: Path) -> list[str]:
    """What to type next."""
    name = shlex.quote(str(file))
    return [
        f"written: {file}",
        f"  scope-train data --config {name} --page data.html    # every prompt and gold as they are read",
        f"  scope-train plan --config {name}                    # all checks; nothing starts",
        f"  scope-train run --config {name}                     # train; the same command resumes",
        f"  scope-eval pair --run runs/{shlex.quote(file.stem)} --benchmarks FILE.jsonl    # before and after",
        f"  scope-train config --config {name}                  # what every key means",
    ]
