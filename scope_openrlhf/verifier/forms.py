"""Kinds of answers: a number, a list, an interval, a matrix, a relation, words, or LaTeX that needs sympy."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Bracket:
    """An interval or a tuple: (a, b], (a, b, c), [a, b]."""

    opened: str
    items: tuple["Form", ...]
    closed: str


@dataclass(frozen=True)
class SetUnion:
    """Union of intervals or sets."""

    parts: tuple["Form", ...]


@dataclass(frozen=True)
class Matrix:
    """Matrix or column vector, as rows of cells."""

    rows: tuple[tuple["Form", ...], ...]


@dataclass(frozen=True)
class Relation:
    """An equation or an inequality, both sides as LaTeX."""

    left: str
    sign: str
    """=, !=, < or <= (greater is turned round)."""
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
    """Ratio of numbers: 3:4."""

    parts: tuple[Number, ...]


Form: TypeAlias = Number | Math | Words | Items | Bracket | SetUnion | Matrix | Relation | Named | Based | Ratio
