"""Comparison of two answers by form, down to the leaves; what only algebra can tell is asked of `leaf`."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from scope_openrlhf.verifier.several import same_items, same_matrices, same_unordered
from scope_openrlhf.verifier.forms import (
    Based,
    Bracket,
    Cases,
    Clock,
    Congruence,
    Form,
    Items,
    Math,
    Matrix,
    Named,
    Phrase,
    Ratio,
    Relation,
    SetMeet,
    SetMinus,
    SetUnion,
    Words,
)
from scope_openrlhf.verifier.matrix_words import order_matters, same_products
from scope_openrlhf.verifier.numbers import Number
from scope_openrlhf.verifier.parse import parse
from scope_openrlhf.verifier.relations import asks_for_one_value
from scope_openrlhf.verifier.sets import NoOrder, is_set, same_sets
from scope_openrlhf.verifier.spelling import MAX_ANSWER_CHARS, clean, squeeze
from scope_openrlhf.verifier.vocabulary import PREFIXED, UNITS

Leaf = Callable[[str, str, str], bool]
"""(gold, answer, kind) -> yes or no.

kind: "value", whether they are the same; "=" for two equations (as left - right), "<" for two inequalities; "near X" for
values that may be X apart; "less", whether the first is the smaller one; "at x=1/2", whether they agree there.
"""
Again = Callable[[Form, Form], bool]
"""Comparison of a part of the gold with a part of the answer."""

_MARKS = {"": "", "%": "", "deg": "deg"}
"""Mark of a number -> the unit that it stands for."""
_KNOWN = set(UNITS.values()) | PREFIXED
"""Units of which two that differ are not the same."""
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)")
_LABEL = re.compile(r"[⟦(]*\s*(?:(?:option|choice|answer)\s*)?([A-E])\s*(?:\)?[.:]|\)?\s*⟧|\)(?=[\s⟧]))[⟧).: ]*(.+)", re.IGNORECASE)
"""A choice with its text: (C) 42, C. 42."""

_LINEAR = re.compile(r"(\d+)\s*[a-z]\s*([+-]\s*\d+)?|(\d+)\s*\+\s*(\d+)\s*[a-z]")
"""All numbers with one residue: 12k + 5, or 5 + 12k."""


@dataclass(frozen=True)
class Rules:
    """What a benchmark asks of the comparison beside equality."""

    significant: bool = False
    """A gold decimal with two figures or more accepts every number that rounds to it, for benchmarks that state
    significant figures."""


def same(gold: str, answers: list[str], leaf: Leaf, rules: Rules) -> bool:
    """Whether an answer is the gold one.

    gold: raw. answers: what the boxes that belong together hold, raw. Raises TooMuch, or whatever leaf raises.
    """
    cleaned = [clean(a) for a in answers]
    told = clean(gold)
    if len(gold) > MAX_ANSWER_CHARS:
        return False  # too long to be read; the same text was told before
    # several boxes in one breath: right if each is, or if together they are all the answers; "3 or 4" is not 3
    each = all(_one(told, text, leaf, rules) for text in cleaned)
    if each or len(answers) == 1:
        return each
    together = Items(tuple(next(readings(a)) for a in cleaned))
    return any(_same(g, together, leaf, rules) for g in readings(told, gold=True))


def _one(gold: str, answer: str, leaf: Leaf, rules: Rules) -> bool:
    """Whether one cleaned answer is the gold one, in one of its readings."""
    if squeeze(gold) == squeeze(answer) and not re.search(r"\d [eE]\b|[eE] \d", answer):
        return bool(answer)
    if re.fullmatch(r"\\mathbb\{[RZNQ]\}", gold) and answer == gold[8]:  # bold instead of doubled
        return True
    choices = [_LABEL.fullmatch(text) for text in (gold, answer)]
    if choices[0] and choices[1] and choices[0][1] != choices[1][1]:
        return False  # (D) 48 is not (E) 48
    return any(_same(g, a, leaf, rules) for g in readings(gold, gold=True) for a in readings(answer))


def readings(text: str, gold: bool = False) -> Iterator[Form]:
    """Yield the ways to read a cleaned answer.

    "5 m" is a length or a product, "1,234" a number or two; "(C) 42" names a choice and its value.
    """
    joined = _THOUSANDS.sub(lambda m: m[0].replace(",", ""), text)
    # 1,234 is a number where it is the gold; in brackets, or as two numbers of three digits, nobody can tell
    apart = [text] if joined != text and (not gold or re.search(r"[(\[{]|^\d{3},\d{3}$", text)) else []
    seen = set()
    variants = apart if re.search(r"[(\[]\s*-?\d+\s*[)\]]", joined) and apart else [joined, *apart]  # (12,345) is a pair
    for variant in variants:
        for plain_units in (True, False):
            form = parse(variant, plain_units)
            if form not in seen:
                seen.add(form)
                yield form
    if (label := _LABEL.fullmatch(text)) and label[1].isupper():
        rest = label[2].strip("⟧ ")
        if rest and not re.fullmatch(r"\(?[A-E]\)?", rest) and not re.search(r"\(?\b[A-E]\b\)|⟦\s*(?:or|and)\b|\bor\b", rest):
            yield parse(rest)
            yield parse(label[1])


def _same(g: Form, a: Form, leaf: Leaf, rules: Rules) -> bool:
    """Whether two forms are the same; the first kind that one of them is decides how that is told."""

    def again(x: Form, y: Form) -> bool:
        return _same(x, y, leaf, rules)

    if isinstance(g, Number) and isinstance(a, Number):
        return _numbers(g, a, rules)
    if isinstance(g, Named) or isinstance(a, Named):
        return _named(g, a, again)
    if isinstance(g, Congruence) or isinstance(a, Congruence):
        return _congruences(g, a, leaf, again)
    if is_set(g) or is_set(a):
        return _sets(g, a, leaf, again)
    if isinstance(g, Items) or isinstance(a, Items):
        return same_items(g, a, again)
    if isinstance(g, Matrix) or isinstance(a, Matrix):
        return same_matrices(g, a, again)
    if isinstance(g, Bracket) and isinstance(a, Bracket):
        kinds = (g.opened, g.closed, len(g.items)), (a.opened, a.closed, len(a.items))
        return kinds[0] == kinds[1] and all(map(again, g.items, a.items))
    if isinstance(g, Relation) or isinstance(a, Relation):
        return _relations(g, a, leaf, again)
    if isinstance(g, Cases) or isinstance(a, Cases):
        return _cases(g, a, leaf, again)
    if isinstance(g, Phrase) or isinstance(a, Phrase):
        pieces = [f.pieces if isinstance(f, Phrase) else () for f in (g, a)]
        return len(pieces[0]) == len(pieces[1]) and all(map(again, *pieces))
    if any(isinstance(f, Words) and f.plain for f in (g, a)) and order_matters(_text(g)):
        return same_products(_text(g), _text(a))
    if isinstance(g, Clock | Ratio) or isinstance(a, Clock | Ratio):
        return _ratios(g, a, leaf, again)
    if isinstance(g, Number) and isinstance(a, Based):
        return a.base.isdigit() and g.value == _in_tens(a)
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
    if {g.mark, a.mark} == {"deg", "%"} or (g.unit and a.mark == "%") or (a.unit and g.mark == "%"):
        return False
    close = g.places / 2 * Fraction(1_000_001, 1_000_000) if rules.significant and g.places else Fraction(0)

    def near(value: Fraction) -> bool:
        return abs(value - g.value) <= close

    if a.mark == "%" and g.mark != "%":
        # "10%" for 10 too: where the question asks for percent, the sign is a unit; a gold below 1 is a share
        return near(a.value / 100) or (abs(g.value) >= 1 and near(a.value))
    if near(a.value):
        return True
    return g.mark == "%" and a.mark != "%" and near(a.value * 100)


def _values(g: Number | Math, a: Number | Math, leaf: Leaf, rules: Rules) -> bool:
    """Compare two values of which one at least is no plain number."""
    if not _units_agree(g.unit, a.unit):
        return False
    if order_matters(_text(g)) or r"\top" in _text(a):
        return same_products(_text(g), _text(a))
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
        names = {g.name, a.name}
        sides = [_text(f.value) for f in (g, a)]
        if len(names) == 2 and all(sides) and g.name in sides[1] and a.name in sides[0]:  # y = x + 1, x = y - 1
            return again(Relation(g.name, "=", sides[0]), Relation(a.name, "=", sides[1]))
        one_name = len(names) == 1 or len({n.partition("(")[0] for n in names}) == 1 and min(map(len, names)) == 1
        return (one_name and again(g.value, a.value)) or turned  # B = A for A = B, f = 0 for f(x) = 0
    if isinstance(g, Named):
        if isinstance(a, Relation) and _text(g.value) and not isinstance(g.value, Number):
            return again(Relation(g.name, "=", _text(g.value)), a)
        return again(g.value, a)
    assert isinstance(a, Named)
    if isinstance(g, Relation):
        return bool(_text(a.value)) and again(g, Relation(a.name, "=", _text(a.value)))
    return again(g, a.value)


def _sets(g: Form, a: Form, leaf: Leaf, again: Again) -> bool:
    """Compare where one side or both can only be sets of real numbers."""
    try:
        return same_sets(g, a, lambda x, y: _order(x, y, leaf))
    except NoOrder:  # ends with letters in them
        pass
    if isinstance(g, SetMinus) and isinstance(a, SetMinus):
        return again(g.whole, a.whole) and again(g.removed, a.removed)
    if isinstance(g, SetMeet) or isinstance(a, SetMeet):
        return isinstance(g, SetMeet) and isinstance(a, SetMeet) and same_unordered(g.parts, a.parts, again)
    if isinstance(g, SetMinus) or isinstance(a, SetMinus):
        return False
    if not isinstance(g, SetUnion | Items) and not isinstance(a, SetUnion | Items):
        return g == a
    return same_unordered(_parts(g), _parts(a), again)


def _order(x: Form, y: Form, leaf: Leaf) -> int:
    """Sign of x - y. Raises NoOrder."""
    if isinstance(x, Number) and isinstance(y, Number):
        return (x.value > y.value) - (x.value < y.value)
    if leaf(_text(x), _text(y), "value"):
        return 0
    return -1 if leaf(_text(x), _text(y), "less") else 1


def _parts(form: Form) -> tuple[Form, ...]:
    """Parts of a union or a list; any other form is its only part."""
    return form.parts if isinstance(form, SetUnion) else form.items if isinstance(form, Items) else (form,)


def _relations(g: Form, a: Form, leaf: Leaf, again: Again) -> bool:
    """Compare where one side or both are relations, which may be turned into one another by algebra."""
    if not isinstance(g, Relation):
        if isinstance(g, Bracket) and isinstance(a, Relation):
            letters = set(re.findall(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])", a.left + a.right))
            variable = g.variable or (letters.pop() if len(letters) == 1 else "")
            return bool(variable) and _relations(_as_relation(replace(g, variable=variable)), a, leaf, again)
        # "m + n = 3" where the question asks for m + n
        return isinstance(a, Relation) and a.sign == "=" and asks_for_one_value(a.left) and again(g, parse(a.right))
    if isinstance(a, Bracket):
        letters = set(re.findall(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])", g.left + g.right))
        variable = a.variable or (letters.pop() if len(letters) == 1 else "")
        a = _as_relation(replace(a, variable=variable)) if variable and len(a.items) == 2 else a
    if not isinstance(a, Relation):
        return g.sign == "=" and asks_for_one_value(g.left) and again(parse(g.right), a)
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


def _as_relation(form: Bracket) -> Relation:
    """An interval of a letter as an inequality again."""
    x, (low, high) = form.variable, (_text(i) for i in form.items)
    if low == r"-\infty":
        return Relation(x, "<=" if form.closed == "]" else "<", high)
    if high == r"\infty":
        return Relation(low, "<=" if form.opened == "[" else "<", x)
    both = {"[]": "<=", "()": "<"}.get(form.opened + form.closed, "chain")
    return Relation(f"(({x})-({low}))(({x})-({high}))", both, "0")


def _cases(g: Form, a: Form, leaf: Leaf, again: Again) -> bool:
    """Compare values by cases: branch by branch, or with one expression at points of each branch."""
    if isinstance(g, Cases) and isinstance(a, Cases):
        if len(g.branches) != len(a.branches):
            return False
        left = list(a.branches)
        for value, condition in g.branches:
            otherwise = Words("otherwise")
            match = next(
                (b for b in left if again(value, b[0]) and (otherwise in (condition, b[1]) or again(condition, b[1]))),
                None,
            )
            if match is None:
                return False
            left.remove(match)
        return True
    cases, other = (g, a) if isinstance(g, Cases) else (a, g)
    assert isinstance(cases, Cases)
    intervals = [c for _, c in cases.branches if isinstance(c, Bracket) and c.variable]
    others = [c for _, c in cases.branches if c not in intervals]
    if not isinstance(other, Number | Math) or not intervals or others not in ([], [Words("otherwise")]):
        return False
    points = [(value, p) for value, c in cases.branches if isinstance(c, Bracket) for p in _points_in(c)]
    for value, condition in cases.branches:
        if condition == Words("otherwise"):
            left = (Fraction(k, 7) for k in range(-300, 300, 23))
            points += [(value, p) for p in left if not any(_lies_in(p, i) for i in intervals)]
    return all(leaf(_text(v), _text(other), f"at {intervals[0].variable}={p}") for v, p in points)


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


def _congruences(g: Form, a: Form, leaf: Leaf, again: Again) -> bool:
    """Compare n = 3 (mod 7) with another congruence: the same letter and modulus, residues that are the same in it."""
    if isinstance(g, Congruence) and not isinstance(a, Congruence):
        a = _as_congruence(g.left, _parts(a)) or a
    if not (isinstance(g, Congruence) and isinstance(a, Congruence)):
        return False
    if not again(g.modulus, a.modulus):
        return False
    if squeeze(g.left) != squeeze(a.left):  # a = b (mod m) is b = a (mod m)
        return (squeeze(g.left), _text(g.residue)) == (_text(a.residue), squeeze(a.left))

    def same_residue(x: Form, y: Form) -> bool:
        if isinstance(x, Number) and isinstance(y, Number) and isinstance(g.modulus, Number):
            return bool(g.modulus.value) and (x.value - y.value) % g.modulus.value == 0
        return again(x, y)

    return same_unordered(_parts(g.residue), _parts(a.residue), same_residue)


def _as_congruence(left: str, items: tuple[Form, ...]) -> Congruence | None:
    """Read 4k, 4k + 1 as residues of one modulus; None for anything else."""
    values = [i.value if isinstance(i, Named) else i for i in items]
    found = [_LINEAR.fullmatch(v.text) if isinstance(v, Math) else None for v in values]
    linear = [(m[1] or m[4], Fraction((m[2] or m[3] or "0").replace(" ", ""))) for m in found if m]
    if len(linear) != len(items) or len({number for number, _ in linear}) != 1:
        return None
    return Congruence(left, Items(tuple(Number(rest) for _, rest in linear)), Number(Fraction(linear[0][0])))


def _ratios(g: Form, a: Form, leaf: Leaf, again: Again) -> bool:
    """Compare times of day, part by part, and ratios up to a factor that is not zero."""
    if isinstance(g, Clock) and isinstance(a, Clock) and (len(g.parts) == 2 or g.parts == a.parts):
        return g.parts == a.parts and (g.half == a.half or not g.half or not a.half)
    if isinstance(g, Clock) and len(g.parts) == 2:
        return False
    x, y = (Ratio(tuple(Number(Fraction(p)) for p in f.parts)) if isinstance(f, Clock) else f for f in (g, a))
    for ratio, other in ((x, y), (y, x)):  # 2:5 for 2/5
        if isinstance(ratio, Ratio) and len(ratio.parts) == 2 and isinstance(other, Number | Math):
            quotient = rf"\frac{{{_text(ratio.parts[0])}}}{{{_text(ratio.parts[1])}}}"
            return not (isinstance(other, Number) and other.mark) and again(*(
                (Math(quotient), other) if ratio is x else (other, Math(quotient))
            ))
    if not (isinstance(x, Ratio) and isinstance(y, Ratio) and len(x.parts) == len(y.parts)):
        return False
    if all(isinstance(p, Number) for p in (*x.parts, *y.parts)):
        values = [[p.value for p in r.parts if isinstance(p, Number)] for r in (x, y)]
        pairs = list(zip(*values, strict=True))
        if any((p == 0) != (q == 0) for p, q in pairs):
            return False
        factors = {q / p for p, q in pairs if p}
        return len(factors) == 1 and not any(f < 0 for f in factors)
    first = [_text(r.parts[0]) for r in (x, y)]
    return all(
        leaf(rf"({_text(p)})\cdot({first[1]})", rf"({_text(q)})\cdot({first[0]})", "value")
        for p, q in zip(x.parts, y.parts, strict=True)
    ) and not any(leaf(_text(p), "0", "value") for p in y.parts)


def _in_tens(number: Based) -> int:
    """Value of a number in a base; -1 where its digits do not belong to the base."""
    try:
        return int(number.digits, int(number.base))
    except ValueError:
        return -1


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


def _text(form: Form) -> str:
    """Write a form as LaTeX again, exactly; empty for what is no single value."""
    if isinstance(form, Math):
        return form.text
    if isinstance(form, Number):
        value = form.value / 100 if form.mark == "%" else form.value
        text = str(value.numerator) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
        return rf"({text})\cdot\frac{{\pi}}{{180}}" if form.mark == "deg" else text
    return form.plain if isinstance(form, Words) else ""
