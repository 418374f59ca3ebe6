"""Reading of a cleaned answer as one of the forms, by string work alone: no sympy, nothing evaluated."""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace

from scope_openrlhf.verifier.brackets import closes_at_end, deepest, split_top
from scope_openrlhf.verifier.forms import Based, Bracket, Form, Items, Math, Matrix, Ratio, SetUnion, Words
from scope_openrlhf.verifier.numbers import Number, parse_number
from scope_openrlhf.verifier.relations import NAME, parse_relation
from scope_openrlhf.verifier.units import split_unit
from scope_openrlhf.verifier.vocabulary import BASES, NO_UNITS

MAX_DEPTH = 30

_SIGNED = re.compile(r"\\pm(?![a-zA-Z])|\\mp(?![a-zA-Z])|\+/-")
_IN_BASE = re.compile(
    r"[({⟦]*([0-9A-Za-z]*\d[0-9A-Za-z]*)[)}⟧]*\s*"
    r"(?:_\s*(?:\{\s*[⟦(]*\s*(\w+)\s*[⟧)]*\s*\}|(\d))(?:\s*⟦[^⟧]*⟧)?|⟦\s*\(?(?:in )?base[ -](\w+)\)?\s*⟧)"
)
_LIST = re.compile(r"[,;]|⟦\s*(?:,\s*)?(?:and|or)\s*⟧|\s(?:and|or)\s")
_SEMICOLON = re.compile(r";")
_ALTERNATIVE = re.compile(r"⟦\s*(?:,\s*)?or\s*⟧|\sor\s")
_MATRIX = re.compile(r"\\begin\{([pbB]?matrix|smallmatrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}", re.DOTALL)
_LANGLE = re.compile(r"\\langle(?![a-zA-Z])(.*)\\rangle$")
_SAID = re.compile(r"(?:the answer is|answer|approximately|about|exactly|equals|is)\s*:?\s+(?=\S)(.*)", re.IGNORECASE)

Inner = Callable[[str], Form]
"""parse() for a piece of the answer, one level deeper."""


class TooDeep(ValueError):
    """Brackets nested beyond MAX_DEPTH."""


def parse(text: str, plain_units: bool = True, commas_separate: bool = False, depth: int = 0) -> Form:
    """Read a cleaned answer.

    plain_units: "5 m" is 5 metres rather than five times m.
    commas_separate: "1,234" is two numbers rather than one.
    depth: number of forms around this one.
    Raises TooDeep.
    """
    if depth > MAX_DEPTH or (depth == 0 and deepest(text) > MAX_DEPTH):
        raise TooDeep(f"nested deeper than {MAX_DEPTH}")

    def inner(piece: str) -> Form:
        return parse(piece, plain_units, commas_separate, depth + 1)

    text = text.strip()
    while text[:1] == "{" and closes_at_end(text):
        text = text[1:-1].strip()
    if matrix := _matrix(text, inner):
        return matrix
    if match := _LANGLE.match(text):
        return Bracket("(", tuple(inner(p) for p in split_top(match[1], _LIST)), ")")
    if text.startswith(r"\{") and text.endswith(r"\}") and closes_at_end(text):
        return _set(text[2:-2], inner)
    if match := _IN_BASE.fullmatch(text):
        base = match[2] or match[3] or match[4]
        return Based(match[1].lstrip("0").upper() or "0", BASES.get(base.lower(), base))
    if not (commas_separate and "," in text) and (number := _quantity(text, plain_units)):
        return number
    parts = split_top(text, re.compile(r"\\cup(?![a-zA-Z])"))
    if len(parts) > 1:
        return SetUnion(tuple(inner(p) for p in parts))
    items = split_top(text, _SEMICOLON)
    items = items if len(items) > 1 else split_top(text, _LIST)
    items = [p for p in items if p.strip(" .")]
    if len(items) > 1:
        return _several(text, items, inner)
    return _bracket(text, inner) or _single(text, plain_units, inner)


def _matrix(text: str, inner: Inner) -> Matrix | None:
    """Read a matrix, with the factor before it multiplied into its cells; None for anything else."""
    match = _MATRIX.search(text)
    if not match:
        return None
    cells = [split_top(row, re.compile("&")) for row in match[2].split("⏎") if row.strip()]
    rows = tuple(tuple(inner(cell) for cell in row) for row in cells)
    factor, behind = text[: match.start()].strip().rstrip("([ "), text[match.end() :].strip(" )].")
    if not factor and not behind:
        return Matrix(rows)
    if behind or re.search(r"[=<>⟦]|\\begin|\\in(?![a-z])", factor):
        return None
    scale = "-1" if factor == "-" else factor.removesuffix(r"\cdot").removesuffix(r"\times").strip()
    return Matrix(tuple(tuple(Math(rf"({scale})\cdot({cell.strip()})") for cell in row) for row in cells))


def _quantity(text: str, plain_units: bool) -> Number | None:
    """Read a number, with the unit behind it or the currency before it; None for anything else."""
    if number := parse_number(text):
        return number
    if (lead := re.match(r"([+-]?)⟦(dollars|euros|GBP)⟧\s*", text)) and (
        number := parse_number(lead[1] + text[lead.end() :])
    ):
        return replace(number, unit=lead[2])
    value, unit = split_unit(text, plain_units)
    number = parse_number(value) if value != text else None
    return number and replace(number, unit=unit)


def _bracket(text: str, inner: Inner) -> Form | None:
    """Read a tuple or an interval, also with its ends turned outwards: ]1, 2[; None for anything else."""
    if not (text[:1] in ("(", "[", "]") and text[-1:] in (")", "]", "[") and len(text) > 1):
        return None
    pieces = split_top(text[1:-1], _LIST)
    if not (len(pieces) > 1 and (text[0] == "]" or text[-1] == "[" or closes_at_end(text))):
        return None
    opened, closed = "(" if text[0] == "]" else text[0], ")" if text[-1] == "[" else text[-1]
    if opened + closed == "()" and [p.strip(" +").replace(" ", "") for p in pieces] == [r"-\infty", r"\infty"]:
        return Math(r"\mathbb{R}")
    return _with_signs(opened, [inner(p) for p in pieces], closed)


def _with_signs(opened: str, items: list[Form], closed: str) -> Bracket | Items:
    """Write out plus-minus signs: (0, ±2) is two pairs, (±3, ±2) are four."""
    choices = [_spread(i) for i in items]
    if all(len(c) == 1 for c in choices) or not all(len(c) in (1, 2) for c in choices) or len(items) > 4:
        return Bracket(opened, tuple(items), closed)
    return Items(tuple(Bracket(opened, chosen, closed) for chosen in itertools.product(*choices)))


def _set(content: str, inner: Inner) -> Form:
    """Read {1, 2} as its items, {x : 2 < x} and {x in R | 2 < x} as their conditions."""
    parts = split_top(content, re.compile(r":|\\mid(?![a-zA-Z])|\|"))
    if len(parts) == 2 and re.fullmatch(r"\s*[a-zA-Z]\s*(\\in.*)?", parts[0]):
        return inner(parts[1])
    return Items(
        tuple(itertools.chain.from_iterable(_spread(inner(p)) for p in split_top(content, _LIST) if p.strip()))
    )


def _several(text: str, pieces: list[str], inner: Inner) -> Items | SetUnion:
    """Read a list: "x = 1, x = 2" and "x = 1, 2" are their values, "x = 1, y = 2" keeps the names.

    Inequalities with "or" between them are a union.
    """
    sides = [split_top(p, re.compile("=")) for p in pieces]
    names = [s[0].strip() if len(s) == 2 and NAME.fullmatch(s[0].strip()) else "" for s in sides]
    if names[0] and all(n in ("", names[0]) for n in names):
        return Items(tuple(inner(s[-1]) for s in sides))
    if all(names) and len(set(names)) == len(names):
        return Items(tuple(inner(s[1]) for s in sides), tuple(names))
    forms = tuple(itertools.chain.from_iterable(_spread(inner(p)) for p in pieces))
    if all(isinstance(f, Bracket | SetUnion) for f in forms) and len(split_top(text, _ALTERNATIVE)) > 1:
        return SetUnion(forms)
    return Items(forms)


def _spread(form: Form) -> tuple[Form, ...]:
    """Items of a list without names, so that ±2 inside a list is two of its items; else the form itself."""
    return form.items if isinstance(form, Items) and not form.names else (form,)


def _single(text: str, plain_units: bool, inner: Inner) -> Form:
    """Read an answer that is no list and stands in no bracket."""
    lead = re.match(r"⟦([^⟧]*)⟧\s*[:=]?\s*(?=[^\s⟦])", text)
    if (
        lead
        and not re.match(r"[\^/]", text[lead.end() :])
        and not (NO_UNITS - {"is"}) & set(re.findall("[a-z]+", lead[1].lower()))
    ):
        return inner(text[lead.end() :])
    text = re.sub(r"^(?:\\approx|=|:)\s*", "", text)
    if match := _SAID.fullmatch(text):
        return inner(match[1])
    relation = parse_relation(text, inner)
    if relation is not None:
        return relation
    if _SIGNED.search(text):
        return Items((inner(_with_sign(text, "+", "-")), inner(_with_sign(text, "-", "+"))))
    value, unit = split_unit(text, plain_units)
    if value != text:
        return Math(value, unit)
    parts = split_top(text, re.compile(":"))
    numbers = [number for p in parts if (number := parse_number(p))] if len(parts) > 1 else []
    if numbers and len(numbers) == len(parts):
        return Ratio(tuple(numbers))
    if "⟦" in text and re.fullmatch(r"(?:⟦[^⟧]*⟧|[\s.,!?])*", text):
        return Words(_fold(re.sub("[⟦⟧]", " ", text)))
    if (
        re.fullmatch(r"\(?[A-Za-z][A-Za-z '\-.!?]*\)?", text)
        and re.search("[A-Za-z]{2}", text)
        and not re.search(" -|- ", text)
    ):
        return Words(_fold(text), text)
    return Math(re.sub(r"^\(([A-Z])\)$", r"\1", text))


def _with_sign(text: str, upper: str, lower: str) -> str:
    """Replace ± by its upper sign and ∓ by the lower one that goes with it."""
    return _SIGNED.sub(lambda m: lower if m[0] == r"\mp" else upper, text)


def _fold(text: str) -> str:
    """Lower case without punctuation, articles and "is"; a word that stands alone is kept."""
    words = re.sub(r"[^\w\s]", " ", text.casefold()).split()
    return " ".join(w for w in words if w not in ("a", "an", "the", "is", "are", "answer") or len(words) == 1)
