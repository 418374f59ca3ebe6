"""A look at the data of a run as its student gets them: what is read, what is odd, and whether they can be trained on.

Everything is read as training reads it; no engine starts.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scope_openrlhf.data.files import is_read, read_file
from scope_openrlhf.data.layouts import guess_prompt
from scope_openrlhf.data.order import order_problems
from scope_openrlhf.data.overlap import HeldOut, Keys, Repeat, held_out, repeats, words
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.problems import Reading
from scope_openrlhf.models.loading import check_model, load_tokenizer, positions
from scope_openrlhf.run.chosen import asked, choose_teachers, load_algorithm, read_data
from scope_openrlhf.run.held_out import check_asked, read_held_out
from scope_openrlhf.run.prompts import Prompts, render, why_too_long
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import EvalConfig

MAX_LEN, ROOM, BATCH = "data.max_len", "rollout.max_new_tokens", "rollout.batch_size"
"""Flags of OpenRLHF that decide whether prompts fit, and whether they fill a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Number of tokens that a prompt and its response may have."""

    most: int
    room: int
    """Tokens kept for the response."""
    what: str
    """What sets it."""

    @property
    def of_prompts(self) -> int:
        """Tokens that a prompt may have."""
        return self.most - self.room


@dataclass(frozen=True, slots=True)
class Student:
    """Who is asked, as far as its tokenizer and its config tell."""

    tokenizer: Any = None
    """None where no student is named, or where the hub does not give its tokenizer."""
    config: Any = None
    special: tuple[str, ...] = ()
    """Texts of its special tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was found."""

    config: Config
    student: Student
    reading: Reading
    prompts: Prompts
    """Of the problems that training would take, in their order."""
    limit: Limit | None
    """None where nothing sets one."""
    keys: Keys
    repeats: list[Repeat]
    held_out: list[HeldOut]
    refused: list[str]
    """Why training would refuse the data; none where it would take them."""
    notes: list[str]

    @property
    def rows(self) -> list[int]:
        """The row of each problem, counted from 0."""
        return self.reading.problems.rows


def check_data(config: Config, others: Sequence[Path], say: Callable[[str], None]) -> Check:
    """Read the data and compare them with held-out problems. Raises ConfigError where there is nothing to show.

    others: files and folders of held-out problems beside eval.path. say: told what is done next.
    """
    algorithm = load_algorithm(config)
    teachers = choose_teachers(config, algorithm) if config.teachers else {}
    own = Path(config.data.path).resolve()  # a folder may hold the data too
    files = [file for path in others for file in benchmark_files(path) if file.resolve() != own]
    student = load_student(config)
    say(f"reading {config.data.path}")
    reading = read_data(config, algorithm, teachers)
    say(f"reading {len(reading.rows):,} gold answers")
    refused = list(reading.refusals())
    problems = asked(reading.problems, algorithm)
    say(f"rendering {len(problems):,} prompts")
    prompts, why = _rendered(problems, student, config)
    limit = limit_of(config, student)
    refused += why
    if limit and (too_long := why_too_long(prompts, limit.most, limit.room, limit.what)):
        refused.append(too_long)
    refused += _too_few(problems, config)
    unscorable = _faults_of_held_out(student, config)
    say(f"comparing {len(problems):,} problems with each other and with held-out ones")
    keys = Keys(reading.problems)
    configs = {f"eval.path {config.eval.path}": config.eval} if config.eval.path and not unscorable else {}
    configs |= {f"--held-out {file}": _as_held_out(file, config.eval) for file in files}
    return Check(
        config=config,
        student=student,
        reading=reading,
        prompts=prompts,
        limit=limit,
        keys=keys,
        repeats=repeats(keys),
        held_out=[held_out(keys, held, called) for called, held in configs.items()],
        refused=[*refused, *unscorable],
        notes=[*prompts.notes, *_special_notes(reading.problems, student)],
    )


def accept(check: Check) -> None:
    """Raise ConfigError if training would refuse the data, with a line for each reason."""
    if check.refused:
        raise ConfigError("\nerror: ".join(check.refused))  # each begins as whoever tells of errors begins the first


def benchmark_files(path: Path) -> list[Path]:
    """A file itself, or those of a folder whose rows can be read. Raises ConfigError if there are none."""
    if not path.is_dir():
        return [path]
    if not (files := sorted(file for file in path.iterdir() if is_read(file))):
        raise ConfigError(f"--held-out {path} is a folder without a .jsonl, .json, .parquet or .csv file; name another")
    return files


def _as_held_out(file: Path, config: EvalConfig) -> EvalConfig:
    """The config of evaluation for another file, whose column of problems is found by its name."""
    rows = read_file(file, f"--held-out {file}")
    return replace(config, path=str(file), prompt_key=guess_prompt(rows, config.prompt_key))


def load_student(config: Config) -> Student:
    """The student's tokenizer and config, none where no student is named. Raises ConfigError if there is no such."""
    path, trust = config.student.path, config.student.trust_remote_code
    if not path:
        return Student()
    model = check_model(path, "student.path", known=True, trust_remote_code=trust)
    tokenizer = load_tokenizer(path, optional=True, trust_remote_code=trust)
    added = tokenizer.added_tokens_decoder.values() if tokenizer else ()
    return Student(tokenizer, model, tuple(token.content for token in added if token.special))


def limit_of(config: Config, student: Student) -> Limit | None:
    """The longest prompt with its response, as the config says, or else the student's positions."""
    most = config.openrlhf.get(MAX_LEN)
    if isinstance(most, int):
        return Limit(most=most, room=config.openrlhf.get(ROOM) or 1, what=f"openrlhf.{MAX_LEN}")
    if student.tokenizer:
        return Limit(most=positions(student.config), room=1, what=f"the positions of {config.student.path},")
    return None


def _rendered(problems: list[Problem], student: Student, config: Config) -> tuple[Prompts, list[str]]:
    """The prompts, and why the chat template does not take them; they are then not rendered."""
    try:
        return render(problems, student.tokenizer, config), []
    except ConfigError as error:
        return render(problems, None, config), [str(error)]


def _too_few(problems: list[Problem], config: Config) -> list[str]:
    """Why training refuses so few problems."""
    batch = config.openrlhf.get(BATCH)
    try:
        if problems and isinstance(batch, int):
            order_problems(problems, batch, config.steps, config.seed)
    except ConfigError as error:
        return [str(error)]
    return []


def _faults_of_held_out(student: Student, config: Config) -> list[str]:
    """Why training refuses held-out problems that its evaluation could not score."""
    try:
        held = read_held_out(config.eval)
        if student.tokenizer:
            check_asked(held, config, student.tokenizer, student.config)
    except ConfigError as error:
        return [str(error)]
    return []


def _special_notes(problems: Sequence[Problem], student: Student) -> list[str]:
    """Which problems hold special tokens of the student in their own text, where the tokenizer reads them as such."""
    tokens = re.compile("|".join(map(re.escape, student.special)) or r"(?!)")  # which is found nowhere
    found = [p.id for p in problems if tokens.search(words(p.prompt))]
    if not found:
        return []
    return [
        f"special tokens: {len(found)} problems hold some in their own text (the first: row {found[0]:.60}), which the "
        "student reads as the end of a message or the like; write them otherwise"
    ]
