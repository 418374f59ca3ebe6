"""Are two answers the same? By form, down to the leaves; what only algebra can tell is asked of `leaf`."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from scope_openrlhf.verifier.forms import (
    Based,
    Bracket,
    Items,
    Math,
    Matrix,
    Named,
    Ratio,
    Relation,
    Union,
    Words,
    parse,
)
from scope_openrlhf.verifier.numbers import Number
from scope_openrlhf.verifier.spelling import clean
from scope_openrlhf.verifier.vocabulary import PREFIXED, UNITS

Leaf = Callable[[str, str, str], bool]
"""(gold, answer, kind) -> same; kind is "value", "=" for two equations (as left - right) or "<" for two inequalities."""


@dataclass(frozen=True)
class Rules:
    significant: bool = False
    """A gold decimal with two figures or more accepts every number that rounds to it (for benchmarks that state significant figures)."""


def same(gold: str, answers: list[str], leaf: Leaf, rules: Rules) -> bool:
    """gold: raw. answers: what the boxes that belong together hold. Raises TooDeep, or whatever leaf raises."""
    cleaned = [clean(a) for a in answers]
    if len(answers) == 1:
        return any(_same(g, a, leaf, rules) for g in readings(clean(gold), gold=True) for a in readings(cleaned[0]))
    # several boxes in one breath: right if each is, or if together they are all the answers; "3 or 4" is not 3
    each = all(
        any(_same(g, a, leaf, rules) for g in readings(clean(gold), gold=True) for a in readings(text))
        for text in cleaned
    )
    return each or any(
        _same(g, Items(tuple(next(readings(a)) for a in cleaned)), leaf, rules)
        for g in readings(clean(gold), gold=True)
    )


def readings(text: str, gold: bool = False) -> Iterator:
    """The ways to read an answer: "5 m" is a length or a product, "1,234" a number or two; "(C) 42" names a choice and its value."""
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


def _same(g, a, leaf: Leaf, rules: Rules) -> bool:
    def again(x, y) -> bool:
        return _same(x, y, leaf, rules)

    if isinstance(g, Number) and isinstance(a, Number):
        return _numbers(g, a, leaf, rules)
    if isinstance(g, Named) and isinstance(a, Named):
        turned = (_text(a.value).replace(" ", ""), a.name) == (
            g.name,
            _text(g.value).replace(" ", ""),
        )  # B = A for A = B
        return (g.name == a.name and again(g.value, a.value)) or turned
    if isinstance(g, Named):
        return (
            again(Relation(g.name, "=", _text(g.value)), a)
            if isinstance(a, Relation) and _text(g.value) and not isinstance(g.value, Number)
            else again(g.value, a)
        )
    if isinstance(a, Named):
        if isinstance(g, Relation):
            return bool(_text(a.value)) and again(g, Relation(a.name, "=", _text(a.value)))
        return again(g, a.value)
    if isinstance(g, Union) or isinstance(a, Union):
        return _each_has_its_match(_parts(g), _parts(a), again)
    if isinstance(g, Items) or isinstance(a, Items):
        return _items(g, a, again)
    if isinstance(g, Matrix) and isinstance(a, Matrix):
        return [len(r) for r in g.rows] == [len(r) for r in a.rows] and all(map(again, _flat(g), _flat(a)))
    if isinstance(g, Matrix) or isinstance(a, Matrix):  # a row or a column may be written as a tuple
        matrix, other = (g, a) if isinstance(g, Matrix) else (a, g)
        vector = len(matrix.rows) == 1 or all(len(r) == 1 for r in matrix.rows)
        if not (vector and isinstance(other, Bracket) and len(other.items) == len(_flat(matrix))):
            return False
        return all(
            again(x, y) for x, y in zip(*((_flat(g), a.items) if matrix is g else (g.items, _flat(a))), strict=True)
        )
    if isinstance(g, Bracket) and isinstance(a, Bracket):
        return (g.opened, g.closed, len(g.items)) == (a.opened, a.closed, len(a.items)) and all(
            map(again, g.items, a.items)
        )
    if isinstance(g, Relation) and isinstance(a, Relation):
        if g.sign != a.sign:
            return False
        if (g.left.replace(" ", ""), g.right.replace(" ", "")) == (a.left.replace(" ", ""), a.right.replace(" ", "")):
            return True
        return leaf(f"({g.left})-({g.right})", f"({a.left})-({a.right})", "=" if g.sign in ("=", "!=") else "<")
    if (
        isinstance(a, Relation)
        and a.sign == "="
        and isinstance(g, Number)
        and re.fullmatch(r"[a-zA-Z](?:\s*[+-]\s*[a-zA-Z])+", a.left)
    ):
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


def _numbers(g: Number, a: Number, leaf: Leaf, rules: Rules) -> bool:
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


_MARKS = {"": "", "%": "", "deg": "deg"}


def _values(g: Number | Math, a: Number | Math, leaf: Leaf, rules: Rules) -> bool:
    if not _units_agree(g.unit, a.unit):
        return False
    kind = "value"
    if rules.significant and isinstance(g, Number) and g.places:
        kind = f"near {g.places / 2}"
    return leaf(_text(g), _text(a), kind)


def _units_agree(gold: str, answer: str) -> bool:
    """Two known units must be the same one; a missing one is what the problem says."""
    known = all(word in _KNOWN for unit in (gold, answer) for word in re.findall("[A-Za-z]+", unit))
    return gold == answer or not gold or not answer or not known


_KNOWN = set(UNITS.values()) | PREFIXED


def _items(g, a, again) -> bool:
    if isinstance(g, Items) and isinstance(a, Items) and g.names and a.names:
        named = dict(zip(a.names, a.items, strict=True))
        return set(g.names) == set(a.names) and all(again(x, named[n]) for n, x in zip(g.names, g.items, strict=True))
    for named, other in ((g, a), (a, g)):  # x = 1, y = 2 is (1, 2)
        if isinstance(named, Items) and named.names and isinstance(other, Bracket):
            return len(named.items) == len(other.items) and all(map(again, g.items, a.items))
    if isinstance(g, Bracket | Matrix | Union) and isinstance(a, Items) and len(a.items) != 1:
        return False
    return _each_has_its_match(_parts(g), _parts(a), again)


def _parts(form) -> tuple:
    return form.parts if isinstance(form, Union) else form.items if isinstance(form, Items) else (form,)


def _each_has_its_match(gold: tuple, answer: tuple, again) -> bool:
    """As sets: an answer given twice is one answer."""
    return len(gold) <= 100 and len(answer) <= 100 and bool(gold) == bool(answer) and all(any(again(g, a) for a in answer) for g in gold) and all(
        any(again(g, a) for g in gold) for a in answer
    )  # fmt: skip


def _flat(matrix: Matrix) -> list:
    return [cell for row in matrix.rows for cell in row]


def _words(g, a, leaf: Leaf) -> bool:
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


def _text(form) -> str:
    """Back to LaTeX, exact; empty for what is no single value."""
    if isinstance(form, Math):
        return form.text
    if isinstance(form, Number):
        value = form.value / 100 if form.mark == "%" else form.value
        text = str(value.numerator) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
        return rf"({text})\cdot\frac{{\pi}}{{180}}" if form.mark == "deg" else text
    return form.plain if isinstance(form, Words) else ""
