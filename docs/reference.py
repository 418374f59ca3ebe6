"""Write the tables of config.md and metrics.md from the code. `make docs` runs it; tests/docs/ holds the pages to it.

A page keeps what people wrote; only what stands between its two marks is written anew.
"""

import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Iterable, Iterator
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

from scope_openrlhf import algorithms
from scope_openrlhf.algorithms.base.contract import Algorithm, Knobs
from scope_openrlhf.equations.metric_definitions import COMMON, Metric
from scope_openrlhf.settings.config import Config

FROM, TO = "<!-- docs/reference.py writes from here -->", "<!-- to here -->"
DOCS = Path(__file__).parent


def main() -> None:
    for file, written in pages().items():
        page = DOCS / file
        page.write_text(inserted(page.read_text(), written))
        print(f"written: docs/{file}")


def pages() -> dict[str, str]:
    """What stands between the marks of each page."""
    return {"config.md": config_tables(), "metrics.md": metric_tables()}


def inserted(page: str, written: str) -> str:
    """A page with the text between its marks exchanged. Raises ValueError if it has no marks."""
    before, _, rest = page.partition(FROM)
    _, found, after = rest.partition(TO)
    if not found:
        raise ValueError(f"the page lacks {FROM} or {TO}")
    return f"{before}{FROM}\n\n{written}\n\n{TO}{after}"


def config_tables() -> str:
    """A table for the keys at the top, one for each section, and one for the knobs of all algorithms."""
    parts = ["## The run", table(("key", "default", "meaning"), key_rows(Config, ""))]
    for field in dataclasses.fields(Config):
        section = typing.get_type_hints(Config)[field.name]
        if dataclasses.is_dataclass(section):
            rows = key_rows(typing.cast(type, section), f"{field.name}.")
            parts += [f"## {field.name}", table(("key", "default", "meaning"), rows)]
    parts += ["## Knobs of the algorithms", "Each is set as `algorithm.<knob>`."]
    return "\n\n".join([*parts, table(("knob", "algorithms", "default", "meaning"), knob_rows())])


def key_rows(cls: type, prefix: str) -> Iterator[tuple[str, ...]]:
    """(key, default, meaning) of each key of a section that is no section itself."""
    meanings, hints = field_texts(cls), typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if not dataclasses.is_dataclass(hints[field.name]):
            text = with_choices(meanings[field.name], hints[field.name])
            yield f"`{prefix}{field.name}`", default_of(field), text


def knob_rows() -> Iterator[tuple[str, ...]]:
    """(knob, algorithms that have it, default, meaning), those that all have first; a row for each default."""
    having: dict[tuple[str, str, str], list[str]] = {}
    for name, cls in known().items():
        meanings, hints = field_texts(cls.Config), typing.get_type_hints(cls.Config)
        for field in dataclasses.fields(cls.Config):
            text = with_choices(meanings[field.name], hints[field.name])
            having.setdefault((field.name, default_of(field), text), []).append(name)
    order = [f.name for f in dataclasses.fields(Knobs)]
    everywhere = [row for row in having if row[0] in order]
    for row in [*sorted(everywhere, key=lambda r: order.index(r[0])), *(r for r in having if r not in everywhere)]:
        who = "all" if len(having[row]) == len(known()) else ", ".join(f"`{name}`" for name in having[row])
        yield f"`{row[0]}`", who, row[1], row[2]


def metric_tables() -> str:
    """A table for what every row of metrics.jsonl holds, and one for each algorithm that adds to it."""
    parts = ["## In every run", metric_table(COMMON)]
    of_algorithms: dict[tuple[Metric, ...], list[str]] = {}
    for name, cls in known().items():
        if cls.metrics:
            of_algorithms.setdefault(tuple(cls.metrics), []).append(name)
    for metrics, names in of_algorithms.items():
        parts += [f"## Added by {', '.join(f'`{name}`' for name in names)}", metric_table(metrics)]
    return "\n\n".join(parts)


def metric_table(metrics: Iterable[Metric]) -> str:
    def meaning(m: Metric) -> str:
        return f"{m.meaning} OpenRLHF calls it `{m.openrlhf}`." if m.openrlhf else m.meaning

    return table(("metric", "meaning", "taken"), ((f"`{m.name}`", meaning(m), m.taken) for m in metrics))


def known() -> dict[str, type[Algorithm]]:
    """The algorithms by name: SCOPE first, the others by the alphabet."""
    names = sorted(algorithms.known(), key=lambda name: (name != "scope", name))
    return {name: type(algorithms.load(name)) for name in names}


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


def with_choices(text: str, hint: Any) -> str:
    """The meaning of a key, with the values that it may have where those are few."""
    if typing.get_origin(hint) is list and typing.get_origin(inner := typing.get_args(hint)[0]) is typing.Literal:
        return f"{text} Any of {', '.join(f'`{v}`' for v in typing.get_args(inner))}."
    if typing.get_origin(hint) is typing.Literal:
        return f"{text} One of {', '.join(f'`{v}`' for v in typing.get_args(hint))}."
    return text


def default_of(field: dataclasses.Field) -> str:
    """A default in the spelling of YAML; "-" where there is none."""
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    elif field.default is dataclasses.MISSING:
        return "-"
    else:
        value = field.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"`{value['name']}`" if value else "none"
    if value in ("", []):
        return "none"
    return f"`{value!r}`" if isinstance(value, str) and "\n" in value else f"`{value}`"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(map(plain, line)) + " |" for line in lines)


def plain(cell: str) -> str:
    """A text that Markdown shows as it is: a <name> outside code would be taken for a tag."""
    parts = cell.replace("|", "\\|").split("`")
    return "`".join(
        part if inside else part.replace("<", "&lt;") for inside, part in zip(cycle((False, True)), parts, strict=False)
    )


if __name__ == "__main__":
    main()
