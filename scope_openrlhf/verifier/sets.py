"""Sets of real numbers that are written in different ways: unions, differences, conditions; and their comparison.

Both sets are cut at all of their ends: an end is a position, and so is each gap between two of them. On these positions
a set is a set of integers, and union, intersection and difference are Python's.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from scope_openrlhf.verifier.forms import Bracket, Form, Items, Math, Named, Phrase, SetMeet, SetMinus, SetUnion, Words
from scope_openrlhf.verifier.numbers import Number

Order = Callable[[Form, Form], int]
"""Sign of first - second. Raises NoOrder where that cannot be told."""

MAX_ENDS = 60
_ENDLESS = {r"\infty": 1, r"+\infty": 1, r"-\infty": -1, r"- \infty": -1, r"+ \infty": 1}


class NoOrder(Exception):
    """Ends of which nobody can tell which is larger, or a form that is no set of real numbers."""


def is_set(form: Form) -> bool:
    """Whether a form can only be a set of real numbers."""
    return isinstance(form, SetUnion | SetMinus | SetMeet) or form == Math(r"\mathbb{R}")


def same_sets(g: Form, a: Form, order: Order) -> bool:
    """Whether two forms are the same set of real numbers. Raises NoOrder."""
    ends: list[Form] = []
    for form in (*_ends(g), *_ends(a)):
        if form not in ends:
            ends.append(form)
    if len(ends) > MAX_ENDS:
        raise NoOrder
    ends.sort(key=functools.cmp_to_key(order))
    rank: dict[Form, int] = {}
    place = -1
    for i, end in enumerate(ends):
        place += 2 if i == 0 or order(ends[i - 1], end) else 0
        rank[end] = place
    everything = frozenset(range(place + 2))
    return _positions(g, rank, everything) == _positions(a, rank, everything)


def _endless(form: Form) -> int:
    """1 and -1 for the infinities, 0 for anything else."""
    return _ENDLESS.get(form.text.strip(), 0) if isinstance(form, Math) else 0


def _ends(form: Form) -> list[Form]:
    """All ends and single elements of a set. Raises NoOrder for what is no set of real numbers."""
    if isinstance(form, SetUnion | SetMeet):
        return [end for part in form.parts for end in _ends(part)]
    if isinstance(form, SetMinus):
        return [*_ends(form.whole), *_ends(form.removed)]
    if isinstance(form, Bracket):
        if len(form.items) != 2 or not all(isinstance(i, Number | Math) for i in form.items):
            raise NoOrder
        return [i for i in form.items if not _endless(i)]
    if isinstance(form, Items) and not form.names:
        return [end for item in form.items for end in _ends(item)]
    if isinstance(form, Named):
        return _ends(form.value)
    if form in (Math(r"\mathbb{R}"), Math(r"\emptyset")):
        return []
    if isinstance(form, Number) or (isinstance(form, Math) and not _endless(form) and r"\mathbb" not in form.text):
        return [form]
    raise NoOrder


def _positions(form: Form, rank: dict[Form, int], everything: frozenset[int]) -> frozenset[int]:
    """Positions of the ends and gaps that lie in a set."""
    if isinstance(form, SetUnion | Items):
        parts = form.parts if isinstance(form, SetUnion) else form.items
        return frozenset().union(*(_positions(part, rank, everything) for part in parts))
    if isinstance(form, SetMeet):
        return everything.intersection(*(_positions(part, rank, everything) for part in form.parts))
    if isinstance(form, SetMinus):
        return _positions(form.whole, rank, everything) - _positions(form.removed, rank, everything)
    if isinstance(form, Bracket):
        low, high = form.items
        start = -1 if _endless(low) else rank[low] + (form.opened == "(")
        stop = max(everything) if _endless(high) else rank[high] - (form.closed == ")")
        return everything & frozenset(range(start, stop + 1))
    if isinstance(form, Named):
        return _positions(form.value, rank, everything)
    if form == Math(r"\mathbb{R}"):
        return everything
    return frozenset() if form == Math(r"\emptyset") else frozenset({rank[form]})


def of_domain(left: str, form: Form, inner: Callable[[str], Form]) -> Form:
    """Conditions on a letter of a domain: the integers, where they are few; of another set what is in both."""
    form = _without_letter(form)
    domain = left.partition(r"\in")[2].strip()
    if domain in ("", r"\mathbb{R}"):
        return form
    if r"\mathbb" not in domain or r"\mathbb{R}" in domain:
        return SetMeet((inner(domain), form))
    if isinstance(form, Bracket) and len(form.items) == 2 and all(isinstance(i, Number) for i in form.items):
        low, high = (i.value for i in form.items if isinstance(i, Number))
        first = math.ceil(low) + (form.opened == "(" and low.denominator == 1)
        last = math.floor(high) - (form.closed == ")" and high.denominator == 1)
        integers = domain == r"\mathbb{Z}" or (domain == r"\mathbb{N}" and first > 0)
        if integers and 0 <= last - first < 100:
            return Items(tuple(Number(Fraction(n)) for n in range(first, last + 1)), braced=True)
    return Phrase((Words(domain), form))


def _without_letter(form: Form) -> Form:
    """A set without the letter in which its conditions are written: {y : y > 3} is {x : x > 3}."""
    if isinstance(form, Bracket):
        return replace(form, variable="")
    if isinstance(form, SetUnion | SetMeet):
        return type(form)(tuple(map(_without_letter, form.parts)))
    return SetMinus(_without_letter(form.whole), form.removed) if isinstance(form, SetMinus) else form


def both_bounds(forms: tuple[Form, ...]) -> SetMeet | None:
    """Two inequalities that bound a letter from both sides; None where they are two separate parts of a set."""
    low, high = sorted(forms, key=lambda f: isinstance(f, Bracket) and f.items[0] == Math(r"-\infty"))
    if not (isinstance(low, Bracket) and isinstance(high, Bracket) and low.variable == high.variable):
        return None
    a, b = low.items[0], high.items[1]
    if high.items[0] != Math(r"-\infty") or low.items[1] != Math(r"\infty"):
        return None
    return SetMeet(forms) if isinstance(a, Number) and isinstance(b, Number) and a.value < b.value else None
