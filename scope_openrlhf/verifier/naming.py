"""Comparison of words, ratios, times of day and numbers in bases."""

import re
from fractions import Fraction

from scope_openrlhf.verifier.forms import Again, Based, Clock, Form, Leaf, Math, Ratio, Words, as_latex
from scope_openrlhf.verifier.numbers import Number


def same_ratios(g: Form, a: Form, leaf: Leaf, again: Again) -> bool:
    """Compare times of day, part by part, and ratios up to a factor that is not zero."""
    if isinstance(g, Clock) and isinstance(a, Clock) and (len(g.parts) == 2 or g.parts == a.parts):
        return g.parts == a.parts and (g.half == a.half or not g.half or not a.half)
    if isinstance(g, Clock) and len(g.parts) == 2:
        return False
    x, y = (Ratio(tuple(Number(Fraction(p)) for p in f.parts)) if isinstance(f, Clock) else f for f in (g, a))
    for ratio, other in ((x, y), (y, x)):  # 2:5 for 2/5
        if isinstance(ratio, Ratio) and len(ratio.parts) == 2 and isinstance(other, Number | Math):
            quotient = rf"\frac{{{as_latex(ratio.parts[0])}}}{{{as_latex(ratio.parts[1])}}}"
            return not (isinstance(other, Number) and other.mark) and again(
                *((Math(quotient), other) if ratio is x else (other, Math(quotient)))
            )
    if not (isinstance(x, Ratio) and isinstance(y, Ratio) and len(x.parts) == len(y.parts)):
        return False
    if all(isinstance(p, Number) for p in (*x.parts, *y.parts)):
        values = [[p.value for p in r.parts if isinstance(p, Number)] for r in (x, y)]
        pairs = list(zip(*values, strict=True))
        if any((p == 0) != (q == 0) for p, q in pairs):
            return False
        factors = {q / p for p, q in pairs if p}
        return len(factors) == 1 and not any(f < 0 for f in factors)
    first = [as_latex(r.parts[0]) for r in (x, y)]
    return all(
        leaf(rf"({as_latex(p)})\cdot({first[1]})", rf"({as_latex(q)})\cdot({first[0]})", "value")
        for p, q in zip(x.parts, y.parts, strict=True)
    ) and not any(leaf(as_latex(p), "0", "value") for p in y.parts)


def same_words(g: Form, a: Form, leaf: Leaf) -> bool:
    """Compare where one side or both are words."""
    if isinstance(g, Words) and isinstance(a, Words) and g.text == a.text:
        # a word may be written in another case, a formula may not: mgh is not mgH
        return all(
            not f.plain or f.plain in (f.plain.lower(), f.plain.upper()) or " " in f.plain or f.plain[1:].islower()
            for f in (g, a)
        )
    texts = [f.plain if isinstance(f, Words) else as_latex(f) for f in (g, a)]
    bare = [t.strip("() .").casefold() for t in (f.text if isinstance(f, Words) else as_latex(f) for f in (g, a))]
    if bare[0] == bare[1] and bare[0]:
        return True
    if not all(texts) or not all(t.isascii() for t in texts):
        return False
    if isinstance(g, Words) and isinstance(a, Words):
        if sorted(texts[0]) == sorted(texts[1]) and _is_product(texts[0]) and _is_product(texts[1]):
            return True
        # letters without \text{} may be a product; with a vowel or in capitals alone they are a word or a name
        if any(re.search("[aeiouyAEIOUY]", t) or t.isupper() for t in texts):
            return False
    if all(len(t) <= 6 and " " not in t for t, f in zip(texts, (g, a), strict=True) if isinstance(f, Words)):
        return leaf(texts[0], texts[1], "value")
    return False


def _is_product(text: str) -> bool:
    """Whether letters are more likely a product than a word: xy, AB."""
    return len(text) == 2 and (text.isupper() or text.islower()) and text.lower() not in ("no", "on", "is", "if", "or")


def in_tens(number: Based) -> int:
    """Value of a number in a base; -1 where its digits do not belong to the base."""
    try:
        return int(number.digits, int(number.base))
    except ValueError:
        return -1
