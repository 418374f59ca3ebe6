"""Comparison of equations, inequalities, congruences and values by cases."""

import re
from dataclasses import replace
from fractions import Fraction

from scope_openrlhf.verifier.forms import (
    Again,
    Bracket,
    Cases,
    Congruence,
    Form,
    Items,
    Leaf,
    Math,
    Named,
    Relation,
    Words,
    as_latex,
    parts_of,
)
from scope_openrlhf.verifier.numbers import Number
from scope_openrlhf.verifier.parse import parse
from scope_openrlhf.verifier.relations import asks_for_one_value
from scope_openrlhf.verifier.several import same_unordered
from scope_openrlhf.verifier.spelling import squeeze

_LINEAR = re.compile(r"(\d+)\s*[a-z]\s*([+-]\s*\d+)?|(\d+)\s*\+\s*(\d+)\s*[a-z]")
"""All numbers with one residue: 12k + 5, or 5 + 12k."""


def needs_its_name(g: Named) -> bool:
    """Whether a gold says nothing without its left side: f = g, T = T^{-1}, N(0, 1), gcd(m, n) = 1."""
    if re.fullmatch(r"[a-zA-Z]\([a-z]\)", g.name):
        return False  # f(x) = x
    value = as_latex(g.value)
    letters = isinstance(g.value, Words) or bool(re.fullmatch(r"\\?[a-zA-Z]+(?:_\{[^{}]*\})?|\|[^|]+\|", value))
    return (
        (letters and not re.fullmatch(r"[A-E]|\\(?:pi|infty|emptyset)", value) and value not in ("e", "i"))
        or ((len(g.name) > 1 or not g.name.islower()) and g.name in value)
        or (isinstance(g.value, Bracket) and bool(re.fullmatch("[A-Z]'?", g.name)))
        or (g.name.startswith(r"\gcd") and not re.search(r"\d", g.name))
    )


def same_relations(g: Form, a: Form, leaf: Leaf, again: Again) -> bool:
    """Compare where one side or both are relations, which may be turned into one another by algebra."""
    if not isinstance(g, Relation):
        if isinstance(g, Bracket) and isinstance(a, Relation):
            variable = g.variable or _only_letter(a)
            return bool(variable) and same_relations(_as_relation(replace(g, variable=variable)), a, leaf, again)
        # "m + n = 3" where the question asks for m + n
        return isinstance(a, Relation) and a.sign == "=" and asks_for_one_value(a.left) and again(g, parse(a.right))
    if isinstance(a, Bracket):
        variable = a.variable or _only_letter(g)
        a = _as_relation(replace(a, variable=variable)) if variable and len(a.items) == 2 else a
    if not isinstance(a, Relation):
        value = parse(g.right)
        alone = g.sign == "=" and asks_for_one_value(g.left) and not needs_its_name(Named(g.left, value))
        return alone and again(value, a)
    if g.sign != a.sign:
        return False
    sides = [(squeeze(r.left), squeeze(r.right)) for r in (g, a)]
    if sides[0] == sides[1]:
        return True
    if g.sign in ("=", "!=", "<", "<="):
        return leaf(f"({g.left})-({g.right})", f"({a.left})-({a.right})", "=" if g.sign in ("=", "!=") else "<")
    if g.sign in ("parallel", "perpendicular"):
        plain = [sorted(re.sub(r"\\overline|[{}]", "", side) for side in pair) for pair in sides]
        return plain[0] == plain[1]
    if g.sign in ("similar", "congruent") and r"\triangle" not in g.left:
        return sides[0] == sides[1][::-1]
    if g.sign in ("similar", "congruent"):  # vertex by vertex
        pairs = [set(zip(*(re.findall("[A-Z]'?", side) for side in pair), strict=False)) for pair in sides]
        return pairs[0] in (pairs[1], {(y, x) for x, y in pairs[1]})
    return g.left == a.left and again(parse(g.right), parse(a.right)) if g.sign in ("in", "notin") else False


def _only_letter(relation: Relation) -> str:
    """The letter of a relation that has one alone, which an interval is then about; else empty."""
    letters = set(re.findall(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])", relation.left + relation.right))
    return letters.pop() if len(letters) == 1 else ""


def _as_relation(form: Bracket) -> Relation:
    """An interval of a letter as an inequality again."""
    x, (low, high) = form.variable, (as_latex(i) for i in form.items)
    if low == r"-\infty":
        return Relation(x, "<=" if form.closed == "]" else "<", high)
    if high == r"\infty":
        return Relation(low, "<=" if form.opened == "[" else "<", x)
    both = {"[]": "<=", "()": "<"}.get(form.opened + form.closed, "chain")
    return Relation(f"(({x})-({low}))(({x})-({high}))", both, "0")


def same_cases(g: Form, a: Form, leaf: Leaf, again: Again) -> bool:
    """Compare values by cases: branch by branch, or with one expression at points of each branch."""
    if isinstance(g, Cases) and isinstance(a, Cases):
        if len(g.branches) != len(a.branches):
            return False
        ours, theirs = list(g.branches), list(a.branches)
        for branch in g.branches:
            match = next((b for b in theirs if again(branch[1], b[1]) and again(branch[0], b[0])), None)
            if match:
                ours.remove(branch)
                theirs.remove(match)
        # what is left over may be "otherwise" on one side
        return not ours or (
            len(ours) == 1 and Words("otherwise") in (ours[0][1], theirs[0][1]) and again(ours[0][0], theirs[0][0])
        )
    cases, other = (g, a) if isinstance(g, Cases) else (a, g)
    assert isinstance(cases, Cases)
    intervals = [c for _, c in cases.branches if isinstance(c, Bracket) and c.variable]
    others = [c for _, c in cases.branches if c not in intervals]
    if not isinstance(other, Number | Math) or not intervals or others not in ([], [Words("otherwise")]):
        return False
    points = [(value, p) for value, c in cases.branches if isinstance(c, Bracket) for p in _points_in(c)]
    for value, condition in cases.branches:
        if condition == Words("otherwise"):
            rest = (Fraction(k, 7) for k in range(-300, 300, 23))
            points += [(value, p) for p in rest if not any(_lies_in(p, i) for i in intervals)]
    return all(leaf(as_latex(v), as_latex(other), f"at {intervals[0].variable}={p}") for v, p in points)


def _points_in(interval: Bracket) -> list[Fraction]:
    """A few numbers of an interval, its ends where they belong to it; none where its ends are no plain numbers."""
    low, high = (i.value if isinstance(i, Number) else None for i in interval.items)
    if low is None and high is None:
        return []
    if low is None or high is None:
        end, sign = (high, -1) if low is None else (low, 1)
        assert end is not None
        inside = [end + sign * Fraction(k, 7) for k in (1, 5, 10, 16, 40)]
        closed = interval.closed == "]" if low is None else interval.opened == "["
        return inside + ([end] if closed else [])
    ends = ([low] if interval.opened == "[" else []) + ([high] if interval.closed == "]" else [])
    return ends + [low + (high - low) * Fraction(k, 11) for k in (1, 3, 5, 8, 10)]


def _lies_in(point: Fraction, interval: Bracket) -> bool:
    """Whether a number lies in an interval; one whose ends are no plain numbers has no end there."""
    low, high = interval.items
    above = not isinstance(low, Number) or point > low.value or (point == low.value and interval.opened == "[")
    below = not isinstance(high, Number) or point < high.value or (point == high.value and interval.closed == "]")
    return above and below


def same_congruences(g: Form, a: Form, leaf: Leaf, again: Again) -> bool:
    """Compare n = 3 (mod 7) with another congruence: the same letter and modulus, residues that are the same in it."""
    if isinstance(g, Congruence) and not isinstance(a, Congruence):
        a = _as_congruence(g.left, parts_of(a)) or a
    elif isinstance(a, Congruence) and not isinstance(g, Congruence):
        g = _as_congruence(a.left, parts_of(g)) or g
    if not (isinstance(g, Congruence) and isinstance(a, Congruence)):
        return False
    if not again(g.modulus, a.modulus):
        return False
    if g.left and a.left and squeeze(g.left) != squeeze(a.left):  # a = b (mod m) is b = a (mod m)
        return (squeeze(g.left), as_latex(g.residue)) == (as_latex(a.residue), squeeze(a.left))

    def same_residue(x: Form, y: Form) -> bool:
        if isinstance(x, Number) and isinstance(y, Number) and isinstance(g.modulus, Number):
            return bool(g.modulus.value) and (x.value - y.value) % g.modulus.value == 0
        return again(x, y)

    return same_unordered(parts_of(g.residue), parts_of(a.residue), same_residue)


def _as_congruence(left: str, items: tuple[Form, ...]) -> Congruence | None:
    """Read 4k, 4k + 1 as residues of one modulus; None for anything else."""
    values = [i.value if isinstance(i, Named) else i for i in items]
    found = [_LINEAR.fullmatch(v.text) if isinstance(v, Math) else None for v in values]
    linear = [(m[1] or m[4], Fraction((m[2] or m[3] or "0").replace(" ", ""))) for m in found if m]
    if len(linear) != len(items) or len({number for number, _ in linear}) != 1:
        return None
    return Congruence(left, Items(tuple(Number(rest) for _, rest in linear)), Number(Fraction(linear[0][0])))
