"""What each field of a dataclass means: the sentence under it, what it may hold, and its default as YAML spells it."""

import ast
import dataclasses
import inspect
import textwrap
import typing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scope_openrlhf.settings.parse import key_of
from scope_openrlhf.settings.ranges import range_of


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that a user may set.

    Example: Key("teacher.replicas", "Engines in the teacher group. At least 1.", "1", Count)
    """

    name: str
    meaning: str
    default: str
    """In the spelling of YAML; "-": it must be set."""
    hint: Any
    """The type of its field, with its range."""


def keys_of(cls: type, prefix: str = "") -> list[Key]:
    """The keys of a section that are no sections themselves. prefix: the section's name and a dot.

    Raises ValueError for a key without a sentence.
    """
    texts, hints = field_texts(cls), typing.get_type_hints(cls, include_extras=True)
    plain = [f for f in dataclasses.fields(cls) if not dataclasses.is_dataclass(hints[f.name])]
    return [
        Key(f"{prefix}{key_of(f)}", f"{texts[f.name]}{allowed(hints[f.name])}", default_of(f), hints[f.name])
        for f in plain
    ]


def field_texts(cls: type) -> dict[str, str]:
    """The sentence under each field of a dataclass, or under that of a class that it inherits from.

    Raises ValueError for a field without one that is no section itself.
    """
    texts: dict[str, str] = {}
    for owner in filter(dataclasses.is_dataclass, reversed(cls.__mro__)):
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
        body = typing.cast(ast.ClassDef, tree.body[0]).body
        for field, below in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and (text := string_of(below)):
                texts[field.target.id] = text
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls) if not dataclasses.is_dataclass(hints[f.name])]
    missing = [name for name in names if name not in texts]
    if missing:
        raise ValueError(f"{cls.__name__} has no sentence under {', '.join(missing)}")
    return texts


def string_of(statement: ast.stmt) -> str | None:
    """The text of a statement that is nothing but a string."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).split())
    return None


def allowed(hint: Any) -> str:
    """A sentence on what a key may hold, where that is few things or a range; it begins with a blank."""
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is list and typing.get_origin(inner[0]) is typing.Literal:
        return f" Any of {', '.join(f'`{v}`' for v in typing.get_args(inner[0]))}."
    if typing.get_origin(hint) is typing.Literal:
        return f" One of {', '.join(f'`{v}`' for v in inner)}."
    return f" {str(within).capitalize()}." if (within := range_of(hint)) else ""


def default_of(field: dataclasses.Field) -> str:
    """A default in the spelling of YAML; "-" where there is none."""
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    elif field.default is dataclasses.MISSING:
        return "-"
    else:
        value = field.default
    return spelled(value["name"] if isinstance(value, dict) and value else value)


def spelled(value: Any) -> str:
    """A value as the docs and the command line show it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value in ("", [], {}, None):
        return "none"
    return repr(value) if isinstance(value, str) and "\n" in value else str(value)
