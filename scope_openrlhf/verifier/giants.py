"""Integers too large to write down, compared without computing them: modulo primes, or by their size alone."""

import sympy

MAX_BITS = 100_000
"""Size of the largest number that is computed exactly, in bits."""
MAX_FACTORIAL = 100_000
"""Largest n of which n! is computed modulo a prime."""
_PRIMES = (2**61 - 1, 2**61 - 31, 2**61 - 45)
"""Two different numbers agree modulo all three by chance once in some 10^55 cases."""


class TooLarge(ValueError):
    """A number with more digits than anybody means, or with no way to compare it."""


def has_giants(expression: sympy.Expr) -> bool:
    """Whether sympy would compute a power or a factorial with more than MAX_BITS bits."""
    for node in sympy.preorder_traversal(expression):
        # 2^13! has 10^5 bits
        if isinstance(node, sympy.factorial) and node.args[0].is_number and _size(node.args[0]) > 13:
            return True
        if isinstance(node, sympy.Pow) and node.args[1].is_number and node.args[0].is_number:
            exponent = _size(node.args[1])
            if exponent > 40 or _size(node.args[0]) * 2.0**exponent > MAX_BITS:
                return True
    return False


def same_giants(g: sympy.Expr, a: sympy.Expr) -> bool:
    """Compare two numbers of which one at least is too large to compute. Raises TooLarge where nobody can."""
    residues = [[_residue(e, prime) for prime in _PRIMES] for e in (g, a)]
    if None not in residues[0] and None not in residues[1]:
        return residues[0] == residues[1]
    if any(is_surely_larger(x, y) for x, y in ((g, a), (a, g))):
        return False
    if all(_is_computable(e) for e in (g, a)):  # with an exponent that a machine holds, though without all digits
        x, y = g.evalf(60), a.evalf(60)
        if x.is_number and y.is_number and abs(x - y) > sympy.Float(10, 30) ** -50 * max(abs(x), abs(y)):
            return False
    raise TooLarge("a power or a factorial that is too large to compute")


def _is_computable(expression: sympy.Expr) -> bool:
    """Whether the leading digits of a number can be computed: no exponent has more than 40 bits."""
    if expression.free_symbols or expression.has(sympy.factorial):
        return False
    exponents = [_small_integer(p.exp) for p in expression.atoms(sympy.Pow) if p.exp.is_number]
    return all(e is not None and abs(e) < 2**40 for e in exponents)


def is_surely_larger(large: sympy.Expr, small: sympy.Expr) -> bool:
    """Whether one number is a giant by its form, a power or factorial of integers, and the other one is none."""
    if has_giants(small) or small.free_symbols or not has_giants(large):
        return False
    while isinstance(large, sympy.Pow) and large.args[0].is_Integer and large.args[0] > 1:
        if has_giants(large) and not has_giants(large.args[1]):
            exponent = large.args[1].doit()
            return bool(exponent.is_Integer and exponent > MAX_BITS)
        large = large.args[1]
    return isinstance(large, sympy.factorial) and not large.free_symbols


def _residue(expression: sympy.Expr, prime: int) -> int | None:
    """Value of a rational number modulo a prime; None for what is no fraction, or too large even so."""
    if expression.is_Rational:
        return int(expression.p) * pow(int(expression.q), -1, prime) % prime if expression.q % prime else None
    parts = [_residue(arg, prime) for arg in expression.args] if isinstance(expression, sympy.Add | sympy.Mul) else []
    if parts:
        total = 0 if isinstance(expression, sympy.Add) else 1
        for part in parts:
            if part is None:
                return None
            total = (total + part if isinstance(expression, sympy.Add) else total * part) % prime
        return total
    if isinstance(expression, sympy.Pow):
        base, exponent = _residue(expression.args[0], prime), _small_integer(expression.args[1])
        if expression.args[0] == 1:
            return 1
        if base is None or exponent is None or (exponent < 0 and base == 0):
            return None
        return pow(base, exponent, prime)
    if isinstance(expression, sympy.factorial):
        n = _small_integer(expression.args[0])
        if n is None:
            return None
        if not 0 <= n <= MAX_FACTORIAL:
            return None
        product = 1
        for k in range(2, n + 1):
            product = product * k % prime
        return product
    if isinstance(expression, sympy.UnevaluatedExpr):
        return _residue(expression.args[0], prime)
    return None


def _small_integer(expression: sympy.Expr) -> int | None:
    """Value of an integer that can be computed; None for anything else."""
    if has_giants(expression) or expression.free_symbols:
        return None
    value = expression.doit()
    return int(value) if value.is_Integer else None


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
