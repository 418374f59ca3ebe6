"""Words, times of day, ratios and geometric names of a cleaned answer."""

import re
from collections.abc import Callable
from fractions import Fraction

from scope_openrlhf.verifier.brackets import split_top
from scope_openrlhf.verifier.forms import Clock, Form, Math, Phrase, Ratio, SetMinus, Words
from scope_openrlhf.verifier.numbers import Number
from scope_openrlhf.verifier.vocabulary import MONTHS

_CLOCK = re.compile(
    r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?\s*(?:⟦?\s*\(?([ap])\.?\s?m\.?\)?\s*⟧?|⟦[^⟧]*⟧)?(?:\s*⟦[^⟧]*⟧)?", re.IGNORECASE
)
_HOUR = re.compile(r"(\d{1,2})\s*⟦?\s*([ap])\.?\s?m\.?\s*⟧?", re.IGNORECASE)
_GEOMETRY = re.compile(
    r"\\(angle|measuredangle|triangle|overline|overrightarrow|overleftrightarrow|vec|widehat|overparen|odot)\s*"
    r"\{?\s*([A-Z]'?(?:[A-Z]'?){0,5})\s*\}?"
)
_NAMED_FIGURE = re.compile(
    r"⟦(triangle|angle|segment|line segment|line|ray)\s*⟧?\s*([A-Z]'?(?:[A-Z]'?){0,3})\s*⟧?", re.IGNORECASE
)
_ONLY_WORDS = re.compile(r"(?:⟦[^⟧]*⟧|[\s.,!?()])*")
_PLAIN_WORDS = re.compile(r"\(?[^\W\d_][^\W\d_ '\-.!?]*(?:[ '\-.!?]+[^\W\d_]+)*[.!?]?\)?")
_MEANING = {
    "all real numbers": r"\mathbb{R}", "all reals": r"\mathbb{R}", "all real values": r"\mathbb{R}",
    "real numbers": r"\mathbb{R}", "any real number": r"\mathbb{R}", "every real number": r"\mathbb{R}",
    "all real": r"\mathbb{R}", "set of all real numbers": r"\mathbb{R}", "set of real numbers": r"\mathbb{R}",
    "no solution": r"\emptyset", "no solutions": r"\emptyset", "no real solution": r"\emptyset",
    "no real solutions": r"\emptyset", "empty set": r"\emptyset", "there no solution": r"\emptyset",
    "integers": r"\mathbb{Z}", "all integers": r"\mathbb{Z}", "complex numbers": r"\mathbb{C}",
    "rational numbers": r"\mathbb{Q}", "natural numbers": r"\mathbb{N}", "set of integers": r"\mathbb{Z}",
    "positive real numbers": r"\mathbb{R}^+", "all positive real numbers": r"\mathbb{R}^+",
    "all positive reals": r"\mathbb{R}^+", "positive reals": r"\mathbb{R}^+",
    "infinity": r"\infty", "positive infinity": r"\infty", "negative infinity": r"-\infty",
}  # fmt: skip
_NUMBERS = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14", "fifteen": "15",
    "sixteen": "16", "seventeen": "17", "eighteen": "18", "nineteen": "19", "twenty": "20",
    "half": "1/2", "one half": "1/2", "one third": "1/3", "two thirds": "2/3", "one quarter": "1/4",
    "one fourth": "1/4", "three quarters": "3/4", "three fourths": "3/4", "one fifth": "1/5", "one sixth": "1/6",
}  # fmt: skip
_ALL_BUT = re.compile(
    r"(?:x (?:is|can be) )?all reals?(?: numbers| values)?(?: x)? (?:except|but|other than|except for)"
)
_FILLERS = {"a", "an", "the", "is", "are", "answer"}
_LEADING = {"option", "choice", "options", "answer", "statement", "it", "will", "be", "on"}


def parse_words(text: str, inner: Callable[[str], Form]) -> Form | None:
    """Read a name, a choice or a sentence, and words with mathematics between them; None for anything else."""
    if "⟦" in text:
        if _ONLY_WORDS.fullmatch(text):
            return _meaning(fold(re.sub("[⟦⟧]", " ", text)), "", inner)
        return _phrase(text, inner)
    if (
        _PLAIN_WORDS.fullmatch(text)
        and (re.search(r"[^\W\d_]{2}", text) or not text.isascii())
        and not re.search(" -|- ", text)
    ):
        return _meaning(fold(text), text, inner)
    return None


def _meaning(folded: str, plain: str, inner: Callable[[str], Form]) -> Form:
    """What words mean: a set, infinity or a number where they name one, else themselves."""
    if folded in _NUMBERS:
        return Number(Fraction(_NUMBERS[folded]))
    if folded.startswith("infinitely many"):
        folded = "infinitely many"
    return inner(_MEANING[folded]) if folded in _MEANING else Words(folded, plain)


def _phrase(text: str, inner: Callable[[str], Form]) -> Form | None:
    """Read words with mathematics between them, piece by piece; None where the words stand inside a formula."""
    pieces = [p for p in re.split(r"(⟦[^⟧]*⟧)", text) if p.strip(" .,")]
    if any(p[0] != "⟦" and p.count("{") != p.count("}") for p in pieces):
        return None
    if any(p[0] == "⟦" and not fold(p[1:-1]) and p[1:-1].strip(" .,;:!?()") for p in pieces):
        return None  # a sign that says something, such as ‰
    forms = [Words(fold(p[1:-1])) if p[0] == "⟦" else inner(p.strip()) for p in pieces]
    if isinstance(forms[0], Words) and _ALL_BUT.fullmatch(forms[0].text) and len(forms) == 2:
        return SetMinus(Math(r"\mathbb{R}"), forms[1])
    forms = [f for f in forms if not (isinstance(f, Words) and f.text in ("", "is", "are", "the"))]
    return forms[0] if len(forms) == 1 else Phrase(tuple(forms))


def parse_date(text: str) -> Words | None:
    """Read a day: July 4, 1776, 4 July, 1999-12-31; None for anything else."""
    plain = re.sub(r"[⟦⟧]", " ", text).strip(" .")
    if iso := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", plain):
        return Words(f"date {int(iso[1])} {int(iso[2])} {int(iso[3])}")
    if chinese := re.fullmatch(r"(?:(\d{4}) *年)? *(\d{1,2}) *月 *(\d{1,2}) *[日号]", plain):
        return Words(f"date {chinese[1] or ''} {int(chinese[2])} {int(chinese[3])}")
    words = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|\bof\b|\bthe\b", " ", plain.lower()))
    months = [MONTHS.index(w) + 1 for w in words if w in MONTHS]
    numbers = [int(w) for w in words if w.isdigit()]
    if len(plain) > 40 or len(months) != 1 or len(words) != len(numbers) + 1 or not 1 <= len(numbers) <= 2:
        return None
    days, years = ([n for n in numbers if (n <= 31) is small] for small in (True, False))
    if len(days) > 1 or len(years) > 1:
        return None
    return Words(f"date {years[0] if years else ''} {months[0]} {days[0] if days else ''}")


def fold(text: str) -> str:
    """Lower case without punctuation, articles, "is" and a leading "option"; a word that stands alone is kept."""
    words = re.sub(r"[^\w\s]", " ", text.casefold()).split()
    while len(words) > 1 and words[0] in _LEADING | _FILLERS:
        words = words[1:]
    return " ".join(w for w in words if w not in _FILLERS) or " ".join(words)


def parse_clock(text: str) -> Clock | None:
    """Read 3:20, 3:20 p.m. and 22:25:27; None for anything else."""
    if hour := _HOUR.fullmatch(text):
        return Clock((int(hour[1]), 0), hour[2].lower())
    if not (match := _CLOCK.fullmatch(text)):
        return None
    return Clock(tuple(int(p) for p in match.groups()[:3] if p), (match[4] or "").lower())


def parse_ratio(text: str, inner: Callable[[str], Form]) -> Ratio | None:
    """Read 3:4 and the like, whose parts are values; None for anything else."""
    parts = split_top(text, re.compile(":"))
    if len(parts) < 2 or not all(p.strip() for p in parts):
        return None
    forms = tuple(inner(p) for p in parts)
    return Ratio(forms) if all(isinstance(f, Number | Math) for f in forms) else None


def parse_geometry(text: str) -> Words | None:
    """Read the name of an angle, a triangle or a line; an angle may be read from either side, a segment is its ends."""
    match = _GEOMETRY.fullmatch(text) or _NAMED_FIGURE.fullmatch(text)
    if not match:
        return None
    kind, points = match[1].lower(), re.findall("[A-Z]'?", match[2])
    if kind in ("overline", "overleftrightarrow", "segment", "line segment", "line") and len(points) == 2:
        return Words("".join(sorted(points)).lower(), "".join(sorted(points)))
    if kind in ("triangle", "widehat", "overparen"):
        points = sorted(points)
    elif kind in ("angle", "measuredangle") and len(points) == 3:
        points = min(points, points[::-1])
    kind = {"overrightarrow": "vec", "measuredangle": "angle"}.get(kind, kind)
    return Words(f"{kind} {''.join(points)}")
