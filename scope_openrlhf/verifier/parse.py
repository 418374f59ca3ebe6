"""Reading of a cleaned answer as one of the forms, by string work alone: no sympy, nothing evaluated."""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from scope_openrlhf.verifier.brackets import TooMuch, closes_at_end, deepest, split_top
from scope_openrlhf.verifier.forms import (
    Based,
    Bracket,
    Form,
    Items,
    Math,
    Named,
    Phrase,
    SetMeet,
    SetMinus,
    SetUnion,
    Words,
)
from scope_openrlhf.verifier.numbers import Number, parse_number
from scope_openrlhf.verifier.relations import NAME, REALS, is_condition, parse_congruence, parse_relation
from scope_openrlhf.verifier.sets import both_bounds, of_domain
from scope_openrlhf.verifier.tables import parse_table, spoken_cases, vector_of
from scope_openrlhf.verifier.units import split_unit
from scope_openrlhf.verifier.vocabulary import BASES, CHANGING, LABELS, MULTIPLIERS
from scope_openrlhf.verifier.wording import parse_clock, parse_date, parse_geometry, parse_ratio, parse_words

MAX_DEPTH = 30
MAX_PIECES = 300

_SIGNED = re.compile(r"\\pm(?![a-zA-Z])|\\mp(?![a-zA-Z])|\+/-")
_IN_BASE = re.compile(
    r"[({⟦]*((?=[A-Za-z]*\d)[0-9A-Za-z]++|[A-F]{2,8}(?=[)}⟧]*\s*_\{[⟦(]*1[1-6]))[)}⟧]*\s*"
    r"(?:_\s*(?:\{\s*[⟦(]*\s*(?:base[ -]*)?(\w+)\s*[⟧)]*\s*\}|(\d))(?:\s*⟦[^⟧]*⟧)?"
    r"|⟦?\s*\(?(?:in )?base[ -]*⟧?\s*(\w+)\)?\s*⟧?)"
)
_LIST = re.compile(r"[,;]|⟦\s*(?:,\s*)?(?:and|or|&)\s*⟧|\s(?:and|or)\s|\\&")
_SEMICOLON = re.compile(r";")
_OR = re.compile(r"⟦\s*(?:,\s*)?or\s*⟧|\sor\s")
_AND = re.compile(r"⟦\s*(?:,\s*)?and\s*⟧|\sand\s")
_UNION, _MINUS, _MEET = (
    re.compile(r"\\cup(?![a-zA-Z])"),
    re.compile(r"\\setminus(?![a-zA-Z])|(?<=[\])}])\s*-\s*(?=\\\{)"),
    re.compile(r"\\cap(?![a-zA-Z])"),
)
_TIMES = re.compile(r"\\times(?![a-zA-Z])")
_LANGLE = re.compile(r"\\langle(?![a-zA-Z])(.*)\\rangle$")
_SAID = re.compile(r"(?:the answer is|answer|approximately|about|exactly|equals|is)\s*:?\s+(?=\S)(.*)", re.IGNORECASE)
_HALF_LINE = re.compile(r"\\mathbb\{R\}(?:\^\{?\+\}?|_\{\+\}|_\{>\s*0\}|_\{\\ge\s*0\}|_\{>=0\}|_\+)")
_MULTIPLIED = re.compile(
    rf"(-?[\d.,]*\d)\s*⟦?\s*({'|'.join(MULTIPLIERS)})\s*((?:\s[a-z ]+)?⟧?(?:\s*⟦[^⟧]*⟧)?)", re.IGNORECASE
)
_LEAD = re.compile(r"⟦([^⟧]*)⟧\s*([:=]?)\s*(?=[^\s⟦])")

Inner = Callable[[str], Form]
"""parse() for a piece of the answer, one level deeper."""


def parse(text: str, plain_units: bool = True, depth: int = 0) -> Form:
    """Read a cleaned answer.

    plain_units: "5 m" is 5 metres rather than five times m.
    depth: number of forms around this one.
    Raises TooMuch.
    """
    if depth > MAX_DEPTH or (depth == 0 and deepest(text) > MAX_DEPTH):
        raise TooMuch(f"nested deeper than {MAX_DEPTH}")

    def inner(piece: str) -> Form:
        return parse(piece, plain_units, depth + 1)

    text = text.strip()
    while (text[:1] == "{" and closes_at_end(text)) or (text[:2] == "((" and _doubled(text)):
        text = text[1:-1].strip()
    if _HALF_LINE.fullmatch(text):
        return Bracket("[" if r"\ge" in text else "(", (Number(Fraction(0)), Math(r"\infty")), ")")
    if table := parse_table(text, inner):
        return table
    if match := _LANGLE.match(text):
        return Bracket("(", tuple(inner(p) for p in split_top(match[1], _LIST)), ")")
    if text.startswith(r"\{") and text.endswith(r"\}") and closes_at_end(text):
        return _set(text[2:-2], inner)
    if ("_" in text or "base" in text) and (match := _IN_BASE.fullmatch(text)):
        base = match[2] or match[3] or match[4]
        return Based(match[1].lstrip("0").upper() or "0", BASES.get(base.lower(), base))
    if number := _quantity(text, plain_units):
        return number
    special: Form | None = parse_date(text) or parse_congruence(text, inner) or spoken_cases(text, inner)
    if special or (special := _set_operation(text, inner)):
        return special
    items = split_top(text, _SEMICOLON)
    items = items if len(items) > 1 else split_top(text, _LIST)
    _refuse_many(items)
    items = [p for p in items if p.strip(" .")]
    if len(items) > 1:
        return _several(text, items, inner)
    return _bracket(text, inner) or _single(text, plain_units, inner)


def _refuse_many(pieces: list[str]) -> None:
    """Raise TooMuch for a list that nobody means."""
    if len(pieces) > MAX_PIECES:
        raise TooMuch(f"a list of more than {MAX_PIECES} parts")


def _doubled(text: str) -> bool:
    """Whether a text stands in two pairs of brackets, of which one says nothing."""
    return closes_at_end(text) and closes_at_end(text[1:-1].strip())


def _quantity(text: str, plain_units: bool) -> Number | None:
    """Read a number, with the unit behind it or the currency before it; None for anything else."""
    if number := parse_number(text):
        return number
    if (lead := re.match(r"([+-]?)⟦(dollars|euros|GBP)⟧\s*", text)) and (
        number := _quantity(lead[1] + text[lead.end() :], plain_units=False)
    ):
        return replace(number, unit=lead[2])
    if many := _MULTIPLIED.fullmatch(text):
        behind = many[3].strip(" ⟦⟧")
        times, number = MULTIPLIERS[many[2].lower()], _quantity(f"{many[1]}⟦{behind}⟧" if behind else many[1], True)
        return number and replace(number, value=number.value * times, places=number.places and number.places * times)
    value, unit = split_unit(text, plain_units)
    number = parse_number(value) if value != text else None
    return number and replace(number, unit=unit)


def _set_operation(text: str, inner: Inner) -> Form | None:
    """Read unions, differences and intersections; None where there is none."""
    if len(parts := split_top(text, _UNION)) > 1 and all(p.strip() for p in parts):
        forms = [inner(p) for p in parts]
        if all(isinstance(f, Items) and not f.names for f in forms):
            return Items(tuple(itertools.chain.from_iterable(map(_spread, forms))), braced=True)
        return SetUnion(tuple(forms))
    if len(parts := split_top(text, _TIMES)) == 2 and all(p.strip()[:2] == r"\{" for p in parts):
        sets = [_spread(inner(p)) for p in parts]
        return Items(tuple(Bracket("(", pair, ")") for pair in itertools.product(*sets)), braced=True)
    if len(parts := split_top(text, _MINUS)) > 1 and all(p.strip() for p in parts):
        form = inner(parts[0])
        for part in parts[1:]:
            form = SetMinus(form, inner(part))
        return form
    if len(parts := split_top(text, _MEET)) > 1 and all(p.strip() for p in parts):
        return SetMeet(tuple(inner(p) for p in parts))
    return None


def _bracket(text: str, inner: Inner) -> Form | None:
    """Read a tuple or an interval, also with its ends turned outwards: ]1, 2[; None for anything else."""
    if not (text[:1] in ("(", "[", "]") and text[-1:] in (")", "]", "[") and len(text) > 1):
        return None
    content = text[1:-1].strip()
    while content[:1] == "{" and closes_at_end(content):
        content = content[1:-1].strip()
    pieces = split_top(content, _LIST)
    _refuse_many(pieces)
    if not (len(pieces) > 1 and (text[0] == "]" or text[-1] == "[" or closes_at_end(text))):
        return None
    if r"\mp" in text:  # the lower signs belong together
        return Items((inner(_with_sign(text, "+", "-")), inner(_with_sign(text, "-", "+"))))
    opened, closed = "(" if text[0] == "]" else text[0], ")" if text[-1] == "[" else text[-1]
    if opened + closed == "()" and [p.strip(" +").replace(" ", "") for p in pieces] == [r"-\infty", r"\infty"]:
        return REALS
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
    if len(parts) > 1 and re.fullmatch(r"\s*[a-zA-Z]\s*(\\in.*)?", parts[0]):
        return of_domain(parts[0], inner(content[len(parts[0]) + 1 :].removeprefix("mid")), inner)
    items = tuple(inner(p) for p in split_top(content, _LIST) if p.strip())
    spread = (i.items if isinstance(i, Items) and not i.names and not i.braced else (i,) for i in items)
    return Items(tuple(itertools.chain.from_iterable(spread)), braced=True)


def _several(text: str, pieces: list[str], inner: Inner) -> Form:
    """Read a list: "x = 1, x = 2" and "x = 1, 2" are their values, "x = 1, y = 2" keeps the names.

    Conditions with "or" between them are a union, with "and" between them or with one that says "not" they hold at
    once.
    """
    sides = [split_top(p, re.compile("=")) for p in pieces]
    names = [s[0].strip() if len(s) == 2 and NAME.fullmatch(s[0].strip()) else "" for s in sides]
    values_of_one = all(n == names[0] or len(s) == 1 for n, s in zip(names, sides, strict=True))
    if names[0] and values_of_one and not any(is_condition(p) for p in pieces):
        return Items(tuple(itertools.chain.from_iterable(_spread(inner(s[-1])) for s in sides)))
    if all(names) and len(set(names)) == len(names):
        values = [inner(s[1]) for s in sides]
        if len(split_top(text, _OR)) > 1:  # x = 2 or y = 3 says less than both
            return Phrase((Items(tuple(values), tuple(names)), Words("or")))
        if any(isinstance(v, Items) and not v.names for v in values) and len(values) <= 3:  # x = 0, y = ±1
            ordered = sorted(zip(names, values, strict=True), key=lambda pair: pair[0])
            return _with_signs("(", [value for _, value in ordered], ")")
        return Items(tuple(values), tuple(names))
    forms = tuple(itertools.chain.from_iterable(_spread(inner(p)) for p in pieces))
    conditions = [is_condition(p) for p in pieces]
    letters = {f.variable for f in forms if isinstance(f, Bracket) and f.variable}
    if all(conditions) and len(letters) > 1:  # x > 1, y > 2
        named = tuple(Phrase((Words(f.variable), f)) if isinstance(f, Bracket) else f for f in forms)
        return Phrase((Items(named), Words("or"))) if len(split_top(text, _OR)) > 1 else Items(named)
    if len(split_top(text, _OR)) > 1 and all(re.fullmatch(r"[⟦( ]*[A-Ea-z][⟧). ]*", p) for p in pieces):
        return Phrase((Items(forms), Words("or")))  # B or C chooses neither, p or q is not p and q
    if any(conditions) and len(split_top(text, _OR)) > 1:
        return SetUnion(forms)
    if all(conditions) and (len(split_top(text, _AND)) > 1 or any(isinstance(f, SetMinus) for f in forms)):
        return SetMeet(forms)
    if conditions[0] and isinstance(forms[0], SetMinus) and not any(conditions[1:]):  # x != 1, 4
        return SetMinus(forms[0].whole, Items((forms[0].removed, *forms[1:])))
    if all(conditions) and len(forms) == 2 and (meet := both_bounds(forms)):  # x > -2, x < 6
        return meet
    if all(isinstance(f, Bracket | SetUnion) for f in forms) and len(split_top(text, _OR)) > 1:
        return SetUnion(forms)
    return Items(forms)


def _spread(form: Form) -> tuple[Form, ...]:
    """Items of a list without names, so that ±2 inside a list is two of its items; else the form itself."""
    return form.items if isinstance(form, Items) and not form.names else (form,)


def _single(text: str, plain_units: bool, inner: Inner) -> Form:
    """Read an answer that is no list and stands in no bracket."""
    if form := parse_geometry(text):
        return form
    if letter := re.fullmatch(r"\(?([A-E])[).:]*", text):
        return Math(letter[1])
    if (point := re.fullmatch(r"([ABD-Z]'?)\s*(\(.*,.*\))", text)) and closes_at_end(point[2]):
        return Named(point[1], inner(point[2]))
    if (lead := _LEAD.match(text)) and _only_leads(lead[1], lead[2], text[lead.end() :]):
        return inner(text[lead.end() :])
    text = re.sub(r"^(?:\\approx|=|:)\s*", "", text)
    if match := _SAID.fullmatch(text):
        return inner(match[1])
    if clock := parse_clock(text):
        return clock
    relation = parse_relation(text, inner)
    if relation is not None:
        return relation
    if _SIGNED.search(text):
        return Items((inner(_with_sign(text, "+", "-")), inner(_with_sign(text, "-", "+"))))
    value, unit = split_unit(text, plain_units)
    if value != text:
        return Math(value, unit)
    other: Form | None = parse_ratio(text, inner) or parse_words(text, inner) or vector_of(text, inner)
    if other:
        return other
    return Math(re.sub(r"^\(([A-Z])\)$", r"\1", text))


def _only_leads(words: str, sign: str, rest: str) -> bool:
    """Whether words before an answer leave it as it is: "the answer is", or a name with "=" or ":" behind it."""
    found = re.findall(r"[^\W\d_]+", words.lower())
    if re.match(r"[\^/_]", rest):
        return False
    if sign:
        return CHANGING.isdisjoint(
            set(found) - ({"is", "or", "and"} | ({"least", "most"} if "at" not in found else set()))
        )
    if re.fullmatch(r"\(?[A-Ea-e][).:]+", words.strip()):
        return not re.fullmatch(r"\(?[A-E]\)?", rest)  # (B) A is no A
    states = bool(found) and found[-1] in ("is", "are", "equals", "be") and CHANGING.isdisjoint(set(found) - {"is"})
    return states or (bool(found) and set(found) <= LABELS)


def _with_sign(text: str, upper: str, lower: str) -> str:
    """Replace ± by its upper sign and ∓ by the lower one that goes with it."""
    return _SIGNED.sub(lambda m: lower if m[0] == r"\mp" else upper, text)
