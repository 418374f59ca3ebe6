"""Rows of a dataset -> the problems of a run: checked, each with what its verifier needs."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from scope_openrlhf.data.files import column, read
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.prompts import PICTURE, Prompt, read_prompt, with_hint, with_system
from scope_openrlhf.settings.config import section_of
from scope_openrlhf.settings.errors import ConfigError, nearest, rows_named
from scope_openrlhf.settings.sections import DataConfig
from scope_openrlhf.verifier.gold import MOST_BY_ALGEBRA, MOST_UNGRADABLE, Golds, read_golds


class Problems(list[Problem]):
    """The problems of a dataset in its order, which know the rows that they stand in."""

    def __init__(self, by_row: dict[int, Problem], notes: Sequence[str] = ()) -> None:
        """by_row: each by the number of its row, counted from 0. notes: what the user should know of the others."""
        super().__init__(by_row.values())
        self.rows, self.notes = list(by_row), list(notes)


def load_problems(config: DataConfig, teachers: Collection[str] = (), traces: bool = False) -> Problems:
    """The problems of a dataset. Raises ConfigError naming the rows whose prompt or gold answer cannot be used.

    Rows whose gold cannot be graded are left out if they are few, or if the config says so.
    teachers: the names of several, "" being the one of rows that name none. Problems then name one of them.
    traces: problems then carry a worked solution, or an empty one; ConfigError if all are empty.
    """
    raw = read(config.path)
    if not raw:
        raise ConfigError(f"data.path {config.path} holds no rows")
    _check_columns(raw, config)
    prompts = _read_prompts(raw, config)
    golds = read_golds(column(row, config.answer_key) for row in raw)
    problems = Problems(
        {n: _problem(n, raw[n], prompts[n], gold, config, bool(teachers), traces) for n, gold in golds.texts.items()},
        _gold_notes(golds, config),
    )
    _refuse_pictures(problems, config)
    if teachers:
        _check_teachers(problems, teachers, config.teacher_key)
    if traces and not any(problem.trace for problem in problems):
        raise ConfigError(
            f"no row of {config.path} has a worked solution in {config.trace_key!r}, which this algorithm shows; set "
            "data.trace_key, or have the teacher write them: scope-train traces --config ... --out FILE"
        )
    return problems


def _problem(
    number: int, row: dict, prompt: Prompt, gold: str, config: DataConfig, named: bool, traces: bool
) -> Problem:
    teacher, trace = column(row, config.teacher_key), column(row, config.trace_key)
    return Problem(
        id=str(number if row.get("id") is None else row["id"]),
        prompt=prompt,
        answer=gold,
        teacher=("" if teacher is None else str(teacher)) if named else None,
        trace=(trace if has_trace(trace) else "") if traces else None,
    )


def _check_columns(raw: list[dict], config: DataConfig) -> None:
    """Raise ConfigError unless some row has a prompt and an answer."""
    if not any(
        column(row, config.prompt_key) is not None and column(row, config.answer_key) is not None for row in raw
    ):
        columns = ", ".join(map(str, raw[0]))
        raise ConfigError(
            f"no row of {config.path} has both {config.prompt_key!r} and {config.answer_key!r}; its columns are "
            f"{columns}: set data.prompt_key and data.answer_key"
        )


def _read_prompts(raw: list[dict], config: DataConfig) -> list[Prompt]:
    """The prompt of each row, after the system prompt. Raises ConfigError naming the rows that have none."""
    if PICTURE in config.system:
        raise ConfigError(
            f"data.system holds {PICTURE}, the place of a picture that nobody is shown; write it otherwise"
        )
    prompts: list[Prompt] = []
    faults = {}
    for number, row in enumerate(raw):
        try:
            prompts.append(with_system(read_prompt(column(row, config.prompt_key)), config.system))
        except ValueError as error:
            faults[number] = str(error)
    if faults:
        raise ConfigError(
            f"{len(faults)} of {len(raw)} rows of {config.path} have no prompt in {config.prompt_key!r} (counted from "
            f"0; {rows_named(faults)}); repair or remove them, or set data.prompt_key"
        )
    return prompts


def _gold_notes(golds: Golds, config: DataConfig) -> list[str]:
    """What to say of the golds that cannot be graded. Raises ConfigError if they are too many to be left out."""
    notes = []
    if golds.faults and (not golds.texts or (golds.too_many and not config.skip_ungradable)):
        skip = ", or set data.skip_ungradable=true, which leaves them out" if golds.texts else ""
        raise ConfigError(
            f"data.path {config.path}, {config.answer_key!r}: {golds.told}, and at most {MOST_UNGRADABLE:.0%} "
            f"may be: set data.answer_key to the column of the answers, repair the rows{skip}"
        )
    if golds.faults:
        notes.append(f"left out: {golds.told}")
    if golds.untried:
        notes.append(f"gold answers: {golds.untried} different formulas more than {MOST_BY_ALGEBRA} were not tried")
    return notes


def _refuse_pictures(problems: Problems, config: DataConfig) -> None:
    """Raise ConfigError for worked solutions with a picture; prompts have been read before."""
    pictures = [row for row, problem in zip(problems.rows, problems, strict=True) if PICTURE in (problem.trace or "")]
    if pictures:
        raise ConfigError(
            f"{len(pictures)} worked solutions of {config.path} in {config.trace_key!r} hold {PICTURE} (the first: "
            f"rows {pictures[:5]}, counted from 0), the place of a picture that nobody is shown; write it otherwise"
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
