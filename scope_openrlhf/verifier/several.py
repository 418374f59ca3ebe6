"""Comparison of lists, sets, named solutions, tuples and matrices, given the comparison of their parts."""

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from scope_openrlhf.verifier.forms import Again, Bracket, Form, Items, Math, Matrix, Words
from scope_openrlhf.verifier.numbers import Number

MAX_ITEMS = 100
_DOTS = Math(r"\ldots")


def same_items(g: Form, a: Form, again: Again) -> bool:
    """Compare where one side or both are lists."""
    if isinstance(g, Items) and isinstance(a, Items) and g.names and a.names:
        named = dict(zip(a.names, a.items, strict=True))
        return set(g.names) == set(a.names) and all(again(x, named[n]) for n, x in zip(g.names, g.items, strict=True))
    for one, other in ((g, a), (a, g)):  # x = 1, y = 2 is (1, 2)
        if isinstance(one, Items) and one.names and isinstance(other, Bracket):
            items = _in_order(one)
            pairs = zip(other.items, items, strict=False) if one is a else zip(items, other.items, strict=False)
            return len(items) == len(other.items) and all(again(x, y) for x, y in pairs)
    if Math(r"\emptyset") in (g, a):
        return False
    if isinstance(g, Items) and isinstance(a, Items) and bool(g.names) != bool(a.names) and not _are_roots(g, a):
        ours, theirs = (_in_order(f) if f.names else f.items for f in (g, a))
        return len(ours) == len(theirs) and all(map(again, ours, theirs))
    if isinstance(g, Bracket | Matrix) and isinstance(a, Items) and len(a.items) != 1:
        return False
    gold, answer = (f.items if isinstance(f, Items) else (f,) for f in (g, a))
    for one, letters in ((g, answer), (a, gold)):  # BC for B, C
        if isinstance(one, Words) and re.fullmatch("[A-F]{2,6}", one.plain):
            return sorted(one.plain.lower()) == sorted(i.text.lower() for i in letters if isinstance(i, Words | Math))
    if _DOTS in gold or _DOTS in answer:  # 1, 2, ..., n says how it goes on by its order
        if len(gold) > 2 < len(answer) and again(gold[-1], answer[-1]) and not isinstance(gold[-1], Number):
            gold, answer = ((*f[:-1], Number(Fraction(10**9))) for f in (gold, answer))  # 1, 2, ..., n
        series = _progression(gold), _progression(answer)
        if all(series):
            return series[0] == series[1]
        return len(gold) == len(answer) and all(map(again, gold, answer))
    if isinstance(g, Items) and isinstance(a, Items) and g.braced and a.braced:
        return same_unordered(gold, answer, lambda x, y: _same_element(x, y, again))
    if _is_nested(g) != _is_nested(a):
        return False
    if _counts_things(gold) and _counts_things(answer):
        return same_unordered(gold, answer, lambda x, y: _same_things(x, y) and again(x, y))
    return same_unordered(gold, answer, again)


def _progression(items: Sequence[Form]) -> tuple[Fraction, Fraction, Fraction | None] | None:
    """(first, step, last) of numbers in equal steps, with or without dots; last None where they never end."""
    values = [i.value for i in items if isinstance(i, Number)]
    at = next((i for i, item in enumerate(items) if item == _DOTS), len(items))
    if len(values) != len(items) - items.count(_DOTS) or at < 2 or len(items) - at > 2 or len(values) < 3:
        return None
    first, step = values[0], values[1] - values[0]
    if not step or any(y - x != step for x, y in pairwise(values[:at])) or (values[-1] - first) % step:
        return None
    return first, step, (None if at == len(items) - 1 else values[-1])


def _counts_things(items: Sequence[Form]) -> bool:
    """Whether items are numbers of different things: 12 chickens and 7 rabbits."""
    units = [i.unit for i in items if isinstance(i, Number) and i.unit]
    return len(units) == len(items) > 1 and len(set(units)) == len(units)


def _same_things(x: Form, y: Form) -> bool:
    return isinstance(x, Number) and isinstance(y, Number) and x.unit.rstrip("s") == y.unit.rstrip("s")


def same_unordered(gold: Sequence[Form], answer: Sequence[Form], again: Again) -> bool:
    """Compare as sets: an answer given twice is one answer."""
    if len(gold) > MAX_ITEMS or len(answer) > MAX_ITEMS or bool(gold) != bool(answer):
        return False
    return all(any(again(g, a) for a in answer) for g in gold) and all(any(again(g, a) for g in gold) for a in answer)


def _are_roots(*lists: Items) -> bool:
    """Whether names only count solutions: x_1 = 1, x_2 = -2."""
    return any(f.names and len({n.partition("_")[0] for n in f.names}) == 1 for f in lists)


def _is_nested(form: Form) -> bool:
    """Whether a form is a set of sets."""
    return isinstance(form, Items) and form.braced and any(isinstance(i, Items) and i.braced for i in form.items)


def _same_element(x: Form, y: Form, again: Again) -> bool:
    """Compare elements of two sets, where {1} is not 1."""
    braced = [isinstance(f, Items) and f.braced for f in (x, y)]
    return braced[0] == braced[1] and again(x, y)


def _in_order(items: Items) -> tuple[Form, ...]:
    """Values of named solutions in the order of a tuple: by name where these follow each other, else as written."""
    keys = [re.sub(r"[\\{}_\s]", "", name) for name in items.names]
    ordered = sorted(zip(keys, items.items, strict=True), key=lambda pair: pair[0])
    names = [key for key, _ in ordered]
    follow = all(len(a) == len(b) and a[:-1] == b[:-1] and ord(b[-1]) - ord(a[-1]) == 1 for a, b in pairwise(names))
    return tuple(value for _, value in ordered) if follow else items.items


def same_matrices(g: Form, a: Form, again: Again) -> bool:
    """Compare where one side or both are a matrix; a row or a column may be written as a tuple."""
    if isinstance(g, Matrix) and isinstance(a, Matrix):
        if [len(r) for r in g.rows] == [len(r) for r in a.rows]:
            return all(map(again, _flat(g), _flat(a)))
        if not (g.axes or a.axes) or any(len(row) != 1 for row in (*g.rows, *a.rows)):
            return False
    gold, answer = _as_vector(g), _as_vector(a)
    if gold is None or answer is None:
        return False
    for one, form in ((gold, g), (answer, a)):  # i - 4j in the plane
        if isinstance(form, Matrix) and form.axes and len(one) == 3 and _is_zero(one[-1]):
            gold, answer = (s[:2] if s is one else s for s in (gold, answer))
            break
    return len(gold) == len(answer) and all(map(again, gold, answer))


def _is_zero(form: Form) -> bool:
    return isinstance(form, Number) and form.value == 0


def _as_vector(form: Form) -> Sequence[Form] | None:
    """Components of a tuple, a row or a column; None for anything else."""
    if isinstance(form, Bracket):
        return form.items
    if isinstance(form, Matrix) and (len(form.rows) == 1 or all(len(r) == 1 for r in form.rows)):
        return _flat(form)
    return None


def _flat(matrix: Matrix) -> list[Form]:
    """Cells of a matrix, row by row."""
    return [cell for row in matrix.rows for cell in row]
