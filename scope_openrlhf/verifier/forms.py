"""A cleaned answer -> what kind of thing it is: number, list, interval, matrix, relation, words, or mathematics for sympy to judge.

Everything here is plain string work, in one pass or a few: no sympy, nothing evaluated.
"""

import itertools
import re
from dataclasses import dataclass, replace

from scope_openrlhf.verifier.numbers import Number, parse_number
from scope_openrlhf.verifier.units import split_unit
from scope_openrlhf.verifier.vocabulary import BASES, NO_UNITS

MAX_DEPTH = 30


class TooDeep(ValueError):
    """Brackets nested beyond MAX_DEPTH."""


@dataclass(frozen=True)
class Math:
    text: str
    unit: str = ""


@dataclass(frozen=True)
class Words:
    text: str
    """Folded: lower case, no articles, no punctuation at the ends."""
    plain: str = ""
    """The same as it was written, where no \\text{} says that it is none of a formula."""


@dataclass(frozen=True)
class Items:
    """Several answers or a set, in any order."""

    items: tuple
    names: tuple[str, ...] = ()
    """Left sides where each item has another one: "x = 1, y = 2"."""


@dataclass(frozen=True)
class Bracket:
    """(a, b], (a, b, c), [a, b]: an interval or a tuple."""

    opened: str
    items: tuple
    closed: str


@dataclass(frozen=True)
class Union:
    parts: tuple


@dataclass(frozen=True)
class Matrix:
    rows: tuple[tuple, ...]


@dataclass(frozen=True)
class Relation:
    left: str
    sign: str
    """=, !=, < or <= (greater is turned round)."""
    right: str


@dataclass(frozen=True)
class Named:
    """x = 3."""

    name: str
    value: object


@dataclass(frozen=True)
class Based:
    """101_2. A number in a stated base is its digits and that base."""

    digits: str
    base: str


@dataclass(frozen=True)
class Ratio:
    parts: tuple


_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
_SIGNS = {"=": "=", "<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\in": "in", r"\approx": "~"}
_SIGN = re.compile(r"\\(?:le|ge|ne|in|approx)(?![a-zA-Z])|[=<>]")
_NAME = re.compile(
    r"(?:\\[a-zA-Z]+(?:\{[a-zA-Z]+\})?|[a-zA-Z])(?:_(?:\{[^{}]*\}|\w))?'*(?:\([^()=]*\))?|\\frac\{d\^?\{?\d?\}?\s*\w*\}\{d\s*\w\^?\{?\d?\}?\}"
    r"|\\(?:sin|cos|tan|cot|sec|csc|ln|log|angle|overline|triangle|vec)\s*\{?\s*\\?\w+\s*\}?|\|?[A-Z]{1,4}\|?|\[[A-Z]+\]|P\([^()=]*\)|⟦[^⟧]*⟧|[a-zA-Z]{3,}"
)


_SIGNED = re.compile(r"\\pm(?![a-zA-Z])|\\mp(?![a-zA-Z])|\+/-")
_IN_BASE = re.compile(
    r"[({⟦]*([0-9A-Za-z]*\d[0-9A-Za-z]*)[)}⟧]*\s*(?:_\s*(?:\{\s*[⟦(]*\s*(\w+)\s*[⟧)]*\s*\}|(\d))(?:\s*⟦[^⟧]*⟧)?|⟦\s*\(?(?:in )?base[ -](\w+)\)?\s*⟧)"
)


def split_top(text: str, separator: re.Pattern) -> list[str]:
    """The pieces between separators that stand in no bracket."""
    pieces, depth, start, i = [], 0, 0, 0
    while i < len(text):
        c = text[i]
        if c == "⟦" and not separator.match(text, i):
            i = max(text.find("⟧", i), i)
        elif text.startswith(r"\begin", i):
            depth += 1
        elif text.startswith(r"\end", i):
            depth -= 1
        elif c == "\\" and text[i + 1 : i + 2] in ("{", "}"):
            depth += 1 if text[i + 1] == "{" else -1
            i += 1
        elif c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
        elif depth == 0 and (match := separator.match(text, i)) and match.end() > i:
            pieces.append(text[start:i])
            start = i = match.end()
            continue
        i += 1
    return [*pieces, text[start:]]


_LIST = re.compile(r"[,;]|⟦\s*(?:,\s*)?(?:and|or)\s*⟧|\s(?:and|or)\s")
_SEMICOLON = re.compile(r";")
_ALTERNATIVE = re.compile(r"⟦\s*(?:,\s*)?or\s*⟧|\sor\s")
_MATRIX = re.compile(r"\\begin\{([pbB]?matrix|smallmatrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}", re.DOTALL)
_LANGLE = re.compile(r"\\langle(?![a-zA-Z])(.*)\\rangle$")


def parse(text: str, plain_units: bool = True, commas_separate: bool = False, depth: int = 0):
    """A cleaned answer as one of the forms above. Raises TooDeep.

    plain_units: "5 m" is 5 metres rather than five times m. commas_separate: "1,234" is two numbers rather than one.
    """
    if depth > MAX_DEPTH or (depth == 0 and _depth(text) > MAX_DEPTH):
        raise TooDeep(f"nested deeper than {MAX_DEPTH}")

    def inner(piece: str):
        return parse(piece, plain_units, commas_separate, depth + 1)

    text = text.strip()
    while text[:1] == "{" and _closes_at_end(text):
        text = text[1:-1].strip()
    if match := _MATRIX.search(text):
        rows = [
            tuple(inner(cell) for cell in split_top(row, re.compile("&"))) for row in match[2].split("⏎") if row.strip()
        ]
        factor, behind = text[: match.start()].strip().rstrip("([ "), text[match.end() :].strip(" )].")
        if not factor and not behind:
            return Matrix(tuple(rows))
        if not behind and not re.search(r"[=<>⟦]|\\begin|\\in(?![a-z])", factor):
            cells = [split_top(row, re.compile("&")) for row in match[2].split("⏎") if row.strip()]
            scale = "-1" if factor == "-" else factor.removesuffix(r"\cdot").removesuffix(r"\times").strip()
            return Matrix(tuple(tuple(Math(rf"({scale})\cdot({cell.strip()})") for cell in row) for row in cells))
    if (match := _LANGLE.match(text)) is not None:
        return Bracket("(", tuple(inner(p) for p in split_top(match[1], _LIST)), ")")
    if text.startswith(r"\{") and text.endswith(r"\}") and _closes_at_end(text):
        return _set(text[2:-2], inner)
    if match := _IN_BASE.fullmatch(text):
        base = match[2] or match[3] or match[4]
        return Based(match[1].lstrip("0").upper() or "0", BASES.get(base.lower(), base))
    if not (commas_separate and "," in text) and (number := _quantity(text, plain_units)):
        return number
    parts = split_top(text, re.compile(r"\\cup(?![a-zA-Z])"))
    if len(parts) > 1:
        return Union(tuple(inner(p) for p in parts))
    items = split_top(text, _SEMICOLON)
    items = items if len(items) > 1 else split_top(text, _LIST)
    items = [p for p in items if p.strip(" .")]
    if len(items) > 1:
        return _several(text, items, inner)
    if len(parts) == 1 and text[:1] in ("(", "[", "]") and text[-1:] in (")", "]", "[") and len(text) > 1:
        pieces = split_top(text[1:-1], _LIST)
        if len(pieces) > 1 and (text[0] == "]" or text[-1] == "[" or _closes_at_end(text)):
            turned = {"]": "(", "[": ")"}
            opened, closed = (
                (turned["]"] if text[0] == "]" else text[0]),
                (turned["["] if text[-1] == "[" else text[-1]),
            )
            if opened + closed == "()" and [p.strip(" +").replace(" ", "") for p in pieces] == [r"-\infty", r"\infty"]:
                return Math(r"\mathbb{R}")
            return _with_signs(opened, [inner(p) for p in pieces], closed)
    return _single(text, plain_units, inner)


def _depth(text: str) -> int:
    deepest = depth = 0
    for c in text:
        depth += (c in _OPEN) - (c in _CLOSE)
        deepest = max(deepest, depth)
    return deepest


def _quantity(text: str, plain_units: bool) -> Number | None:
    """A number, with the unit behind it or the currency before it."""
    if number := parse_number(text):
        return number
    if (lead := re.match(r"([+-]?)⟦(dollars|euros|GBP)⟧\s*", text)) and (
        number := parse_number(lead[1] + text[lead.end() :])
    ):
        return replace(number, unit=lead[2])
    value, unit = split_unit(text, plain_units)
    number = parse_number(value) if value != text else None
    return number and replace(number, unit=unit)


def _with_signs(opened: str, items: list, closed: str):
    """(0, ±2) is two pairs, (±3, ±2) are four."""
    choices = [i.items if isinstance(i, Items) and not i.names else (i,) for i in items]
    if all(len(c) == 1 for c in choices) or not all(len(c) in (1, 2) for c in choices) or len(items) > 4:
        return Bracket(opened, tuple(items), closed)
    return Items(tuple(Bracket(opened, chosen, closed) for chosen in itertools.product(*choices)))


def _closes_at_end(text: str) -> bool:
    """Whether the bracket that opens the text closes with its last character."""
    depth, i = 0, 0
    while i < len(text):
        step = 2 if text[i] == "\\" and text[i + 1 : i + 2] in ("{", "}") else 1
        c = text[i + step - 1]
        depth += (c in _OPEN) - (c in _CLOSE)
        i += step
        if depth == 0:
            return i == len(text)
    return False


def _set(content: str, inner):
    """{1, 2}; {x : 2 < x}, {x in R | 2 < x} are their conditions."""
    parts = split_top(content, re.compile(r":|\\mid(?![a-zA-Z])|\|"))
    if len(parts) == 2 and re.fullmatch(r"\s*[a-zA-Z]\s*(\\in.*)?", parts[0]):
        return inner(parts[1])
    return Items(
        tuple(itertools.chain.from_iterable(_spread(inner(p)) for p in split_top(content, _LIST) if p.strip()))
    )


def _several(text: str, pieces: list[str], inner):
    """A list; "x = 1, x = 2" and "x = 1, 2" are their values, "x = 1, y = 2" keeps the names; inequalities with "or" are a union."""
    sides = [split_top(p, re.compile("=")) for p in pieces]
    names = [s[0].strip() if len(s) == 2 and _NAME.fullmatch(s[0].strip()) else "" for s in sides]
    if names[0] and all(n in ("", names[0]) for n in names):
        return Items(tuple(inner(s[-1]) for s in sides))
    if all(names) and len(set(names)) == len(names):
        return Items(tuple(inner(s[1]) for s in sides), tuple(names))
    forms = tuple(itertools.chain.from_iterable(_spread(inner(p)) for p in pieces))
    if all(isinstance(f, Bracket | Union) for f in forms) and len(split_top(text, _ALTERNATIVE)) > 1:
        return Union(forms)
    return Items(forms)


def _spread(form) -> tuple:
    """±2 inside a list is two of its items."""
    return form.items if isinstance(form, Items) and not form.names else (form,)


def _single(text: str, plain_units: bool, inner):
    lead = re.match(r"⟦([^⟧]*)⟧\s*[:=]?\s*(?=[^\s⟦])", text)
    if (
        lead
        and not re.match(r"[\^/]", text[lead.end() :])
        and not (NO_UNITS - {"is"}) & set(re.findall("[a-z]+", lead[1].lower()))
    ):
        return inner(text[lead.end() :])
    text = re.sub(r"^(?:\\approx|=|:)\s*", "", text)
    if match := re.fullmatch(
        r"(?:the answer is|answer|approximately|about|exactly|equals|is)\s*:?\s+(?=\S)(.*)", text, re.IGNORECASE
    ):
        return inner(match[1])
    relation = _relation(text, inner)
    if relation is not None:
        return relation
    if re.search(r"\\(?:pm|mp)(?![a-zA-Z])|\+/-", text):
        return Items(tuple(inner(_SIGNED.sub(lambda m, s=s: s[m[0] == r"\mp"], text)) for s in ("+-", "-+")))  # type: ignore[misc]
    value, unit = split_unit(text, plain_units)
    if value != text:
        return Math(value, unit)
    parts = split_top(text, re.compile(":"))
    if len(parts) > 1 and all(parse_number(p) for p in parts):
        return Ratio(tuple(parse_number(p) for p in parts))
    if "⟦" in text and re.fullmatch(r"(?:⟦[^⟧]*⟧|[\s.,!?])*", text):
        return Words(fold(re.sub("[⟦⟧]", " ", text)))
    if (
        re.fullmatch(r"\(?[A-Za-z][A-Za-z '\-.!?]*\)?", text)
        and re.search("[A-Za-z]{2}", text)
        and not re.search(" -|- ", text)
    ):
        return Words(fold(text), text)
    return Math(re.sub(r"^\(([A-Z])\)$", r"\1", text))


def _relation(text: str, inner):
    """x = 3 is its value, 2 < x < 5 an interval; None where there is no relation sign outside brackets."""
    pieces = split_top(text, _SIGN)
    if len(pieces) < 2:
        return None
    signs, at = [], len(pieces[0])
    for piece in pieces[1:]:
        match = _SIGN.match(text, at)
        assert match
        signs.append(_SIGNS[match[0]])
        at = match.end() + len(piece)
    pieces = [p.strip() for p in pieces]
    if signs == ["in"]:
        return inner(pieces[1])
    if "~" in signs and all(s in "=~" for s in signs):  # what stands before the first "about" is exact
        exact = signs.index("~")
        return inner(" = ".join(pieces[: exact + 1])) if exact or not _is_name(pieces[0]) else inner(pieces[1])
    if all(s == "=" for s in signs):
        first, last = pieces[0], pieces[-1]
        if not first:
            return inner(last)
        if _is_name(first) or (
            len(pieces) == 2 and first[:1] == "(" and re.fullmatch(r"\([a-zA-Z\s,_{}\d\\]+\)", first)
        ):
            return Named(first.replace(" ", ""), inner(last))
        if len(pieces) == 2 and _is_name(last) and parse_number(first):
            return Named(last, inner(first))
        if not any(re.search("[a-zA-Z⟦]", re.sub(r"\\[a-zA-Z]+", "", p)) for p in pieces) and parse_number(
            last
        ):  # arithmetic: 1 + 2 = 3
            number = parse_number(first)
            return inner(last) if number is None or number == parse_number(last) else Relation(first, "=", last)
        return Relation(first, "=", last)
    greater = {">": "<", ">=": "<="}
    if all(s in greater for s in signs):
        pieces, signs = pieces[::-1], [greater[s] for s in signs[::-1]]
    if all(s in ("<", "<=") for s in signs):
        if len(pieces) == 3 and _is_name(pieces[1]):
            return Bracket(
                "[" if signs[0] == "<=" else "(", (inner(pieces[0]), inner(pieces[2])), "]" if signs[1] == "<=" else ")"
            )
        if len(pieces) == 2 and _is_name(pieces[0]) and not _is_name(pieces[1]):
            return Bracket("(", (Math(r"-\infty"), inner(pieces[1])), "]" if signs[0] == "<=" else ")")
        if len(pieces) == 2 and _is_name(pieces[1]) and not _is_name(pieces[0]):
            return Bracket("[" if signs[0] == "<=" else "(", (inner(pieces[0]), Math(r"\infty")), ")")
    return Relation(pieces[0], signs[0], pieces[1]) if len(pieces) == 2 else Math(text)


def _is_name(text: str) -> bool:
    return (
        bool(_NAME.fullmatch(text))
        and not text[:1].isdigit()
        and not parse_number(text)
        and text not in (r"\pi", r"\infty", "e", "i")
    )


def fold(text: str) -> str:
    words = re.sub(r"[^\w\s]", " ", text.casefold()).split()
    return " ".join(w for w in words if w not in ("a", "an", "the", "is", "are", "answer") or len(words) == 1)
