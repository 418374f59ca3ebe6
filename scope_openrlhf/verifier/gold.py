"""Gold answers from outside: one reading for training, evaluation, audit and reward, and what cannot be graded."""

import math
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from typing import Any

from scope_openrlhf.files.printed import read_printed
from scope_openrlhf.files.rows import read_json
from scope_openrlhf.settings.errors import rows_named
from scope_openrlhf.verifier.brackets import split_top
from scope_openrlhf.verifier.compare import readings
from scope_openrlhf.verifier.extract import extract_answers
from scope_openrlhf.verifier.forms import Math, Relation
from scope_openrlhf.verifier.grader import Grader, verify
from scope_openrlhf.verifier.kinds import NUMBER, kind_of
from scope_openrlhf.verifier.spelling import MAX_ANSWER_CHARS, clean

MOST_UNGRADABLE = 0.05
"""Share of a dataset's gold answers that may be ungradable; more look like the wrong column, or data for something
else."""
MOST_BY_ALGEBRA = 1_000
"""Different golds of a dataset that the grader's workers are asked about, a few tens of milliseconds each; more would
take minutes before each run."""
MOST_WORDS = 15
"""Words of a gold; no response repeats a longer sentence."""
HOLDERS = ("ground_truth", "answer", "gold", "reward_model")
"""Keys under which an object holds its gold: verl's reward_model, and whole rows."""
PLACEHOLDERS = frozenset(
    {
        "", "-", "?", "error", "missing", "n/a", "na", "nan", "no answer", "not applicable", "not available",
        "not found", "not_found", "notfound", "null", "proof", "prove", "q.e.d", "qed", "see above", "see solution",
        "tbd", "todo", "unknown",
    }
)  # fmt: skip
"""What data say where they have no answer, folded."""

_PLAIN = re.compile(r"-?(?:\d{1,1000}(?:\.\d{1,1000})?|\\[dt]?frac\{\d{1,99}\}\{\d{0,99}[1-9]\})")
_LOST_BACKSLASH = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\t(?:ext|imes|heta|frac|an\b)|\r(?:ho|ight|angle)|\n(?:eq|abla|mid)\b"
)
_NUMBERS = re.compile(r"\[[\d\s.eE+-]+,[\d\s.,eE+-]+\]|\[\s*\[[\[\]\d\s.,eE+-]+\]")
"""An interval, a point or a matrix, which are JSON too."""
_COMMA = re.compile(",")
_SOUND_ANSWER = r"\boxed{\sqrt{7919}}"
"""A response whose answer is sound mathematics, and nobody's gold."""
_FOR_NOW = ("not decided in", "the grader's worker died")
"""How reasons begin that say nothing of the gold: another time it may be decided."""


class NoGold(ValueError):
    """A value that is no gold answer, and why: a sentence about it."""


def read_gold(value: object) -> str:
    """The gold answer in a value of somebody's data, as text. Raises NoGold.

    value: a text, a number, a list of which all are required, an object that holds one of these (HOLDERS), or a text
    that holds one of these as JSON; of a worked solution what follows its last `####`, or stands in its last box.
    Examples: "9.00\\n#### 18" -> "18", ["2", "3"] -> "2, 3", {"ground_truth": "18", "style": "rule"} -> "18"
    """
    if hasattr(value, "tolist"):  # numpy's
        value = value.tolist()
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise NoGold("it is bytes that are no text") from None
    if isinstance(value, str):
        inside = _inside(value)
        return _read_text(inside) if isinstance(inside, str) else read_gold(inside)
    if isinstance(value, list | tuple):
        return _read_list(value)
    if isinstance(value, dict):
        return _read_object(value)
    if value is None:
        raise NoGold("it is missing")
    return _read_number(value)


def _inside(text: str) -> Any:
    """The value that a text holds as JSON, or as Python prints it; else the text itself.

    "[0, 1]" stays a text: it is an interval. Raises NoGold for what begins as such a value and is none.
    """
    bare = text.strip()
    if bare[:1] + bare[-1:] not in ("[]", "{}", "()", '""'):
        return text
    try:
        value = read_json(bare)
    except ValueError as error:
        if not re.match(r"""[\[({]\s*['"]""", bare):
            return text
        try:
            value = read_printed(bare)
        except ValueError:
            raise NoGold(f"{bare!r:.60} begins as a list or an object and {error}") from None
    return text if _NUMBERS.fullmatch(bare) else value


def _read_text(text: str) -> str:
    """The gold in a text: behind the marker on its last line, in its last box, or all of it."""
    before, marker, behind = text.rstrip().rpartition("####")
    on_one_line = marker and "\n" not in behind.strip()
    if on_one_line:
        text = behind.strip()
    if r"\boxed" in text or r"\fbox" in text:
        text = _joined(extract_answers(text))
        if not text:
            raise NoGold(r"its \boxed{} is empty or has no end")
    elif marker and not on_one_line:
        raise NoGold("more than one line stands behind its last ####")
    if not text.strip():
        raise NoGold("nothing stands behind its ####" if before.strip() else "it is empty")
    return text


def _read_list(parts: Sequence[object]) -> str:
    """All the golds of a list in one text, which the grader reads as a list."""
    if not parts:
        raise NoGold("it is an empty list")
    flat = [part[0] if isinstance(part, list | tuple) and len(part) == 1 else part for part in parts]
    if any(isinstance(part, list | tuple) for part in flat):
        raise NoGold("it is a list of lists, which does not say what belongs together")
    try:
        return _joined([read_gold(part) for part in flat])
    except NoGold as error:
        raise NoGold(f"it is a list, and of one of its parts: {error}") from None


def _read_object(value: dict) -> str:
    """The gold under one of HOLDERS. Raises NoGold where two hold different ones: nobody knows which one is meant."""
    held = {key: value[key] for key in HOLDERS if key in value}
    if not held:
        names, known = ", ".join(map(str, value))[:80] or "no keys", ", ".join(HOLDERS)
        raise NoGold(f"it is an object with {names} and none of {known}; name the one that is meant by a dot")
    try:
        read = {key: read_gold(inner) for key, inner in held.items() if inner is not None}
    except RecursionError:
        raise NoGold("it is nested too deeply") from None
    if not read:
        raise NoGold("it is missing")
    if len({gold.strip() for gold in read.values()}) > 1:
        told = ", ".join(f"{gold!r:.40} under {key}" for key, gold in read.items())
        raise NoGold(f"it is an object with {told}; name the one that is meant by a dot")
    return next(iter(read.values()))


def _joined(parts: list[str]) -> str:
    """Answers in one text. One with a comma of its own, outside brackets, asks for semicolons between them."""
    between = "; " if any(len(split_top(part, _COMMA)) > 1 for part in parts) else ", "
    return between.join(parts) if len(parts) > 1 else "".join(parts)


def _read_number(value: object) -> str:
    """A number as it is written. Raises NoGold for any other type, and for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise NoGold(f"it is {value!r:.40} of type {type(value).__name__}, neither text nor number; write it as text")
    if not isinstance(value, int) and not math.isfinite(value):
        raise NoGold(f"it is {value}, which is no number".replace("nan", "NaN"))
    try:
        text = format(value, "f") if isinstance(value, Decimal) else str(value)
    except ValueError:
        raise NoGold("it is an integer of more digits than Python writes") from None
    return text if isinstance(value, int) else re.sub(r"\.0+$", "", text)


def why_ungradable(gold: str, grader: Grader | None = None) -> str | None:
    """Why no answer can be graded against a gold that read_gold gave, a sentence about it; None where it can.

    grader: whose limits and workers to use where its spelling does not tell; by default the verifier's own.
    """
    if _PLAIN.fullmatch(gold):
        return None
    why, form = _read(gold)
    return why or (_by_algebra(gold, grader) if _formula(form) else None)


def why_no_answer(gold: str) -> str | None:
    """Why a text is no answer, by its spelling alone; None where it may be one."""
    return _read(gold)[0]


def _read(gold: str) -> tuple[str | None, object]:
    """Why a text is no answer, by its spelling alone, and else its form."""
    if why := _why_no_form(gold):
        return why, None
    try:
        form = readings(clean(gold), gold=True)[0]
    except (ValueError, ArithmeticError, RecursionError) as error:
        return f"{gold!r:.60} cannot be read as mathematics ({error})", None
    return (f"{gold!r:.60} holds nothing to compare with" if form == Math("") else None), form


def _why_no_form(gold: str) -> str | None:
    """Why a text is no answer, without reading it as mathematics."""
    if len(gold) > MAX_ANSWER_CHARS:
        return f"it is longer than {MAX_ANSWER_CHARS:,} characters"
    # "none" may be one; "None" is what Python writes for nothing
    if gold.strip(" \n\t.$()[]<>*_#!").casefold() in PLACEHOLDERS or gold.strip() == "None":
        return f"{gold.strip()!r} is no answer"
    if _LOST_BACKSLASH.search(gold):
        return f"it holds a control character, as where a backslash was lost: {gold!r:.60}"
    if len(re.findall(r"[^\W\d_]{2,}", re.sub(r"\\[a-zA-Z]+", " ", gold))) > MOST_WORDS:
        return f"it is a text of more than {MOST_WORDS} words: {gold!r:.60}"
    return None


def _formula(form: object) -> bool:
    """Whether a form, or a part of it, is a formula, which workers must read."""
    if isinstance(form, Math | Relation):
        return True
    parts = form if isinstance(form, tuple) else []
    if is_dataclass(form):
        parts = [getattr(form, f.name) for f in fields(form)]
    return any(map(_formula, parts))


def _by_algebra(gold: str, grader: Grader | None) -> str | None:
    """Why the grader cannot decide on another answer than the gold itself; None where it can."""
    verdict = (grader.verify if grader else verify)(gold, _SOUND_ANSWER)
    if verdict.verdict != "failed" or verdict.reason.startswith(_FOR_NOW):
        return None
    return f"{gold!r:.60} cannot be read as mathematics ({verdict.reason.partition(':')[0]:.40})"


@dataclass(frozen=True, slots=True)
class Golds:
    """The gold answers of a dataset.

    Example: Golds({0: "18"}, {1: "it is NaN, which is no number"}, {"18": "number"}, untried=0)
    """

    texts: dict[int, str]
    """Those that can be graded, by the number of their row, counted from 0."""
    faults: dict[int, str]
    """Why the others cannot be."""
    kinds: dict[str, str]
    """What the grader takes each different one for, as kinds.py calls it."""
    untried: int
    """Different ones that only algebra can read and nobody tried to, because there are more than MOST_BY_ALGEBRA."""

    @property
    def too_many(self) -> bool:
        """Whether more than MOST_UNGRADABLE of them cannot be graded."""
        return len(self.faults) > MOST_UNGRADABLE * (len(self.texts) + len(self.faults))

    @property
    def told(self) -> str:
        """How many cannot be graded, which, and why."""
        return (
            f"{len(self.faults)} of {len(self.texts) + len(self.faults)} rows have no gold answer that can be graded "
            f"(counted from 0; {rows_named(self.faults)})"
        )


def read_golds(values: Iterable[object]) -> Golds:
    """All golds of a dataset: read, and each different one judged once."""
    texts: dict[int, str] = {}
    faults: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            texts[row] = read_gold(value)
        except NoGold as error:
            faults[row] = str(error)
    reasons, kinds, untried = _judge(dict.fromkeys(texts.values()))
    faults |= {row: reasons[gold] for row, gold in texts.items() if gold in reasons}
    sound = {row: gold for row, gold in texts.items() if gold not in reasons}
    return Golds(sound, dict(sorted(faults.items())), kinds, untried)


def _judge(golds: Iterable[str]) -> tuple[dict[str, str], dict[str, str], int]:
    """({gold: why it is ungradable}, {gold: its kind}, number of those that nobody tried). golds: each once."""
    reasons: dict[str, str] = {}
    kinds: dict[str, str] = {}
    formulas: list[str] = []
    for gold in golds:
        if _PLAIN.fullmatch(gold):
            kinds[gold] = NUMBER
            continue
        why, form = _read(gold)
        if why:
            reasons[gold] = why
            continue
        kinds[gold] = kind_of(form)
        if _formula(form):
            formulas.append(gold)
    if formulas:
        grader = Grader(workers=min(8, os.cpu_count() or 1), seconds=2)  # one that takes longer is not counted
        with ThreadPoolExecutor(2 * grader.workers.count) as threads:
            tried = formulas[:MOST_BY_ALGEBRA]
            told = threads.map(lambda gold: _by_algebra(gold, grader), tried)
            reasons |= {gold: why for gold, why in zip(tried, told, strict=True) if why}
        grader.close()
    return reasons, kinds, max(0, len(formulas) - MOST_BY_ALGEBRA)
