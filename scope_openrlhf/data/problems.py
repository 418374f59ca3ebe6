"""Rows of a dataset -> the problems of a run: checked, each with what its verifier needs."""

import json
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from scope_openrlhf.data.files import column, read
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.prompts import with_hint, with_system
from scope_openrlhf.settings.config import section_of
from scope_openrlhf.settings.errors import ConfigError, nearest
from scope_openrlhf.settings.sections import DataConfig


def load_problems(config: DataConfig, teachers: Collection[str] = (), traces: bool = False) -> list[Problem]:
    """The problems of a dataset, in its order. Raises ConfigError naming the rows without prompt or answer.

    teachers: the names of several, "" being the one of rows that name none. Problems then name one of them.
    traces: problems then carry a worked solution, or an empty one; ConfigError if all are empty.
    """
    raw = read(config.path)
    if not raw:
        raise ConfigError(f"data.path {config.path} holds no rows")
    _check_filled(raw, config)
    problems = [_problem(number, row, config, bool(teachers), traces) for number, row in enumerate(raw)]
    _refuse_pictures(problems, config.path)
    if teachers:
        _check_teachers(problems, teachers, config.teacher_key)
    if traces and not any(problem.trace for problem in problems):
        raise ConfigError(
            f"no row of {config.path} has a worked solution in {config.trace_key!r}, which this algorithm shows; set "
            "data.trace_key, or have the teacher write them: scope-train traces --config ... --out FILE"
        )
    return problems


def _problem(number: int, row: dict, config: DataConfig, named: bool, traces: bool) -> Problem:
    teacher, trace = column(row, config.teacher_key), column(row, config.trace_key)
    return Problem(
        id=str(row.get("id", number)),
        prompt=with_system(column(row, config.prompt_key), config.system),
        answer=str(column(row, config.answer_key)),
        teacher=("" if teacher is None else str(teacher)) if named else None,
        trace=(trace if has_trace(trace) else "") if traces else None,
    )


def _check_filled(raw: list[dict], config: DataConfig) -> None:
    """Raise ConfigError unless every row has a prompt and an answer."""

    def empty(row: dict) -> bool:
        prompt, answer = column(row, config.prompt_key), column(row, config.answer_key)
        return prompt in (None, "", []) or answer is None or not str(answer).strip()

    bad = [number for number, row in enumerate(raw) if empty(row)]
    if len(bad) == len(raw):
        columns = ", ".join(map(str, raw[0]))
        raise ConfigError(
            f"no row of {config.path} has both {config.prompt_key!r} and {config.answer_key!r}; its columns are "
            f"{columns}: set data.prompt_key and data.answer_key"
        )
    if bad:
        raise ConfigError(
            f"{len(bad)} of {len(raw)} rows of {config.path} have an empty {config.prompt_key!r} or "
            f"{config.answer_key!r} (the first: rows {bad[:5]}, counted from 0); a rollout without a gold answer "
            "cannot be routed: remove or repair them"
        )


def _refuse_pictures(problems: list[Problem], path: str) -> None:
    pictures = [n for n, p in enumerate(problems) if "<image>" in json.dumps([p.prompt, p.trace], default=str)]
    if pictures:
        raise ConfigError(
            f"{len(pictures)} of {len(problems)} prompts of {path} hold <image> (the first: rows {pictures[:5]}, "
            "counted from 0), where OpenRLHF would put a picture and not the text; write it otherwise, or remove them"
        )


def _check_teachers(problems: list[Problem], teachers: Collection[str], key: str) -> None:
    """Raise ConfigError unless each problem's teacher is there, and each teacher has a problem."""
    named = Counter(problem.teacher or "" for problem in problems)
    if "" in named and "" not in teachers:
        raise ConfigError(
            f"{named['']} of {len(problems)} rows name no teacher in their {key!r}; set teacher.path for them, "
            "or data.teacher_key"
        )
    for name in named.keys() - set(teachers):
        raise ConfigError(
            f"{named[name]} rows want the teacher {name!r}, which is none of teachers; "
            f"{nearest(name, [t for t in teachers if t])}"
        )
    for name in set(teachers) - named.keys():
        raise ConfigError(f"no row goes to {section_of(name)}, so its engines would stand idle; remove it")


def hinted(problem: Problem, prompt_hint: Callable[[str, str], tuple[str, bool]]) -> Problem:
    """The problem with its hint in its prompt, and whether there is one, and whether that gives the answer away.

    prompt_hint: an algorithm's, from gold answer and worked solution to (hint or "", whether it leaks).
    """
    hint, leaks = prompt_hint(problem.answer, problem.trace or "")
    prompt = with_hint(problem.prompt, hint) if hint else problem.prompt
    return replace(problem, prompt=prompt, hinted=bool(hint), leaks=leaks)


def has_trace(value: Any) -> bool:
    """Whether a value is a worked solution."""
    return isinstance(value, str) and bool(value.strip())
