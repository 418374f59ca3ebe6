"""Relations of a cleaned answer: equations, names of values, inequalities that are intervals, memberships."""

import re
from collections.abc import Callable

from scope_openrlhf.verifier.brackets import split_top
from scope_openrlhf.verifier.forms import (
    Bracket,
    Congruence,
    Form,
    Items,
    Math,
    Named,
    Relation,
    SetMeet,
    SetMinus,
    SetUnion,
)
from scope_openrlhf.verifier.numbers import parse_number
from scope_openrlhf.verifier.vocabulary import CHANGING

NAME = re.compile(
    r"(?:\\(?!sqrt|[td]?frac|binom|exp)[a-zA-Z]+(?:\{[a-zA-Z]+\})?|[a-zA-Z])(?:_(?:\{[^{}]*\}|\w))?'*(?:\([^()=]*\))?"
    r"|[a-zA-Z]\^\{-1\}\([^()=]*\)|[a-zA-Z](?:\s*:\s*[a-zA-Z])+|\\frac\{d\^?\{?\d?\}?\s*\w*\}\{d\s*\w\^?\{?\d?\}?\}"
    r"|\\(?:sin|cos|tan|cot|sec|csc|ln|log|angle|overline|triangle|vec)\s*\{?\s*\\?\w+\s*\}?"
    r"|\|?[A-Z]{1,4}\|?|\[[A-Z]+\]|P\([^()=]*\)|⟦[^⟧]*⟧|[a-zA-Z]{3,}"
)
"""Left sides that name a value: x, f(2), x_{1}, AB, P(A), dy/dx."""
_TERM = r"(?:[a-wA-Z](?:_\{[^{}]*\})?|[xyz]_\{[^{}]*\}|\|?[A-Z]{2}\|?|[a-zA-Z]'*\([^()=]*\)|\[[A-Z]+\])"
_EVALUATION = re.compile(
    r"\\mathbb\{[EP]\}.+|\\mathcal\s*\{?[A-Z]\}?.+|\\(?:Pr|Var|Cov|det|tr|dim|rank|deg|arg|gcd|lcm)(?![a-z]).*"
    r"|\\(?:lim|max|min|sup|inf|sum|prod|int|iint|oint|operatorname)(?![a-z]).*|(?:E|Var|Cov|P|Pr)\s*[\[({].*"
    r"|\|[^|=]+\||\\\|[^|=]+\\\||⟦[^⟧]*⟧\s*(?:[\[({].*|\\?[a-zA-Z](?:_\{[^{}]*\})?)|\\?#.+"
    rf"|\\frac\{{{_TERM}\}}\{{{_TERM}\}}|{_TERM}\s*/\s*{_TERM}"
    rf"|\d+\s*[+-]\s*[A-Z]\([^()=]*\)|\d*\s*{_TERM}(?:\s*(?:[+-]|\\cdot|\\times)\s*\d*\s*{_TERM})+"
    r"|\\overline\{[A-Z]+\}|\\vec\s*\{?\w+\}?\s*\\cdot.+"
)
"""Left sides that ask for one value: E[X], |z|, m/n, m + n, lim f(x). An equation of x and y asks for none."""
_SIGNS = {
    "=": "=", "<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\in": "in", r"\notin": "notin",
    r"\approx": "~", r"\equiv": "=", r"\parallel": "parallel", r"\perp": "perpendicular", r"\subset": "subset",
    r"\subseteq": "subset", r"\mid": "divides", r"\similar": "similar",
    r"\congruent": "congruent", r"\sim": "=", r"\to": "to", r"\rightarrow": "to",
}  # fmt: skip
_SIGN = re.compile(
    r"\\(?:le|ge|ne|in|notin|approx|equiv|parallel|perp|subseteq|subset|mid|sim|similar|congruent|to|rightarrow)"
    r"(?![a-zA-Z])|[=<>]"
)
_MIRRORED = {">": "<", ">=": "<="}
_COORDINATES = re.compile(r"\([a-zA-Z\s,_{}\d\\]+\)")
_LETTER = re.compile(
    r"(?:\\(?!sqrt|ln|log|sin|cos|tan|exp)[a-zA-Z]+|[a-zA-Z])(?:_\{[^{}]*\})?'*(?:\([a-zA-Z]\))?|[A-Z]{2}|[a-zA-Z]{3,}"
)
"""What an inequality may be about: a letter, or a quantity that has a name."""
_VARIABLE = re.compile(r"\\?[a-zA-Z]+(?:_\{[^{}]*\})?'*|\([a-zA-Z\s,_{}\d]+\)|⟦[^⟧]*⟧")
_MODULO = re.compile(
    r"(?:(.*?)(?:\\equiv(?![a-z])|=))?(.*?)(?:\\pmod\s*\{([^{}]*)\}|\\bmod\s*(\w+)"
    r"|\(?⟦mod(?:ulo)?⟧\s*(\w+)\)?|(?<=\d)\s*\((\d+)\))$"
)
REALS = Math(r"\mathbb{R}")

Inner = Callable[[str], Form]


def parse_relation(text: str, inner: Inner) -> Form | None:
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
    if signs == ["divides"]:
        return Congruence(pieces[1], inner("0"), inner(pieces[0]))
    if signs in (["in"], ["notin"]):
        if not _VARIABLE.fullmatch(pieces[0]):
            return Relation(pieces[0], signs[0], pieces[1])
        return inner(pieces[1]) if signs == ["in"] else SetMinus(REALS, inner(pieces[1]))
    if "~" in signs and all(s in "=~" for s in signs):  # what stands before the first "about" is exact
        exact = signs.index("~")
        return inner(" = ".join(pieces[: exact + 1])) if exact or not _is_name(pieces[0]) else inner(pieces[1])
    if all(s == "=" for s in signs):
        return _equation(pieces, inner)
    return _inequality(text, pieces, signs, inner)


def parse_congruence(text: str, inner: Inner) -> Congruence | None:
    """Read n = 1, 4 (mod 5); None for anything else."""
    if len(text) > 200 or not ("mod" in text or r"\equiv" in text) or not (match := _MODULO.fullmatch(text)):
        return None
    modulus = match[3] or match[4] or match[5] or match[6]
    if match[6] and r"\equiv" not in text:
        return None
    return Congruence((match[1] or "").strip(), inner(match[2].strip(" ,")), inner(modulus)) if modulus else None


def is_condition(text: str) -> bool:
    """Whether a text is an inequality, or says that two things differ."""
    return len(split_top(text, re.compile(r"\\(?:le|ge|ne)(?![a-zA-Z])|[<>]"))) > 1


def asks_for_one_value(left: str) -> bool:
    """Whether the left side of an equation only says what the right side is the value of: m + n, E[X], |z|."""
    return bool(_EVALUATION.fullmatch(left)) and not ("⟦" in left and _changes(left))


def _is_name(text: str) -> bool:
    """Whether the text names a value and is none itself, as numbers, pi, e and i are."""
    return (
        bool(NAME.fullmatch(text))
        and not text[:1].isdigit()
        and not parse_number(text)
        and text not in (r"\pi", r"\infty", "e", "i", r"\emptyset")
        and not ("⟦" in text and _changes(text))
    )


def _changes(text: str) -> bool:
    """Whether words of a left side say that it is not the value itself: "at least", "not"."""
    words = set(re.findall("[a-z]+", text.lower()))
    allowed = {"is", "or", "and", "of"} | (
        {"least", "most", "greater", "smaller"} if not words & {"at", "than"} else set()
    )
    return not CHANGING.isdisjoint(words - allowed)


def _is_letter(text: str) -> bool:
    """Whether the text is what an inequality may be about."""
    return _is_name(text) and bool(_LETTER.fullmatch(text))


def _equation(sides: list[str], inner: Inner) -> Form:
    """Read a = b = c, whose value is the last side."""
    first, last = sides[0], sides[-1]
    if not first:
        return inner(last)
    if len(sides) == 2 and _COORDINATES.fullmatch(first):
        return _coordinates(first, inner(last))
    if _is_name(first):
        return Named(_in_order(first.replace(" ", "")), inner(last))
    if len(sides) == 2 and _is_name(last) and parse_number(first):
        return Named(last, inner(first))
    letters = any(re.search("[a-zA-Z⟦]", re.sub(r"\\[a-zA-Z]+", "", side)) for side in sides)
    if not letters and parse_number(last):  # arithmetic: 1 + 2 = 3
        number = parse_number(first)
        end = parse_number(last)
        return inner(last) if number is None or (end and number.value == end.value) else Relation(first, "=", last)
    if not letters and parse_number(first) and len(sides) == 2:  # 6 = 2 * 3: whoever says so says that both are it
        return Items((inner(first), inner(last)))
    return Relation(first, "=", last)


def _in_order(name: str) -> str:
    """A name without \\text{}; that of a gcd or a maximum with what it is of in alphabetical order."""
    name = name.strip("⟦⟧")
    match = re.fullmatch(r"(\\(?:gcd|lcm|max|min))\(([^()]*)\)", name)
    return f"{match[1]}({','.join(sorted(match[2].split(',')))})" if match else name


def _coordinates(names: str, value: Form) -> Form:
    """Read (x, y) = (1, 2) as x = 1, y = 2, so that names in another order are told; lists of points keep theirs."""
    letters = tuple(n.strip() for n in names[1:-1].split(","))
    if isinstance(value, Bracket) and len(letters) == len(value.items) and list(letters) != sorted(letters):
        return Items(value.items, letters)
    return Named(names.replace(" ", ""), value)


def _inequality(text: str, sides: list[str], signs: list[str], inner: Inner) -> Form:
    """Read 2 < x <= 5, x < 5 and 2 <= x as intervals, others as a relation; greater is turned round first."""
    if all(s in _MIRRORED for s in signs):
        sides, signs = sides[::-1], [_MIRRORED[s] for s in signs[::-1]]
    if signs == ["!="]:
        left, right = sides if not _is_letter(sides[1]) else sides[::-1]
        if _is_letter(left) and not _is_letter(right):
            return SetMinus(_all_reals(left), inner(right))
        if _is_absolute(left) and _is_letter(left[1:-1].strip()):
            return SetMinus(_all_reals(left[1:-1].strip()), Items((inner(right), inner(f"-{right}"))))
    if all(s in ("<", "<=") for s in signs):
        if interval := _interval(sides, signs, inner):
            return interval
        if len(sides) == 2 and (size := _of_absolute(sides, signs[0], inner)):
            return size
        if len(sides) == 3 and _is_absolute(sides[1]) and _is_letter(sides[1][1:-1].strip()):  # 1 < |x| < 3
            parts = [
                _inequality(text, pair, [sign], inner) for pair, sign in ((sides[:2], signs[0]), (sides[1:], signs[1]))
            ]
            return SetMeet(tuple(parts))
        if len(sides) == 3 and signs[0] == signs[1]:  # a < m < b where (m - a)(m - b) < 0
            low, middle, high = sides
            return Relation(f"(({middle})-({low}))(({middle})-({high}))", signs[0], "0")
    return Relation(sides[0], signs[0], sides[1]) if len(sides) == 2 else Math(text)


def _all_reals(letter: str) -> Bracket:
    """All values of a letter, which the interval keeps."""
    return Bracket("(", (Math(r"-\infty"), Math(r"\infty")), ")", letter)


def _interval(sides: list[str], signs: list[str], inner: Inner) -> Bracket | None:
    """Read a chain whose one unknown side is a name; None for any other."""
    opened, closed = "[" if signs[0] == "<=" else "(", "]" if signs[-1] == "<=" else ")"
    if len(sides) == 3 and _is_letter(sides[1]):
        return Bracket(opened, (inner(sides[0]), inner(sides[2])), closed, sides[1])
    if len(sides) == 2 and _is_letter(sides[0]) and not _is_letter(sides[1]):
        return Bracket("(", (Math(r"-\infty"), inner(sides[1])), closed, sides[0])
    if len(sides) == 2 and _is_letter(sides[1]) and not _is_letter(sides[0]):
        return Bracket(opened, (inner(sides[0]), Math(r"\infty")), ")", sides[1])
    return None


def _of_absolute(sides: list[str], sign: str, inner: Inner) -> Form | None:
    """Read |x| < a as an interval, |x| > a as two, |2x - 1| < a by its square; None for anything else."""
    which = 0 if _is_absolute(sides[0]) else 1
    if not _is_absolute(sides[which]) or "|" in (size := sides[1 - which]) or not re.search(r"[a-zA-Z]", sides[which]):
        return None
    content = sides[which][1:-1].strip()
    if not re.fullmatch(r"[a-zA-Z]", content):
        product = f"(({content})-({size}))(({content})+({size}))"
        return Relation(product, sign, "0") if which == 0 else Relation("0", sign, product)
    low, high = inner(f"-({size})" if not parse_number(size) else f"-{size}"), inner(size)
    if which == 0:
        opened, closed = ("[", "]") if sign == "<=" else ("(", ")")
        return Bracket(opened, (low, high), closed, content)
    opened, closed = ("[", "]") if sign == "<=" else ("(", ")")
    return SetUnion(
        (
            Bracket("(", (Math(r"-\infty"), low), closed, content),
            Bracket(opened, (high, Math(r"\infty")), ")", content),
        )
    )


def _is_absolute(text: str) -> bool:
    return text[:1] == "|" == text[-1:] and text.count("|") == 2 and len(text) > 2
