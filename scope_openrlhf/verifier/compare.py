"""Comparison of two answers by form, down to the leaves; what only algebra can tell is asked of `leaf`."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from scope_openrlhf.verifier.forms import (
    Based,
    Bracket,
    Form,
    Items,
    Math,
    Matrix,
    Named,
    Ratio,
    Relation,
    SetUnion,
    Words,
)
from scope_openrlhf.verifier.numbers import Number
from scope_openrlhf.verifier.parse import parse
from scope_openrlhf.verifier.spelling import clean
from scope_openrlhf.verifier.vocabulary import PREFIXED, UNITS

Leaf = Callable[[str, str, str], bool]
"""(gold, answer, kind) -> same. kind: "value", "=" for two equations (as left - right), "<" for two inequalities, or
"near X" for values that may be X apart."""
Again = Callable[[Form, Form], bool]
"""Comparison of a part of the gold with a part of the answer."""

_MARKS = {"": "", "%": "", "deg": "deg"}
"""Mark of a number -> the unit that it stands for."""
_KNOWN = set(UNITS.values()) | PREFIXED
"""Units of which two that differ are not the same."""


@dataclass(frozen=True)
class Rules:
    """What a benchmark asks of the comparison beside equality."""

    significant: bool = False
    """A gold decimal with two figures or more accepts every number that rounds to it, for benchmarks that state
    significant figures."""


def same(gold: str, answers: list[str], leaf: Leaf, rules: Rules) -> bool:
    """Whether an answer is the gold one.

    gold: raw. answers: what the boxes that belong together hold, raw. Raises TooDeep, or whatever leaf raises.
    """
    cleaned = [clean(a) for a in answers]
    # several boxes in one breath: right if each is, or if together they are all the answers; "3 or 4" is not 3
    each = all(
        any(_same(g, a, leaf, rules) for g in readings(clean(gold), gold=True) for a in readings(text))
        for text in cleaned
    )
    if each or len(answers) == 1:
        return each
    return any(
        _same(g, Items(tuple(next(readings(a)) for a in cleaned)), leaf, rules)
        for g in readings(clean(gold), gold=True)
    )


def readings(text: str, gold: bool = False) -> Iterator[Form]:
    """Yield the ways to read a cleaned answer.

    "5 m" is a length or a product, "1,234" a number or two; "(C) 42" names a choice and its value.
    """
    seen = set()
    for plain_units, commas_separate in ((True, False), (False, False), (True, True)):
        if commas_separate and gold:
            continue  # 1,234 is a number where it is the gold
        form = parse(text, plain_units, commas_separate)
        if form not in seen:
            seen.add(form)
            yield form
    label = text.lstrip("⟦(").partition(")")
    if text[:1] in "⟦(" and len(label[0]) == 1 and label[0] in "ABCDE" and label[1]:
        rest = label[2].lstrip("⟧ .:").strip()
        if rest and label[2][:1] in (" ", "⟧") and not re.search(r"\(?[A-E]\)", rest):
            yield parse(rest)
            yield parse(label[0])


def _same(g: Form, a: Form, leaf: Leaf, rules: Rules) -> bool:
    """Whether two forms are the same; the first kind that one of them is decides how that is told."""

    def again(x: Form, y: Form) -> bool:
        return _same(x, y, leaf, rules)

    if isinstance(g, Number) and isinstance(a, Number):
        return _numbers(g, a, rules)
    if isinstance(g, Named) or isinstance(a, Named):
        return _named(g, a, again)
    if isinstance(g, SetUnion) or isinstance(a, SetUnion):
        return _each_has_its_match(_parts(g), _parts(a), again)
    if isinstance(g, Items) or isinstance(a, Items):
        return _items(g, a, again)
    if isinstance(g, Matrix) or isinstance(a, Matrix):
        return _matrices(g, a, again)
    if isinstance(g, Bracket) and isinstance(a, Bracket):
        kinds = (g.opened, g.closed, len(g.items)), (a.opened, a.closed, len(a.items))
        return kinds[0] == kinds[1] and all(map(again, g.items, a.items))
    if isinstance(g, Relation) and isinstance(a, Relation):
        return _relations(g, a, leaf)
    if isinstance(g, Number) and isinstance(a, Relation) and _is_sum_of_letters(a):
        return again(g, parse(a.right))  # "m + n = 3" where the question asks for m + n
    if isinstance(g, Ratio) and isinstance(a, Ratio):
        return len(g.parts) == len(a.parts) and all(
            x.value * a.parts[0].value == y.value * g.parts[0].value for x, y in zip(g.parts, a.parts, strict=True)
        )
    if isinstance(g, Based) or isinstance(a, Based):
        return g == a
    if isinstance(g, Words) or isinstance(a, Words):
        return _words(g, a, leaf)
    if isinstance(g, Number | Math) and isinstance(a, Number | Math):
        return _values(g, a, leaf, rules)
    return False


def _numbers(g: Number, a: Number, rules: Rules) -> bool:
    """Compare two numbers exactly, or to the figures that the gold one states."""
    if not _units_agree(g.unit or _MARKS[g.mark], a.unit or _MARKS[a.mark]):
        return False
    if {g.mark, a.mark} == {"deg", "%"}:
        return False
    close = g.places / 2 * Fraction(1_000_001, 1_000_000) if rules.significant and g.places else Fraction(0)

    def near(value: Fraction) -> bool:
        return abs(value - g.value) <= close

    if near(a.value):
        return True  # "10%" for 10 too: where the question asks for percent, the sign is a unit
    if a.mark == "%" and g.mark != "%":
        return near(a.value / 100)
    if g.mark == "%" and a.mark != "%":
        return near(a.value * 100)
    return False


def _values(g: Number | Math, a: Number | Math, leaf: Leaf, rules: Rules) -> bool:
    """Compare two values of which one at least is no plain number."""
    if not _units_agree(g.unit, a.unit):
        return False
    kind = "value"
    if rules.significant and isinstance(g, Number) and g.places:
        kind = f"near {g.places / 2}"
    return leaf(_text(g), _text(a), kind)


def _units_agree(gold: str, answer: str) -> bool:
    """Whether two known units are the same one; a missing one is what the problem says."""
    known = all(word in _KNOWN for unit in (gold, answer) for word in re.findall("[A-Za-z]+", unit))
    return gold == answer or not gold or not answer or not known


def _named(g: Form, a: Form, again: Again) -> bool:
    """Compare where one side or both have a name: x = 3 is 3, and is x - 3 = 0 where that is no number."""
    if isinstance(g, Named) and isinstance(a, Named):
        turned = (_text(a.value).replace(" ", ""), a.name) == (g.name, _text(g.value).replace(" ", ""))
        return (g.name == a.name and again(g.value, a.value)) or turned  # B = A for A = B
    if isinstance(g, Named):
        if isinstance(a, Relation) and _text(g.value) and not isinstance(g.value, Number):
            return again(Relation(g.name, "=", _text(g.value)), a)
        return again(g.value, a)
    assert isinstance(a, Named)
    if isinstance(g, Relation):
        return bool(_text(a.value)) and again(g, Relation(a.name, "=", _text(a.value)))
    return again(g, a.value)


def _relations(g: Relation, a: Relation, leaf: Leaf) -> bool:
    """Compare two equations or inequalities, which may be turned into one another by algebra."""
    if g.sign != a.sign:
        return False
    if (g.left.replace(" ", ""), g.right.replace(" ", "")) == (a.left.replace(" ", ""), a.right.replace(" ", "")):
        return True
    return leaf(f"({g.left})-({g.right})", f"({a.left})-({a.right})", "=" if g.sign in ("=", "!=") else "<")


def _is_sum_of_letters(a: Relation) -> bool:
    """Whether a relation says what a sum of letters is: m + n = 3."""
    return a.sign == "=" and bool(re.fullmatch(r"[a-zA-Z](?:\s*[+-]\s*[a-zA-Z])+", a.left))


def _matrices(g: Form, a: Form, again: Again) -> bool:
    """Compare where one side or both are a matrix; a row or a column may be written as a tuple."""
    if isinstance(g, Matrix) and isinstance(a, Matrix):
        return [len(r) for r in g.rows] == [len(r) for r in a.rows] and all(map(again, _flat(g), _flat(a)))
    gold, answer = _as_vector(g), _as_vector(a)
    if gold is None or answer is None or len(gold) != len(answer):
        return False
    return all(map(again, gold, answer))


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


def _items(g: Form, a: Form, again: Again) -> bool:
    """Compare where one side or both are lists."""
    if isinstance(g, Items) and isinstance(a, Items) and g.names and a.names:
        named = dict(zip(a.names, a.items, strict=True))
        return set(g.names) == set(a.names) and all(again(x, named[n]) for n, x in zip(g.names, g.items, strict=True))
    if isinstance(g, Items | Bracket) and isinstance(a, Items | Bracket):  # x = 1, y = 2 is (1, 2)
        for one, other in ((g, a), (a, g)):
            if isinstance(one, Items) and one.names and isinstance(other, Bracket):
                return len(g.items) == len(a.items) and all(map(again, g.items, a.items))
    if isinstance(g, Bracket | Matrix | SetUnion) and isinstance(a, Items) and len(a.items) != 1:
        return False
    return _each_has_its_match(_parts(g), _parts(a), again)


def _parts(form: Form) -> tuple[Form, ...]:
    """Parts of a union or a list; any other form is its only part."""
    return form.parts if isinstance(form, SetUnion) else form.items if isinstance(form, Items) else (form,)


def _each_has_its_match(gold: tuple[Form, ...], answer: tuple[Form, ...], again: Again) -> bool:
    """Compare as sets: an answer given twice is one answer."""
    if len(gold) > 100 or len(answer) > 100 or bool(gold) != bool(answer):
        return False
    return all(any(again(g, a) for a in answer) for g in gold) and all(any(again(g, a) for g in gold) for a in answer)


def _words(g: Form, a: Form, leaf: Leaf) -> bool:
    """Compare where one side or both are words."""
    if isinstance(g, Words) and isinstance(a, Words) and g.text == a.text:
        # a word may be written in another case, a formula may not: mgh is not mgH
        return all(
            not f.plain or f.plain in (f.plain.lower(), f.plain.upper()) or " " in f.plain or f.plain[1:].islower()
            for f in (g, a)
        )
    texts = [f.plain if isinstance(f, Words) else _text(f) for f in (g, a)]
    bare = [t.strip("() .").casefold() for t in (f.text if isinstance(f, Words) else _text(f) for f in (g, a))]
    if bare[0] == bare[1] and bare[0]:
        return True
    # letters without \text{} may be a product; with a vowel or in capitals alone they are a word or a name
    if (
        isinstance(g, Words)
        and isinstance(a, Words)
        and any(re.search("[aeiouyAEIOUY]", t) or t.isupper() for t in texts)
    ):
        return False
    if all(texts) and all(
        len(t) <= 6 and " " not in t for t, f in zip(texts, (g, a), strict=True) if isinstance(f, Words)
    ):
        return leaf(texts[0], texts[1], "value")
    return False


def _text(form: Form) -> str:
    """Write a form as LaTeX again, exactly; empty for what is no single value."""
    if isinstance(form, Math):
        return form.text
    if isinstance(form, Number):
        value = form.value / 100 if form.mark == "%" else form.value
        text = str(value.numerator) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
        return rf"({text})\cdot\frac{{\pi}}{{180}}" if form.mark == "deg" else text
    return form.plain if isinstance(form, Words) else ""
