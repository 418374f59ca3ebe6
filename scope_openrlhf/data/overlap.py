r"""Problems that stand in the data more than once, or that are held out and train all the same: counted before a run.

Two texts are the same problem if they differ in case, spaces, punctuation at the end of words, dollar signs and LaTeX's
spacing alone: "Find $x + 1$ ." and "find x+1".
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scope_openrlhf.data.files import column, read_file
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.prompts import Prompt, as_messages, read_prompt
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import EvalConfig

_SPACING = re.compile(
    r"\\[,;:!>( )\[\]]|\\(?:qquad|quad|left|right|displaystyle)(?![a-z])|\\?\$|~|[.,;:?]+(?=[\s$~\\]|\Z)"
)
_FRACTION = re.compile(r"\\[dt]frac")
_LOOSE = re.compile(r"\s+(?=\W)|(?<=\W)\s+|\A\s+|\s+\Z")  # spaces that part no two words
_ALIKE = "but for case, spaces and punctuation"


def normalised(text: str) -> str:
    """The text without what does not make another problem of it."""
    text = _SPACING.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    return _LOOSE.sub("", " ".join(_FRACTION.sub(r"\\frac", text).split()))


def words(prompt: Prompt) -> str:
    """What the user says in a prompt."""
    return "\n\n".join(message["content"] for message in as_messages(prompt) if message["role"] == "user")


class Keys:
    """What tells problems apart: of each one a key of its letters, and one that those alike share.

    Hashes alone, so that a million problems take megabytes; nobody forges them.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = problems
        self.exact = [hash(words(p.prompt)) for p in problems]
        self.alike = [hash(normalised(words(p.prompt))) for p in problems]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A problem that was there before."""

    at: int
    """Its number among the problems."""
    first: int
    """That of the first one like it."""
    exact: bool
    """Whether one before has the same letters."""
    other_answer: bool
    """Whether the first one has another answer."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A held-out problem that is in the data."""

    name: str
    at: int
    """Number of the problem of the data."""
    exact: bool


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A file of held-out problems against the data."""

    called: str
    count: int
    trained: list[Trained]


def overlap_notes(problems: Sequence[Problem], config: EvalConfig) -> list[str]:
    """What is to be said of problems that are there twice, among themselves and held out.

    Raises ConfigError for a held-out problem that cannot be read.
    """
    keys = Keys(problems)
    notes = [repeats_note(keys, repeats(keys))]
    if config.path:
        notes.append(held_out_note(keys, held_out(keys, config, f"eval.path {config.path}")))
    return notes


def repeats(keys: Keys) -> list[Repeat]:
    """The rows that repeat a problem, in their order."""
    first, seen, found = _first(keys.alike), set[int](), []
    for at, (exact, alike) in enumerate(zip(keys.exact, keys.alike, strict=True)):
        if (before := first[alike]) != at:
            other = keys.problems[at].answer != keys.problems[before].answer
            found.append(Repeat(at, before, exact in seen, other))
        seen.add(exact)
    return found


def repeats_note(keys: Keys, found: Sequence[Repeat]) -> str:
    """How many rows repeat a problem."""
    if not found:
        return f"problems: {len(keys.problems)}, none of them twice"
    letters = sum(repeat.exact for repeat in found)
    others = [repeat for repeat in found if repeat.other_answer]
    line = (
        f"duplicates: {len(found)} of {len(keys.problems)} rows repeat a problem ({letters} letter for letter, "
        f"{len(found) - letters} {_ALIKE}), {len({r.first for r in found})} problems are there more than once; "
        f"{_pairs(found, keys)}"
    )
    if others:
        line += f". {len(others)} of them have another answer than the first time: {_pairs(others, keys)}"
    return line


def held_out(keys: Keys, config: EvalConfig, called: str) -> HeldOut:
    """The held-out problems of eval.path that train, those of the same letters first.

    called: that file, in messages. Raises ConfigError for a problem that cannot be read.
    """
    held = list(_held_out(config, called))
    trained, trained_alike = _first(keys.exact), _first(keys.alike)
    found = []
    for name, text in held:
        # a row of the data may bring the instruction that evaluation adds
        asked = [text, f"{text}\n\n{config.instruction}"]
        for exact, rows, of_texts in (
            (True, trained, map(hash, asked)),
            (False, trained_alike, (hash(normalised(text)) for text in asked)),
        ):
            row = next((rows[key] for key in of_texts if key in rows), None)
            if row is not None:
                found.append(Trained(name, row, exact))
                break
    return HeldOut(called, len(held), sorted(found, key=lambda one: not one.exact))


def held_out_note(keys: Keys, held: HeldOut) -> str:
    """How many held-out problems train."""
    if not held.trained:
        return f"held out: none of the {held.count} problems of {held.called} is in the data"
    letters = sum(one.exact for one in held.trained)
    return (
        f"warning: {len(held.trained)} of {held.count} held-out problems of {held.called} are in the data "
        f"({letters} letter for letter, {len(held.trained) - letters} {_ALIKE}): "
        f"{_some([f'{one.name} is row {keys.problems[one.at].id}' for one in held.trained])}; remove them from "
        "one of the two, or evaluation counts what was learnt by heart"
    )


def _held_out(config: EvalConfig, called: str) -> Iterable[tuple[str, str]]:
    """(id, words) of each held-out problem."""
    for number, row in enumerate(read_file(Path(config.path), called)):
        try:
            problem = read_prompt(column(row, config.prompt_key))
        except ValueError as error:
            raise ConfigError(
                f"{called}, row {number} (counted from 0): its problem cannot be asked: {error}"
            ) from None
        name = column(row, config.id_key)
        yield str(number if name is None else name), words(problem)


def _first(keys: Sequence[int]) -> dict[int, int]:
    """{key: number of the first row that has it}."""
    return {keys[row]: row for row in reversed(range(len(keys)))}


def _pairs(found: Sequence[Repeat], keys: Keys) -> str:
    return _some([f"row {keys.problems[r.at].id} is row {keys.problems[r.first].id}" for r in found])


def _some(texts: Sequence[str]) -> str:
    """The first three, and that there are more."""
    return ", ".join(texts[:3]) + (", ..." if len(texts) > 3 else "")
