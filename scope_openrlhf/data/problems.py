"""Rows of a dataset -> the problems of a run: checked, each with what its verifier needs."""

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from scope_openrlhf.data.files import column, read
from scope_openrlhf.data.layouts import which_may_be
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


class Reading:
    """A dataset as training reads it: the prompt and the gold answer of each row, or why it has none."""

    def __init__(self, config: DataConfig, teachers: Collection[str] = (), traces: bool = False) -> None:
        """Read rows and prompts. Raises ConfigError for a file or columns that cannot be read.

        teachers: the names of several, "" being the one of rows that name none. Problems then name one of them.
        traces: problems then carry a worked solution, or an empty one.
        """
        self.config, self.teachers, self.traces = config, teachers, traces
        self.rows = read(config.path)
        if not self.rows:
            raise ConfigError(f"data.path {config.path} holds no rows")
        _check_columns(self.rows, config)
        self.prompts: dict[int, Prompt] = {}
        """By the number of the row, counted from 0, as all below."""
        self.without_prompt: dict[int, str] = {}
        """Why the other rows have none."""
        self._read_prompts()

    def _read_prompts(self) -> None:
        if PICTURE in self.config.system:
            raise ConfigError(
                f"data.system holds {PICTURE}, the place of a picture that nobody is shown; write it otherwise"
            )
        for number, row in enumerate(self.rows):
            try:
                prompt = with_system(read_prompt(column(row, self.config.prompt_key)), self.config.system)
            except ValueError as error:
                self.without_prompt[number] = str(error)
            else:
                self.prompts[number] = prompt

    @functools.cached_property
    def golds(self) -> Golds:
        """The gold answers, which take longest."""
        return read_golds(column(row, self.config.answer_key) for row in self.rows)

    @functools.cached_property
    def problems(self) -> Problems:
        """The rows that have a prompt and a gold answer."""
        golds, named = self.golds, bool(self.teachers)
        both = (n for n in golds.texts if n in self.prompts)
        return Problems(
            {
                n: _problem(n, self.rows[n], self.prompts[n], golds.texts[n], self.config, named, self.traces)
                for n in both
            },
            _gold_notes(golds),
        )

    def refusals(self) -> Iterator[str]:
        """Why training refuses these data, the reasons that are found fastest first; none where it does not."""
        config = self.config
        if self.without_prompt:
            yield (
                f"{len(self.without_prompt)} of {len(self.rows)} rows of {config.path} have no prompt in "
                f"{config.prompt_key!r} (counted from 0; {rows_named(self.without_prompt)}); repair or remove them, or "
                "set data.prompt_key"
            )
        yield from _gold_refusals(self.golds, config)
        yield from _picture_refusals(self.problems, config)
        if self.teachers:
            yield from _teacher_refusals(self.problems, self.teachers, config.teacher_key)
        if self.traces and not any(problem.trace for problem in self.problems):
            yield (
                f"no row of {config.path} has a worked solution in {config.trace_key!r}, which this algorithm shows; "
                "set data.trace_key, or have the teacher write them: scope-train traces --config ... --out FILE"
            )


def load_problems(config: DataConfig, teachers: Collection[str] = (), traces: bool = False) -> Problems:
    """The problems of a dataset. Raises ConfigError naming the rows whose prompt or gold answer cannot be used.

    Rows whose gold cannot be graded are left out if they are few, or if the config says so. teachers, traces: as
    Reading.
    """
    return accepted(Reading(config, teachers, traces))


def accepted(reading: Reading) -> Problems:
    """The problems that were read. Raises ConfigError if training refuses them."""
    for why in reading.refusals():
        raise ConfigError(why)
    return reading.problems


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


def _check_columns(rows: list[dict], config: DataConfig) -> None:
    """Raise ConfigError unless some row has a prompt and an answer."""
    if not any(
        column(row, config.prompt_key) is not None and column(row, config.answer_key) is not None for row in rows
    ):
        columns = ", ".join(map(str, rows[0]))
        raise ConfigError(
            f"no row of {config.path} has both {config.prompt_key!r} and {config.answer_key!r}; its columns are "
            f"{columns}: set data.prompt_key and data.answer_key{which_may_be(rows)}"
        )


def _gold_refusals(golds: Golds, config: DataConfig) -> Iterator[str]:
    """Why training refuses data with so many golds that cannot be graded."""
    if golds.faults and (not golds.texts or (golds.too_many and not config.skip_ungradable)):
        skip = ", or set data.skip_ungradable=true, which leaves them out" if golds.texts else ""
        yield (
            f"data.path {config.path}, {config.answer_key!r}: {golds.told}, and at most {MOST_UNGRADABLE:.0%} "
            f"may be: set data.answer_key to the column of the answers, repair the rows{skip}"
        )


def _gold_notes(golds: Golds) -> list[str]:
    """What to say of the golds that cannot be graded."""
    notes = []
    if golds.faults:
        notes.append(f"left out: {golds.told}")
    if golds.untried:
        notes.append(f"gold answers: {golds.untried} different formulas more than {MOST_BY_ALGEBRA} were not tried")
    return notes


def _picture_refusals(problems: Problems, config: DataConfig) -> Iterator[str]:
    """Why training refuses worked solutions with a picture; prompts have been read before."""
    pictures = [row for row, problem in zip(problems.rows, problems, strict=True) if PICTURE in (problem.trace or "")]
    if pictures:
        yield (
            f"{len(pictures)} worked solutions of {config.path} in {config.trace_key!r} hold {PICTURE} (the first: "
            f"rows {pictures[:5]}, counted from 0), the place of a picture that nobody is shown; write it otherwise"
        )


def _teacher_refusals(problems: list[Problem], teachers: Collection[str], key: str) -> Iterator[str]:
    """Why training refuses problems without their teacher, and teachers without a problem."""
    named = Counter(problem.teacher or "" for problem in problems)
    if "" in named and "" not in teachers:
        yield (
            f"{named['']} of {len(problems)} rows name no teacher in their {key!r}; set teacher.path for them, "
            "or data.teacher_key"
        )
    for name in named.keys() - set(teachers) - {""}:
        yield (
            f"{named[name]} rows want the teacher {name!r}, which is none of teachers; "
            f"{nearest(name, [t for t in teachers if t])}"
        )
    for name in set(teachers) - named.keys():
        yield f"no row goes to {section_of(name)}, so its engines would stand idle; remove it"


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
