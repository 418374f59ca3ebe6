"""Comparison of leaves, two LaTeX expressions, as mathematics: by sympy, in a worker that may be killed."""

import random
from collections.abc import Iterator

import sympy
from math_verify import verify as same_by_math_verify

from scope_openrlhf.verifier.compare import Rules, same
from scope_openrlhf.verifier.latex import Unreadable, read
from scope_openrlhf.verifier.spelling import squeeze

MAX_BITS = 100_000
"""Size of the largest integer that may be computed exactly, in bits."""
POINTS = 6
"""Number of points with positive coordinates at which two expressions are compared."""
EXACT, WITH_DECIMALS = sympy.Float("1e-25"), sympy.Float("1e-12")
"""Largest relative difference of equal numbers: they are computed to 30 digits and more, decimals are read at 15."""

Point = dict[sympy.Symbol, sympy.Rational]
"""Symbol -> value."""


class TooLarge(ValueError):
    """A number with more digits than anybody means."""


def decide(gold: str, answers: list[str], rules: Rules) -> bool:
    """Compare with algebra, in a worker: an answer that is no mathematics is not the same as the gold one.

    Raises Unreadable where the gold answer is no mathematics, TooLarge where a number is too large to compute.
    """
    return same(gold, answers, leaf, rules)


def leaf(gold: str, answer: str, kind: str) -> bool:
    """Compare two LaTeX expressions; kind: see compare.Leaf. Raises as decide does."""
    if squeeze(gold) == squeeze(answer):
        return True
    try:
        g = read(gold)
    except Unreadable as error:
        raise Unreadable(f"the gold answer {gold[:80]!r} cannot be read as mathematics") from error
    try:
        a = read(answer)
    except Unreadable:
        return False
    if not (isinstance(g, sympy.Expr) and isinstance(a, sympy.Expr)):
        # what is no plain expression (a set, a logical formula) goes to math-verify's own comparison
        return bool(same_by_math_verify([g], [a], timeout_seconds=None, raise_on_error=True))
    if kind.startswith("near "):
        return _near(g, a, sympy.Rational(kind.removeprefix("near ")))
    return same_relation(g, a, kind) if kind in ("=", "<") else same_value(g, a)


def same_value(g: sympy.Expr, a: sympy.Expr) -> bool:
    """Whether two expressions have the same value: exactly, or at every point where both have one."""
    g, a = _letters(g), _letters(a)
    free = sorted(g.free_symbols | a.free_symbols, key=str)
    _refuse_giants(g)
    _refuse_giants(a)
    if g.has(sympy.oo, sympy.zoo, sympy.nan) or a.has(sympy.oo, sympy.zoo, sympy.nan):
        return bool(g.doit() == a.doit())
    if not free:
        return _equal_numbers(g, a)
    compared = 0
    for point in _points(free, g, a):
        x, y = _at(g, point), _at(a, point)
        if x is None or y is None:
            continue
        # off the positive axes a root or a logarithm may pick another branch; what is real there must agree too
        if any(v < 0 for v in point.values()) and not (x.is_real and y.is_real):
            continue
        if not _close(x, y, WITH_DECIMALS):
            return False
        compared += 1
    if compared < 3:
        return bool(sympy.simplify(g.doit() - a.doit()) == 0)
    return True


def same_relation(g: sympy.Expr, a: sympy.Expr, kind: str) -> bool:
    """Whether two relations, each given as left - right, are the same up to a constant factor.

    kind: "=" or "<"; for an inequality the factor must be positive.
    """
    g, a = _letters(g), _letters(a)
    if g.free_symbols != a.free_symbols:
        return False
    free = sorted(g.free_symbols, key=str)
    if not free:
        return _equal_numbers(g, a)
    ratios = []
    for point in _points(free, g, a):
        x, y = _at(g, point), _at(a, point)
        if x is not None and y is not None and x != 0 and y != 0:
            ratios.append(x / y)
    return (
        len(ratios) >= 3
        and all(_close(r, ratios[0], WITH_DECIMALS) for r in ratios)
        and (kind == "=" or bool(sympy.re(ratios[0]) > 0))
    )


def _near(g: sympy.Expr, a: sympy.Expr, tolerance: sympy.Rational) -> bool:
    """Whether two numbers are no further apart than the tolerance."""
    if a.free_symbols - {sympy.Symbol("i")}:
        return False
    _refuse_giants(a)
    x, y = _at(g, {}), _at(_letters(a), {})
    return x is not None and y is not None and bool(abs(x - y) <= tolerance * (1 + sympy.Float("1e-6")))


def _equal_numbers(g: sympy.Expr, a: sympy.Expr) -> bool:
    """Compare exactly where both are rational; else to the 25th digit (the 12th where one has decimals)."""
    decimals = bool(g.atoms(sympy.Float) | a.atoms(sympy.Float))
    if not decimals:
        x, y = g.doit(), a.doit()
        if x.is_Rational and y.is_Rational:
            return bool(x == y)
    x, y = _at(g, {}, 50), _at(a, {}, 50)
    return x is not None and y is not None and _close(x, y, WITH_DECIMALS if decimals else EXACT)


def _letters(expression: sympy.Expr) -> sympy.Expr:
    """Make i the imaginary unit, and x(t), dv/dt and other unknown functions letters of their own."""
    unknown = expression.atoms(sympy.core.function.AppliedUndef, sympy.Derivative)
    expression = expression.xreplace({f: sympy.Symbol(f"[{f}]") for f in unknown})
    return expression.subs(sympy.Symbol("i"), sympy.I) if sympy.Symbol("i") in expression.free_symbols else expression


def _points(free: list[sympy.Symbol], *expressions: sympy.Expr) -> Iterator[Point]:
    """Yield points with positive coordinates, then with one coordinate negative at a time.

    The same for every pair of expressions with as many symbols. Where something is rounded, integers come first.
    """
    rng = random.Random(len(free))
    if any(e.has(sympy.floor, sympy.ceiling, sympy.Mod) for e in expressions):
        for k in range(1, 18):
            yield {s: sympy.Integer(k + 3 * i) for i, s in enumerate(free)}
        if all(str(s)[0] in "ijklmnpqrNMK" for s in free):  # letters of integers
            return
    for _ in range(POINTS):
        yield {s: sympy.Rational(rng.randint(300, 3000), 997) for s in free}
    if any(e.has(sympy.Abs, sympy.Max, sympy.Min, sympy.Piecewise) for e in expressions):
        for size in (10, 100, 1000):  # beyond the corners that such functions have
            yield {s: sympy.Rational(rng.randint(300, 3000), 997) * size for s in free}
    for s in free[:4]:
        for _ in range(2):
            yield {t: sympy.Rational(rng.randint(300, 3000), 997) * (-1 if t == s else 1) for t in free}


def _at(expression: sympy.Expr, point: Point, digits: int = 30) -> sympy.Expr | None:
    """Value of an expression at a point, None where it has no finite one."""
    value = expression.subs(point).doit()
    if value.has(sympy.floor, sympy.ceiling):
        value = sympy.simplify(value)  # floor(log(8)/log(2)) has no digits to round before it is seen to be an integer
    value = value.evalf(digits)
    return (
        value
        if value.is_number
        and value.is_finite
        and not value.has(sympy.nan)
        and value.is_comparable is not None
        and not value.free_symbols
        else None
    )


def _close(x: sympy.Expr, y: sympy.Expr, tolerance: sympy.Float) -> bool:
    """Whether two numbers differ by no more than the tolerance, relative to the larger one."""
    scale = max(abs(x), abs(y))
    return bool(scale == 0 or abs(x - y) <= tolerance * scale)


def _refuse_giants(expression: sympy.Expr) -> None:
    """Raise TooLarge before sympy computes a power or a factorial with more than MAX_BITS bits."""
    for node in sympy.preorder_traversal(expression):
        # 2^13! has 10^5 bits
        if isinstance(node, sympy.factorial) and node.args[0].is_number and _size(node.args[0]) > 13:
            raise TooLarge("a factorial")
        if isinstance(node, sympy.Pow) and node.args[1].is_number and node.args[0].is_number:
            exponent = _size(node.args[1])
            if exponent > 40 or _size(node.args[0]) * 2.0**exponent > MAX_BITS:
                raise TooLarge("a power")


def _size(expression: sympy.Expr) -> float:
    """Upper bound of log2 of a number's absolute value, without computing the number."""
    if expression.is_Rational:
        return float(max(abs(expression.p).bit_length(), 1))
    if isinstance(expression, sympy.Pow):
        exponent = _size(expression.args[1])
        return float("inf") if exponent > 40 else _size(expression.args[0]) * 2.0**exponent
    if isinstance(expression, sympy.factorial):
        inside = _size(expression.args[0])
        return float("inf") if inside > 13 else inside * 2.0**inside
    if isinstance(expression, sympy.Add | sympy.Mul):
        return float(sum(_size(arg) for arg in expression.args)) + 1
    return 8.0
