"""The leaves: are two LaTeX expressions the same mathematics? By latex2sympy2-extended and sympy, in a worker that may be killed."""

import functools
import random
import re

import sympy
from latex2sympy2_extended import NormalizationConfig, latex2sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig

from scope_openrlhf.verifier.compare import Rules, same
from scope_openrlhf.verifier.spelling import squeeze
from scope_openrlhf.verifier.vocabulary import FUNCTIONS, GREEK

MAX_BITS = 100_000
"""Of an integer that may be computed exactly."""
POINTS = 6
EXACT, WITH_DECIMALS = sympy.Float("1e-25"), sympy.Float("1e-12")
"""Relative difference that still is the same: numbers are compared at 30 digits and more, decimals are read at 15."""


class Unreadable(ValueError):
    """Text that latex2sympy cannot read. `gold` tells which side."""

    def __init__(self, message: str, gold: bool = False) -> None:
        super().__init__(message)
        self.gold = gold


class TooLarge(ValueError):
    """A number with more digits than anybody means."""


def decide(gold: str, answers: list[str], rules: Rules) -> bool:
    """What a worker runs. Raises Unreadable if the gold answer is no mathematics; an answer that is none is not the same."""
    return same(gold, answers, leaf, rules)


def leaf(gold: str, answer: str, kind: str) -> bool:
    if squeeze(gold) == squeeze(answer):
        return True
    try:
        g = read(gold)
    except Unreadable as error:
        raise Unreadable(f"the gold answer {gold[:80]!r} cannot be read as mathematics", gold=True) from error
    try:
        a = read(answer)
    except Unreadable:
        return False
    if not (isinstance(g, sympy.Expr) and isinstance(a, sympy.Expr)):
        return _by_math_verify(g, a)
    if kind.startswith("near "):
        return _near(g, a, sympy.Rational(kind.removeprefix("near ")))
    return same_relation(g, a, kind) if kind in ("=", "<") else same_value(g, a)


# --- reading

_CONVERSION = ConversionConfig(interpret_as_mixed_fractions=True, lowercase_symbols=False)
_NORMALIZATION = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=False, nits=False, boxed="none", equations=False
)
_PLAIN_NAMES = re.compile(
    r"(?:np\.|math\.)?(?<![\\a-zA-Z])("
    + "|".join(sorted([*FUNCTIONS, *GREEK, "infty", "infinity", "inf"], key=len, reverse=True))
    + r")(?![a-zA-Z])"
)
_LETTER = re.compile(r"\\[a-zA-Z]+|([a-zA-Z])_(?:\{([^{}]*)\}|(\w))|(?<!_\{)I")
_MIXED = re.compile(r"(?<![\w.}\\])(\d+)\s*\\frac\{(\d+)\}\{(\d+)\}")
_DERIVATIVE = re.compile(r"\\frac\s*\{\s*d\s*(\^\{?2\}?)?\s*([a-zA-Z])\s*\}\s*\{\s*d\s*[a-zA-Z]\s*(?:\^\{?2\}?)?\s*\}")
_ACCENT = re.compile(r"\\(dot|ddot|hat|vec|bar|tilde|overline)\s*(?:\{\s*([a-zA-Z])\s*\}|(?<=[a-z])\s+([a-zA-Z]))")


def _rename(match: re.Match) -> str:
    """E_1, I_0, e_x and I: letters that the parser takes for constants. A subscript is letters and digits."""
    if match[0] == "I":
        return " Z_{current}"
    if not match[1]:
        return match[0]
    subscript = re.sub(r"[^0-9a-zA-Z]", "", match[2] or match[3] or "")
    return f" Z_{{q{match[1]}{subscript}}}" if match[1] in "EIei" else f" {match[1]}_{{{subscript}}}"


@functools.lru_cache(maxsize=4096)
def read(text: str):
    """LaTeX -> sympy, not evaluated. Raises Unreadable."""
    if text.count("⟦"):
        raise Unreadable(text)
    text = re.sub(r"(\d+\.?\d*|\.\d+)\s*(?:\\%|%)", r"(\1/100)", text)
    text = re.sub(r"(\d+\.?\d*|\.\d+)\s*\^\\circ", r"(\1\\pi/180)", text)
    text = re.sub(r"(\d+\.?\d*|\.\d+)[eE]([+-]?\d{1,3})(?![\w])", r"\1\\cdot 10^{\2}", text)
    text = _PLAIN_NAMES.sub(lambda m: {"infinity": r"\infty ", "inf": r"\infty "}.get(m[1], f"\\{m[1]} "), text)
    text = re.sub(
        r"\\(sqrt|exp)\s*\(([^()]*)\)", lambda m: rf"\sqrt{{{m[2]}}}" if m[1] == "sqrt" else rf"e^{{{m[2]}}}", text
    )
    text = re.sub(r"\\exp\s*\{([^{}]*)\}", r"e^{\1}", text)
    text = re.sub(r"\\lg(?![a-zA-Z])", r"\\log_{10}", text)
    text = re.sub(r"\\log\s*_\s*(?:\{\s*e\s*\}|e)", r"\\ln ", text)
    text = re.sub(r"\\log\s*_\s*(?:\{([^{}]*)\}|(\w))\s*(\d+)", lambda m: rf"\log_{{{m[1] or m[2]}}}({m[3]})", text)
    text = _MIXED.sub(lambda m: rf"({m[1]}+\frac{{{m[2]}}}{{{m[3]}}})" if int(m[2]) < int(m[3]) else m[0], text)
    text = _DERIVATIVE.sub(lambda m: f"{m[2]}_{{prime{2 if m[1] else 1}}}", text)
    # gamma and Gamma, which the parser applies to what follows unless they are plain letters
    text = re.sub(r"\\(gamma(?![a-zA-Z])|Gamma(?![a-zA-Z]|\s*\())", r" Z_{\1letter}", text)
    text = _LETTER.sub(_rename, text)
    text = re.sub(r"([a-zA-Z]|(?<=\}))('+)", lambda m: f"{m[1]}_{{prime{len(m[2])}}}", text)
    text = _ACCENT.sub(
        lambda m: f"{m[2] or m[3]}_{{{'prime' + str(m[1].count('d')) if 'dot' in m[1] else m[1]}}}", text
    )
    for _ in range(2):
        text = re.sub(r"_\{([^{}]*)\}\s*_(?:\{(\w*)\}|(\w))", lambda m: f"_{{{m[1]}{m[2] or m[3]}}}", text)
    text = re.sub(r"\\mathcal\s*\{?([A-Z])\}?", r"\1_{cal}", text)
    if re.search(r"\d\s+\.?\d", text):
        raise Unreadable(text)  # the parser would read "1 2" as 12
    try:
        return latex2sympy(text.strip(), conversion_config=_CONVERSION, normalization_config=_NORMALIZATION)
    except RecursionError:
        raise
    except Exception as error:  # border to a parser: any of its exceptions means that it cannot read this
        raise Unreadable(f"{type(error).__name__}: {error}") from error


# --- comparing


def same_value(g: sympy.Expr, a: sympy.Expr) -> bool:
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
        # off the positive axes a root or a logarithm may pick another branch; what is real there must agree all the same
        if any(v < 0 for v in point.values()) and not (x.is_real and y.is_real):
            continue
        if not _close(x, y, WITH_DECIMALS):
            return False
        compared += 1
    if compared < 3:
        return bool(sympy.simplify(g.doit() - a.doit()) == 0)
    return True


def same_relation(g: sympy.Expr, a: sympy.Expr, kind: str) -> bool:
    """left - right of two relations: the same up to a constant factor, positive for inequalities."""
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
    if a.free_symbols - {sympy.Symbol("i")}:
        return False
    _refuse_giants(a)
    x, y = _at(g, {}), _at(_letters(a), {})
    return x is not None and y is not None and bool(abs(x - y) <= tolerance * (1 + sympy.Float("1e-6")))


def _equal_numbers(g: sympy.Expr, a: sympy.Expr) -> bool:
    """Exactly, where both are rational; else to the 25th digit (the 12th where one has decimals)."""
    decimals = bool(g.atoms(sympy.Float) | a.atoms(sympy.Float))
    if not decimals:
        x, y = g.doit(), a.doit()
        if x.is_Rational and y.is_Rational:
            return bool(x == y)
    x, y = _at(g, {}, 50), _at(a, {}, 50)
    return x is not None and y is not None and _close(x, y, WITH_DECIMALS if decimals else EXACT)


def _letters(expression: sympy.Expr) -> sympy.Expr:
    """i is the imaginary unit; x(t), dv/dt and other unknown functions are letters of their own."""
    unknown = expression.atoms(sympy.core.function.AppliedUndef, sympy.Derivative)
    expression = expression.xreplace({f: sympy.Symbol(f"[{f}]") for f in unknown})
    return expression.subs(sympy.Symbol("i"), sympy.I) if sympy.Symbol("i") in expression.free_symbols else expression


def _points(free: list, *expressions: sympy.Expr):
    """Positive ones, then with one symbol negative at a time; the same for every pair of expressions. Where something is rounded, integers too."""
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


def _at(expression: sympy.Expr, point: dict, digits: int = 30):
    """Its finite value, or None."""
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


def _close(x, y, tolerance) -> bool:
    scale = max(abs(x), abs(y))
    return bool(scale == 0 or abs(x - y) <= tolerance * scale)


def _refuse_giants(expression: sympy.Expr) -> None:
    """Raise TooLarge before sympy computes a power or a factorial with more than MAX_BITS bits."""
    for node in sympy.preorder_traversal(expression):
        if (
            isinstance(node, sympy.factorial) and node.args[0].is_number and _size(node.args[0]) > 13
        ):  # 2^13! has 10^5 bits
            raise TooLarge("a factorial")
        if isinstance(node, sympy.Pow) and node.args[1].is_number and node.args[0].is_number:
            exponent = _size(node.args[1])
            if exponent > 40 or _size(node.args[0]) * 2.0**exponent > MAX_BITS:
                raise TooLarge("a power")


def _size(expression: sympy.Expr) -> float:
    """log2 of its absolute value, an upper bound, without computing it."""
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


def _by_math_verify(g, a) -> bool:
    """What is no plain expression (a set, a logical formula) goes to math-verify's own comparison."""
    from math_verify import verify

    return bool(verify([g], [a], timeout_seconds=None, raise_on_error=True))
