"""Relations of a cleaned answer: equations, names of values, inequalities that are intervals."""

import re
from collections.abc import Callable

from scope_openrlhf.verifier.brackets import split_top
from scope_openrlhf.verifier.forms import Bracket, Form, Math, Named, Relation
from scope_openrlhf.verifier.numbers import parse_number

NAME = re.compile(
    r"(?:\\[a-zA-Z]+(?:\{[a-zA-Z]+\})?|[a-zA-Z])(?:_(?:\{[^{}]*\}|\w))?'*(?:\([^()=]*\))?"
    r"|\\frac\{d\^?\{?\d?\}?\s*\w*\}\{d\s*\w\^?\{?\d?\}?\}"
    r"|\\(?:sin|cos|tan|cot|sec|csc|ln|log|angle|overline|triangle|vec)\s*\{?\s*\\?\w+\s*\}?"
    r"|\|?[A-Z]{1,4}\|?|\[[A-Z]+\]|P\([^()=]*\)|⟦[^⟧]*⟧|[a-zA-Z]{3,}"
)
"""Left sides that name a value: x, f(2), x_{1}, AB, P(A), dy/dx."""
_SIGNS = {"=": "=", "<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\in": "in", r"\approx": "~"}
_SIGN = re.compile(r"\\(?:le|ge|ne|in|approx)(?![a-zA-Z])|[=<>]")
_MIRRORED = {">": "<", ">=": "<="}
_COORDINATES = re.compile(r"\([a-zA-Z\s,_{}\d\\]+\)")


def parse_relation(text: str, inner: Callable[[str], Form]) -> Form | None:
    """Read x = 3 as its value with a name, 2 < x < 5 as an interval, any other relation as its two sides.

    inner: reads one side. None where there is no relation sign outside brackets.
    """
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
        return _equation(pieces, inner)
    return _inequality(text, pieces, signs, inner)


def _is_name(text: str) -> bool:
    """Whether the text names a value and is none itself, as numbers, pi, e and i are."""
    return (
        bool(NAME.fullmatch(text))
        and not text[:1].isdigit()
        and not parse_number(text)
        and text not in (r"\pi", r"\infty", "e", "i")
    )


def _equation(sides: list[str], inner: Callable[[str], Form]) -> Form:
    """Read a = b = c, whose value is the last side."""
    first, last = sides[0], sides[-1]
    if not first:
        return inner(last)
    if _is_name(first) or (len(sides) == 2 and _COORDINATES.fullmatch(first)):
        return Named(first.replace(" ", ""), inner(last))
    if len(sides) == 2 and _is_name(last) and parse_number(first):
        return Named(last, inner(first))
    letters = any(re.search("[a-zA-Z⟦]", re.sub(r"\\[a-zA-Z]+", "", side)) for side in sides)
    if not letters and parse_number(last):  # arithmetic: 1 + 2 = 3
        number = parse_number(first)
        return inner(last) if number is None or number == parse_number(last) else Relation(first, "=", last)
    return Relation(first, "=", last)


def _inequality(text: str, sides: list[str], signs: list[str], inner: Callable[[str], Form]) -> Form:
    """Read 2 < x <= 5, x < 5 and 2 <= x as intervals, others as a relation; greater is turned round first."""
    if all(s in _MIRRORED for s in signs):
        sides, signs = sides[::-1], [_MIRRORED[s] for s in signs[::-1]]
    if all(s in ("<", "<=") for s in signs):
        opened, closed = "[" if signs[0] == "<=" else "(", "]" if signs[-1] == "<=" else ")"
        if len(sides) == 3 and _is_name(sides[1]):
            return Bracket(opened, (inner(sides[0]), inner(sides[2])), closed)
        if len(sides) == 2 and _is_name(sides[0]) and not _is_name(sides[1]):
            return Bracket("(", (Math(r"-\infty"), inner(sides[1])), closed)
        if len(sides) == 2 and _is_name(sides[1]) and not _is_name(sides[0]):
            return Bracket(opened, (inner(sides[0]), Math(r"\infty")), ")")
    return Relation(sides[0], signs[0], sides[1]) if len(sides) == 2 else Math(text)
