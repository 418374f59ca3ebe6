"""Write the tables of config.md and metrics.md from the code. `make docs` runs it; tests/docs/ holds the pages to it.

A page keeps what people wrote; only what stands between its two marks is written anew.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path

from scope_openrlhf.equations.metric_definitions import COMMON, Metric
from scope_openrlhf.run.keys import knobs, known_algorithms, sections
from scope_openrlhf.run.schema import FILE, schema
from scope_openrlhf.settings.meanings import Key

FROM, TO = "<!-- docs/reference.py writes from here -->", "<!-- to here -->"
DOCS = Path(__file__).parent
WORDS = ("-", "none", "true", "false")
"""Defaults that are shown as words, not as code."""


def main() -> None:
    for file, written in pages().items():
        page = DOCS / file
        page.write_text(inserted(page.read_text(), written))
        print(f"written: docs/{file}")
    FILE.write_text(schema_text())
    print(f"written: {FILE.relative_to(DOCS.parent)}")


def schema_text() -> str:
    """The JSON schema of a config, as it is shipped."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


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
    parts = []
    for name, keys in sections().items():
        parts += [f"## {name or 'The run'}", table(("key", "default", "meaning"), map(key_row, keys))]
    parts += ["## Knobs of the algorithms", "Each is set as `algorithm.<knob>`."]
    return "\n\n".join([*parts, table(("knob", "algorithms", "default", "meaning"), knob_rows())])


def key_row(key: Key) -> tuple[str, ...]:
    """(key, default, meaning)"""
    default = key.default if key.default in WORDS else f"`{key.default}`"
    return f"`{key.name}`", default, key.meaning


def knob_rows() -> Iterator[tuple[str, ...]]:
    """(knob, algorithms that have it, default, meaning), those that all have first; a row for each default."""
    for key, names in knobs():
        who = "all" if len(names) == len(known_algorithms()) else ", ".join(f"`{name}`" for name in names)
        _, default, meaning = key_row(key)
        yield f"`{key.name.removeprefix('algorithm.')}`", who, default, meaning


def metric_tables() -> str:
    """A table for what every row of metrics.jsonl holds, and one for each algorithm that adds to it."""
    parts = ["## In every run", metric_table(COMMON)]
    of_algorithms: dict[tuple[Metric, ...], list[str]] = {}
    for name, cls in known_algorithms().items():
        if cls.metrics:
            of_algorithms.setdefault(tuple(cls.metrics), []).append(name)
    for metrics, names in of_algorithms.items():
        parts += [f"## Added by {', '.join(f'`{name}`' for name in names)}", metric_table(metrics)]
    return "\n\n".join(parts)


def metric_table(metrics: Iterable[Metric]) -> str:
    def meaning(m: Metric) -> str:
        return f"{m.meaning} OpenRLHF calls it `{m.openrlhf}`." if m.openrlhf else m.meaning

    return table(("metric", "meaning", "taken"), ((f"`{m.name}`", meaning(m), m.taken) for m in metrics))


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
