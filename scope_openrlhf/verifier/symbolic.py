"""Comparison of leaves, two LaTeX expressions, as mathematics: by sympy, in a worker that may be killed."""

import random
from collections.abc import Iterator

import sympy
from math_verify import verify as same_by_math_verify

from scope_openrlhf.verifier.compare import Rules, same
from scope_openrlhf.verifier.giants import TooLarge, has_giants, same_giants
from scope_openrlhf.verifier.latex import Unreadable, read
from scope_openrlhf.verifier.sets import NoOrder
from scope_openrlhf.verifier.spelling import squeeze

DIGITS, SURE_DIGITS = 60, 400
"""Digits to which values are computed: everywhere, and where two numbers are the same so far."""
MAX_EXPONENT = 300
"""Exponent of a letter up to which powers of fractions are computed exactly."""
MAX_FLOAT_EXPONENT = 1_000_000
"""Exponent of a letter beyond which two expressions are the same only if they are written alike."""

_LARGE = (23, 37, 50, 97, 100, 144, 365, 1000, 4321)
"""Values of letters that are rounded, where floor(n/100) begins to say something."""
Point = dict[sympy.Symbol, sympy.Rational]
"""Symbol -> value."""


def decide(gold: str, answers: list[str], rules: Rules) -> bool:
    """Compare with algebra, in a worker: an answer that is no mathematics is not the same as the gold one.

    Raises Unreadable where the gold answer is no mathematics, TooLarge where a number is too large to compute.
    """
    return same(gold, answers, leaf, rules)


def leaf(gold: str, answer: str, kind: str) -> bool:
    """Compare two LaTeX expressions; kind: see compare.Leaf. Raises as decide does, and NoOrder."""
    if squeeze(gold) == squeeze(answer) and kind != "less":
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
    g, a = _letters(g), _letters(a)
    if kind == "less":
        return _is_less(g, a)
    if kind.startswith("near "):
        return _near(g, a, sympy.Rational(kind.removeprefix("near ")))
    if kind.startswith("at "):
        letter, _, value = kind.removeprefix("at ").partition("=")
        g, a = (e.subs(read(letter), sympy.Rational(value)) for e in (g, a))
    return same_relation(g, a, kind) if kind in ("=", "<") else same_value(g, a)


def same_value(g: sympy.Expr, a: sympy.Expr) -> bool:
    """Whether two expressions have the same value: exactly, or at every point where both have a real one.

    What neither has a value for (1/0) is the same as nothing.
    """
    if g.has(sympy.zoo, sympy.nan) or a.has(sympy.zoo, sympy.nan):
        return False
    if has_giants(g) or has_giants(a):
        return same_giants(g, a)
    if g.has(sympy.oo) or a.has(sympy.oo):
        return bool(g.doit() == a.doit())
    a = _with_constant(g, a)
    free = sorted(g.free_symbols | a.free_symbols, key=str)
    if not free:
        return _equal_numbers(g, a)
    if any(p.exp.is_number and abs(p.exp) > MAX_FLOAT_EXPONENT for p in g.atoms(sympy.Pow) | a.atoms(sympy.Pow)):
        return bool(g == a)
    is_complex = g.has(sympy.I) or a.has(sympy.I)
    compared = 0
    for point in _points(free, g, a):
        x, y = _at(g, point), _at(a, point)
        if x is None or y is None:
            continue
        real = (x.is_real, y.is_real)
        # outside the domain of a root or a logarithm; off the positive axes it may pick another branch
        if not is_complex and (not any(real) or (not all(real) and any(v < 0 for v in point.values()))):
            continue
        if not _close(x, y):
            return False
        compared += 1
    if compared < 3:
        return bool(sympy.simplify(g.doit() - a.doit()) == 0)
    return True


def _with_constant(g: sympy.Expr, a: sympy.Expr) -> sympy.Expr:
    """The answer with the gold's names of constants: + C may be written + c or + k, and C_1 as c_1."""
    ours, theirs = g.free_symbols - a.free_symbols, a.free_symbols - g.free_symbols
    names = {str(s): s for s in ours}
    for symbol in theirs:
        name = str(symbol)
        if name.startswith("c_") and "C" + name[1:] in names:
            a = a.subs(symbol, names["C" + name[1:]])
        elif name in ("c", "k", "K") and list(names) == ["C"] and sympy.diff(g, names["C"]) == 1:
            a = a.subs(symbol, names["C"])
    return a


def same_relation(g: sympy.Expr, a: sympy.Expr, kind: str) -> bool:
    """Whether two relations, each given as left - right, are the same up to a constant factor.

    kind: "=" or "<"; for an inequality the factor must be positive.
    """
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
    if len(ratios) >= 3 and all(_close(r, ratios[0]) for r in ratios):
        return kind == "=" or bool(sympy.re(ratios[0]) > 0)
    return kind == "=" and any(_solves(x, y, s) for s in free for x, y in ((g, a), (a, g)))


def _solves(solved: sympy.Expr, other: sympy.Expr, letter: sympy.Symbol) -> bool:
    """Whether one equation says what a letter is, and the other one, in which that letter is no power, says the same.

    y = 4/x for xy = 4.
    """
    slope = sympy.diff(solved, letter)
    if not slope.is_number or slope == 0 or sympy.diff(other, letter, 2) != 0:
        return False
    factor, rest = sympy.diff(other, letter), sympy.expand(other).subs(letter, 0)
    if factor == 0 or not sympy.gcd(*(sympy.numer(sympy.together(e)) for e in (factor, rest))).is_number:
        return False  # xy = 2x^2 is true for x = 0 too
    return same_value(other.subs(letter, sympy.expand(letter - solved / slope).subs(letter, 0)), sympy.Integer(0))


def _is_less(g: sympy.Expr, a: sympy.Expr) -> bool:
    """Whether the first number is the smaller one. Raises NoOrder where one is no real number."""
    x, y = (None if e.free_symbols or has_giants(e) else _at(e, {}) for e in (g, a))
    if x is None or y is None or not (x.is_real and y.is_real):
        raise NoOrder
    return bool(x < y)


def _near(g: sympy.Expr, a: sympy.Expr, tolerance: sympy.Rational) -> bool:
    """Whether two numbers are no further apart than the tolerance."""
    if a.free_symbols:
        return False
    if has_giants(a):
        raise TooLarge("a power")
    x, y = _at(g, {}), _at(a, {})
    return x is not None and y is not None and bool(abs(x - y) <= tolerance * (1 + sympy.Float("1e-6")))


def _equal_numbers(g: sympy.Expr, a: sympy.Expr) -> bool:
    """Compare exactly where both are rational; else to so many digits that no near miss passes."""
    x, y = g.doit(), a.doit()
    if x.is_Rational and y.is_Rational:
        return bool(x == y)
    x, y = _at(g, {}), _at(a, {})
    if x is None or y is None or not _close(x, y):
        return False
    if g.has(sympy.Integral, sympy.Sum, sympy.Limit) or a.has(sympy.Integral, sympy.Sum, sympy.Limit):
        return True
    x, y = _at(g, {}, SURE_DIGITS), _at(a, {}, SURE_DIGITS)
    return x is None or y is None or _close(x, y, SURE_DIGITS)


def _letters(expression: sympy.Expr) -> sympy.Expr:
    """Make i the imaginary unit, and x(t), dv/dt and other unknown functions letters of their own."""
    unknown = expression.atoms(sympy.core.function.AppliedUndef, sympy.Derivative)
    named = {f: sympy.zeta(*f.args) if str(f.func) == r"\zeta" else sympy.Symbol(f"[{f}]") for f in unknown}
    expression = expression.xreplace(named)
    return expression.subs(sympy.Symbol("i"), sympy.I) if sympy.Symbol("i") in expression.free_symbols else expression


def _points(free: list[sympy.Symbol], *expressions: sympy.Expr) -> Iterator[Point]:
    """Yield points with positive coordinates, small and large, then with one coordinate negative at a time.

    The same for every pair of expressions with as many symbols. Where something counts or is rounded, letters of
    integers are integers.
    """
    rng = random.Random(len(free))
    limits = {
        s
        for e in expressions
        for f in e.atoms(sympy.Sum, sympy.Product)
        for _, *ends in f.limits
        for s in sympy.Tuple(*ends).free_symbols
    }
    integers = [s for s in free if str(s)[0] in "ijklmnpqrNMK" or s in limits]
    rounds = any(e.has(sympy.floor, sympy.ceiling, sympy.Mod) for e in expressions)
    if rounds or any(_counts(e) for e in expressions):
        for k in (*range(2, 17 if rounds else 9), *(_LARGE if rounds else ())):
            others = {s: sympy.Rational(rng.randint(300, 3000), 997) for s in free}
            yield others | {s: sympy.Integer(k + 3 * i) for i, s in enumerate(integers)}
            yield others | {s: sympy.Integer(rng.randint(1, k + 6)) for s in integers}
        for k in range(1, 6) if rounds else ():  # just below an integer
            yield {
                s: sympy.Integer(k + i) - int(s not in integers) * sympy.Rational(1, 10**6) for i, s in enumerate(free)
            }
        if len(integers) == len(free) or (integers and not rounds):
            return
    for low, high in [(300, 3000)] * 4 + [(20, 970)] * 3 + [(12_000, 90_000)] * 2 + [(3, 960)] * 2:
        yield {s: sympy.Rational(rng.randint(low, high), 997) for s in free}
    if any(e.has(sympy.Abs, sympy.Max, sympy.Min, sympy.Piecewise) for e in expressions):
        for size in (100, 1000):  # beyond the corners that such functions have
            yield {s: sympy.Rational(rng.randint(300, 3000), 997) * size for s in free}
    # letters with a subscript are quantities, which are positive as like as not
    for s in [s for s in free if "_" not in str(s)][:8]:
        for size in (1, 1, 30):
            yield {t: sympy.Rational(rng.randint(300, 3000), 997) * (-size if t == s else 1) for t in free}


def _counts(expression: sympy.Expr) -> bool:
    """Whether letters of an expression count something: the terms of a sum, a sign that changes."""
    if expression.has(sympy.Sum, sympy.Product, sympy.factorial, sympy.binomial):
        return True
    powers = expression.atoms(sympy.Pow)
    return any(p.base.is_negative and p.exp.free_symbols for p in powers)


def _at(expression: sympy.Expr, point: Point, digits: int = DIGITS) -> sympy.Expr | None:
    """Value of an expression at a point, None where it has no finite one."""
    if point and any(_is_costly(p) for p in expression.atoms(sympy.Pow)) and not _counts(expression):
        value = expression.evalf(digits, subs=point)
    else:
        value = expression.subs(point).doit()
        if value.is_Rational:
            return value
        if value.has(sympy.floor, sympy.ceiling):
            # floor(log(8)/log(2)) has no digits to round before it is seen to be an integer
            value = sympy.simplify(value)
        value = value.evalf(digits)
    if not value.is_number or not value.is_finite or value.has(sympy.nan) or value.free_symbols:
        return None
    # of a value that is zero no digit is left after the terms have cancelled each other
    lost = {f: sympy.Integer(0) for f in value.atoms(sympy.Float) if f._prec < 10}
    return value.xreplace(lost) if lost else value


def _is_costly(power: sympy.Pow) -> bool:
    """Whether sympy would spend seconds on the exact value of a power at a point with fractions."""
    exponent = power.exp
    return bool(exponent.free_symbols and power.base != sympy.E) or bool(
        exponent.is_number and abs(exponent) > MAX_EXPONENT
    )


def _close(x: sympy.Expr, y: sympy.Expr, digits: int = DIGITS) -> bool:
    """Whether two numbers agree in all but the last ten of the digits that were computed; fractions agree in all."""
    if x.is_Rational and y.is_Rational:
        return bool(x == y)
    scale = max(abs(x), abs(y))
    return bool(scale == 0 or abs(x - y) <= sympy.Float(10, 30) ** (10 - digits) * scale)
