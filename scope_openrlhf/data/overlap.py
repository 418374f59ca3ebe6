r"""Problems that stand in the data more than once, or that are held out and train all the same: counted before a run.

Two texts are the same problem if they differ in case, spaces, punctuation at the end of words, dollar signs and LaTeX's
spacing alone: "Find $x + 1$ ." and "find x+1".
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
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


def overlap_notes(problems: Sequence[Problem], config: EvalConfig) -> list[str]:
    """What is to be said of problems that are there twice, among themselves and held out.

    Raises ConfigError for a held-out problem that cannot be read.
    """
    # hashes alone, so that a million problems take megabytes; nobody forges them
    exact = [hash(words(p.prompt)) for p in problems]
    alike = [hash(normalised(words(p.prompt))) for p in problems]
    notes = [duplicates_note(problems, exact, alike)]
    if config.path:
        notes.append(held_out_note(problems, exact, alike, config))
    return notes


def duplicates_note(problems: Sequence[Problem], exact: Sequence[int], alike: Sequence[int]) -> str:
    """How many rows repeat a problem. exact, alike: a key of each problem, letter for letter and normalised."""
    first = _first(alike)
    again = [(row, first[key]) for row, key in enumerate(alike) if first[key] != row]
    if not again:
        return f"problems: {len(problems)}, none of them twice"
    letters = len(exact) - len(set(exact))
    others = [(row, before) for row, before in again if problems[row].answer != problems[before].answer]
    line = (
        f"duplicates: {len(again)} of {len(problems)} rows repeat a problem ({letters} letter for letter, "
        f"{len(again) - letters} {_ALIKE}), {len({before for _, before in again})} problems are there more than once; "
        f"{_pairs(again, problems)}"
    )
    if others:
        line += f". {len(others)} of them have another answer than the first time: {_pairs(others, problems)}"
    return line


def held_out_note(problems: Sequence[Problem], exact: Sequence[int], alike: Sequence[int], config: EvalConfig) -> str:
    """How many held-out problems train. Raises ConfigError for one that cannot be read."""
    held = list(_held_out(config))
    trained, trained_alike = _first(exact), _first(alike)
    letters: list[str] = []
    similar: list[str] = []
    for name, text in held:
        # a row of the data may bring the instruction that evaluation adds
        asked = [text, f"{text}\n\n{config.instruction}"]
        for found, rows, keys in (
            (letters, trained, map(hash, asked)),
            (similar, trained_alike, (hash(normalised(text)) for text in asked)),
        ):
            row = next((rows[key] for key in keys if key in rows), None)
            if row is not None:
                found.append(f"{name} is row {problems[row].id}")
                break
    if not letters and not similar:
        return f"held out: none of the {len(held)} problems of eval.path is in the data"
    return (
        f"warning: {len(letters) + len(similar)} of {len(held)} held-out problems of eval.path are in the data "
        f"({len(letters)} letter for letter, {len(similar)} {_ALIKE}): {_some(letters + similar)}; remove them from "
        "one of the two, or evaluation counts what was learnt by heart"
    )


def _held_out(config: EvalConfig) -> Iterable[tuple[str, str]]:
    """(id, words) of each held-out problem."""
    for number, row in enumerate(read_file(Path(config.path))):
        try:
            problem = read_prompt(column(row, config.prompt_key))
        except ValueError as error:
            raise ConfigError(
                f"eval.path {config.path}, row {number} (counted from 0): its problem cannot be asked: {error}"
            ) from None
        name = column(row, config.id_key)
        yield str(number if name is None else name), words(problem)


def _first(keys: Sequence[int]) -> dict[int, int]:
    """{key: number of the first row that has it}."""
    return {keys[row]: row for row in reversed(range(len(keys)))}


def _pairs(rows: Sequence[tuple[int, int]], problems: Sequence[Problem]) -> str:
    return _some([f"row {problems[row].id} is row {problems[before].id}" for row, before in rows])


def _some(texts: Sequence[str]) -> str:
    """The first three, and that there are more."""
    return ", ".join(texts[:3]) + (", ..." if len(texts) > 3 else "")
