"""Comparison of two answers by form, down to the leaves; what only algebra can tell is asked of `leaf`."""

import functools
import re
from dataclasses import dataclass
from fractions import Fraction

from scope_openrlhf.verifier.forms import (
    Again,
    Based,
    Bracket,
    Cases,
    Clock,
    Congruence,
    Form,
    Items,
    Leaf,
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
    as_latex,
    parts_of,
)
from scope_openrlhf.verifier.matrix_words import order_matters, same_products
from scope_openrlhf.verifier.naming import in_tens, same_ratios, same_words
from scope_openrlhf.verifier.numbers import Number
from scope_openrlhf.verifier.parse import parse
from scope_openrlhf.verifier.sets import NoOrder, is_set, same_sets
from scope_openrlhf.verifier.several import same_items, same_matrices, same_unordered
from scope_openrlhf.verifier.spelling import MAX_ANSWER_CHARS, clean, squeeze
from scope_openrlhf.verifier.statements import needs_its_name, same_cases, same_congruences, same_relations
from scope_openrlhf.verifier.vocabulary import PREFIXED, UNITS

_MARKS = {"": "", "%": "", "deg": "deg"}
"""Mark of a number -> the unit that it stands for."""
_KNOWN = set(UNITS.values()) | PREFIXED
"""Units of which two that differ are not the same."""
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)")
_LABEL = re.compile(
    r"[⟦(]*\s*(?:(?:option|choice|answer)\s*)?([A-E])\s*(?:\)?[.:]|\)?\s*⟧|\)(?=[\s⟧]))[⟧).: ]*([^,;⟧\s].*)",
    re.IGNORECASE,
)
"""A choice with its text: (C) 42, C. 42."""


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
    together = Items(tuple(readings(a)[0] for a in cleaned))
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


@functools.lru_cache(4096)
def readings(text: str, gold: bool = False) -> tuple[Form, ...]:
    """List the ways to read a cleaned answer.

    "5 m" is a length or a product, "1,234" a number or two; "(C) 42" names a choice and its value.
    """
    joined = _THOUSANDS.sub(lambda m: m[0].replace(",", ""), text)
    # 1,234 is a number where it is the gold; in brackets, or as two numbers of three digits, nobody can tell
    apart = [text] if joined != text and (not gold or re.search(r"[(\[{]|^\d{3},\d{3}$", text)) else []
    pair = apart and re.search(r"(?:[(\[]|\\\{)\s*-?\d+\s*(?:[)\]]|\\\})", joined)  # (12,345) is one
    found = [
        parse(variant, plain_units)
        for variant in (apart if pair else [joined, *apart])
        for plain_units in ((True, False) if re.search("[a-zA-Z]", variant) else (True,))
    ]
    if (label := _LABEL.fullmatch(text)) and label[1].isupper():
        rest = label[2].strip("⟧ ")
        other_choices = re.search(
            r"^\(?[A-E]\)?$|\(?\b[A-E]\b\)|⟦\s*(?:or|and)\b|\b(?:or|not|false|wrong|incorrect)\b", rest
        )
        if rest and not other_choices:
            found += [parse(rest), parse(label[1])]
    return tuple(dict.fromkeys(found))


def _same(g: Form, a: Form, leaf: Leaf, rules: Rules) -> bool:
    """Whether two forms are the same; the first kind that one of them is decides how that is told."""

    def again(x: Form, y: Form) -> bool:
        return _same(x, y, leaf, rules)

    if isinstance(g, Number) and isinstance(a, Number):
        return _numbers(g, a, rules)
    if isinstance(g, Named) or isinstance(a, Named):
        return _named(g, a, again)
    if isinstance(g, Congruence) or isinstance(a, Congruence):
        return same_congruences(g, a, leaf, again)
    if is_set(g) or is_set(a):
        return _sets(g, a, leaf, again)
    if isinstance(g, Items) or isinstance(a, Items):
        return same_items(g, a, again)
    if isinstance(g, Matrix) or isinstance(a, Matrix):
        return same_matrices(g, a, again)
    if isinstance(g, Bracket) and isinstance(a, Bracket):
        if g.variable and a.variable and g.variable != a.variable:
            return False
        kinds = (g.opened, g.closed, len(g.items)), (a.opened, a.closed, len(a.items))
        return kinds[0] == kinds[1] and all(map(again, g.items, a.items))
    if isinstance(g, Relation) or isinstance(a, Relation):
        return same_relations(g, a, leaf, again)
    if isinstance(g, Cases) or isinstance(a, Cases):
        return same_cases(g, a, leaf, again)
    if isinstance(g, Phrase) or isinstance(a, Phrase):
        pieces = [f.pieces if isinstance(f, Phrase) else () for f in (g, a)]
        return len(pieces[0]) == len(pieces[1]) and all(map(again, *pieces))
    if any(isinstance(f, Words) and f.plain for f in (g, a)) and order_matters(as_latex(g)):
        return same_products(as_latex(g), as_latex(a))
    if isinstance(g, Clock | Ratio) or isinstance(a, Clock | Ratio):
        return same_ratios(g, a, leaf, again)
    if isinstance(g, Number) and isinstance(a, Based):
        return a.base.isdigit() and g.value == in_tens(a)
    if isinstance(g, Based) or isinstance(a, Based):
        return g == a
    if isinstance(g, Words) or isinstance(a, Words):
        return same_words(g, a, leaf)
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
    quotient = re.search(r"/|\\frac", as_latex(a))  # who divides means numbers
    if (order_matters(as_latex(g)) and not quotient) or r"\top" in as_latex(a):
        return same_products(as_latex(g), as_latex(a))
    if re.search(r"\\vec\{\w+\}\s*\\times", as_latex(g)):
        return False  # a cross product, which only the same text is
    kind = "value"
    if rules.significant and isinstance(g, Number) and g.places:
        kind = f"near {g.places / 2}"
    return leaf(as_latex(g), as_latex(a), kind)


def _units_agree(gold: str, answer: str) -> bool:
    """Whether two known units are the same one; a missing one is what the problem says."""
    known = all(word in _KNOWN for unit in (gold, answer) for word in re.findall("[A-Za-z]+", unit))
    return gold == answer or not gold or not answer or not known


def _named(g: Form, a: Form, again: Again) -> bool:
    """Compare where one side or both have a name: x = 3 is 3, and is x - 3 = 0 where that is no number."""
    if isinstance(g, Named) and isinstance(a, Named):
        turned = (as_latex(a.value).replace(" ", ""), a.name) == (g.name, as_latex(g.value).replace(" ", ""))
        a = _with_letter_of(g.name, a)
        names = {g.name, a.name}
        if "y" in names and any(re.fullmatch(r"[a-zA-Z]\([a-z]\)", n) for n in names):  # y = 2x, f(x) = 2x
            return again(g.value, a.value)
        sides = [as_latex(f.value) for f in (g, a)]
        if len(names) == 2 and all(sides) and g.name in sides[1] and a.name in sides[0]:  # y = x + 1, x = y - 1
            return again(Relation(g.name, "=", sides[0]), Relation(a.name, "=", sides[1]))
        one_name = len(names) == 1 or (len({n.partition("(")[0] for n in names}) == 1 and min(map(len, names)) == 1)
        return (one_name and again(g.value, a.value)) or turned  # B = A for A = B, f = 0 for f(x) = 0
    if isinstance(g, Named):
        if isinstance(a, Relation) and as_latex(g.value) and not isinstance(g.value, Number):
            return again(Relation(g.name, "=", as_latex(g.value)), a)
        return not needs_its_name(g) and again(g.value, a)
    assert isinstance(a, Named)
    if isinstance(g, Relation):
        return bool(as_latex(a.value)) and again(g, Relation(a.name, "=", as_latex(a.value)))
    return again(g, a.value)


def _with_letter_of(name: str, a: Named) -> Named:
    """f(t) = 2t with the letter of f(x), so that it can be compared."""
    ours, theirs = (re.fullmatch(r"([a-zA-Z]+)\(([a-z])\)", n) for n in (name, a.name))
    if not (ours and theirs and ours[1] == theirs[1] and ours[2] != theirs[2] and isinstance(a.value, Math)):
        return a
    letter = re.compile(rf"(?<![a-zA-Z\\]){theirs[2]}(?![a-zA-Z])")
    if re.search(rf"(?<![a-zA-Z\\]){ours[2]}(?![a-zA-Z])", a.value.text):
        return a
    return Named(name, Math(letter.sub(ours[2], a.value.text), a.value.unit))


def _sets(g: Form, a: Form, leaf: Leaf, again: Again) -> bool:
    """Compare where one side or both can only be sets of real numbers."""
    letters = [_letters_of(f) for f in (g, a)]
    if all(len(found) == 1 for found in letters) and letters[0] != letters[1]:  # b > 0 is not a > 0
        return False
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
    return same_unordered(parts_of(g), parts_of(a), again)


def _letters_of(form: Form) -> set[str]:
    """Letters of which the inequalities of a set speak."""
    if isinstance(form, Bracket):
        return {form.variable} - {""}
    parts: tuple[Form, ...] = ()
    if isinstance(form, SetMinus):
        parts = (form.whole, form.removed)
    elif isinstance(form, SetUnion | SetMeet):
        parts = form.parts
    return set().union(*map(_letters_of, parts))


def _order(x: Form, y: Form, leaf: Leaf) -> int:
    """Sign of x - y. Raises NoOrder."""
    if isinstance(x, Number) and isinstance(y, Number):
        return (x.value > y.value) - (x.value < y.value)
    if leaf(as_latex(x), as_latex(y), "value"):
        return 0
    return -1 if leaf(as_latex(x), as_latex(y), "less") else 1
