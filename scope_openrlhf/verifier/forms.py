"""Kinds of answers: a number, a list, a set, a matrix, a relation, words, or LaTeX that needs sympy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from scope_openrlhf.verifier.numbers import Number


@dataclass(frozen=True)
class Math:
    """LaTeX of no other form, which only algebra can compare."""

    text: str
    unit: str = ""


@dataclass(frozen=True)
class Words:
    """A name, a choice or a sentence."""

    text: str
    """Folded: lower case, no articles, no punctuation at the ends."""
    plain: str = ""
    """The same as it was written; empty where \\text{} says that the letters are no formula."""


@dataclass(frozen=True)
class Items:
    """Several answers or a set, in any order."""

    items: tuple["Form", ...]
    names: tuple[str, ...] = ()
    """Left sides where each item has another one: "x = 1, y = 2"."""
    braced: bool = False
    """Whether it is written as a set, which as an element of another set is one element."""


@dataclass(frozen=True)
class Bracket:
    """An interval or a tuple: (a, b], (a, b, c), [a, b]."""

    opened: str
    items: tuple["Form", ...]
    closed: str
    variable: str = field(default="", compare=False)
    """Letter of which an inequality says that it lies between the ends."""


@dataclass(frozen=True)
class SetUnion:
    """Union of intervals or sets."""

    parts: tuple["Form", ...]


@dataclass(frozen=True)
class SetMeet:
    """Intersection of sets, or conditions that hold at once."""

    parts: tuple["Form", ...]


@dataclass(frozen=True)
class SetMinus:
    """Set without the elements of another one: R without 2, which is also written x != 2."""

    whole: "Form"
    removed: "Form"


@dataclass(frozen=True)
class Matrix:
    """Matrix or column vector, as rows of cells."""

    rows: tuple[tuple["Form", ...], ...]
    axes: bool = field(default=False, compare=False)
    """Whether it is written with unit vectors, of which the third may be left out."""


@dataclass(frozen=True)
class Relation:
    """An equation or an inequality, both sides as LaTeX."""

    left: str
    sign: str
    """=, !=, < or <= (greater is turned round), in, or the name of another relation."""
    right: str


@dataclass(frozen=True)
class Named:
    """A value with its name: x = 3."""

    name: str
    value: "Form"


@dataclass(frozen=True)
class Based:
    """A number in a stated base, 101_2: its digits and that base."""

    digits: str
    base: str


@dataclass(frozen=True)
class Ratio:
    """Ratio: 3:4, or 1 : sqrt(2) : 3."""

    parts: tuple["Form", ...]


@dataclass(frozen=True)
class Clock:
    """Time of day or duration, 3:20 or 22:25:27, which is also how a ratio may be written."""

    parts: tuple[int, ...]
    half: str = ""
    """am, pm or unstated."""


@dataclass(frozen=True)
class Phrase:
    """Words with mathematics between them, of which each piece counts: "n odd"."""

    pieces: tuple["Form", ...]


@dataclass(frozen=True)
class Cases:
    """Values by condition: (value, condition) pairs; a condition is folded words or a form."""

    branches: tuple[tuple["Form", "Form"], ...]


@dataclass(frozen=True)
class Congruence:
    """n = 3 (mod 7)."""

    left: str
    residue: "Form"
    modulus: "Form"


Form: TypeAlias = (
    Number
    | Math
    | Words
    | Items
    | Bracket
    | SetUnion
    | SetMeet
    | SetMinus
    | Matrix
    | Relation
    | Named
    | Based
    | Ratio
    | Clock
    | Phrase
    | Cases
    | Congruence
)

Leaf = Callable[[str, str, str], bool]
"""(gold, answer, kind) -> yes or no, for two LaTeX expressions.

kind: "value", whether they are the same; "=" for two equations (as left - right), "<" for two inequalities; "near X"
for values that may be X apart; "less", whether the first is the smaller one; "at x=1/2", whether they agree there.
"""
Again = Callable[[Form, Form], bool]
"""Comparison of a part of the gold with a part of the answer."""


def as_latex(form: Form) -> str:
    """Write a form as LaTeX again, exactly; empty for what is no single value."""
    if isinstance(form, Math):
        return form.text
    if isinstance(form, Number):
        value = form.value / 100 if form.mark == "%" else form.value
        text = str(value.numerator) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
        return rf"({text})\cdot\frac{{\pi}}{{180}}" if form.mark == "deg" else text
    return form.plain if isinstance(form, Words) else ""


def parts_of(form: Form) -> tuple[Form, ...]:
    """Parts of a union or a list; any other form is its only part."""
    return form.parts if isinstance(form, SetUnion) else form.items if isinstance(form, Items) else (form,)
