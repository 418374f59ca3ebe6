"""What a gold answer is taken for, in words."""

from dataclasses import fields, is_dataclass

from scope_openrlhf.verifier.forms import (
    Based,
    Bracket,
    Cases,
    Clock,
    Congruence,
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
from scope_openrlhf.verifier.numbers import Number

NUMBER, WORDS = "number", "words"
KINDS: dict[type, str] = {
    Number: NUMBER,
    Math: "formula",
    Items: "several answers",
    Bracket: "interval or tuple",
    SetUnion: "set",
    SetMeet: "set",
    SetMinus: "set",
    Matrix: "matrix",
    Relation: "equation or inequality",
    Named: "value with its name",
    Based: "number in a base",
    Ratio: "ratio",
    Clock: "time or ratio",
    Cases: "values by case",
    Congruence: "congruence",
    Words: WORDS,
    Phrase: WORDS,
}
"""What each form of an answer is called."""


def kind_of(form: object) -> str:
    """The kind of a gold's form. One with words in it is graded as text, wholly or in part."""
    return WORDS if has_words(form) else KINDS[type(form)]


def has_words(form: object) -> bool:
    """Whether a form, or a part of it, is words."""
    if isinstance(form, Words) or (isinstance(form, Math) and "⟦" in form.text):
        return True
    if is_dataclass(form):
        return any(has_words(getattr(form, f.name)) for f in fields(form))
    return isinstance(form, tuple) and any(map(has_words, form))
