"""A look at the data, as a page."""

import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

from scope_openrlhf.data.overlap import held_out_note, repeats_note
from scope_openrlhf.pages.page import clip, write_page
from scope_openrlhf.run.data_check import Check
from scope_openrlhf.run.data_rows import Rows
from scope_openrlhf.run.data_text import head, summary
from scope_openrlhf.run.page import spread

SOURCE = Path(__file__).parent / "data_page.html"
MOST_OF_A_KIND = 40
"""Rows of a kind that the page has: the first and the last, and others at even distances."""
MOST_REASONS = 100
"""Different reasons why golds cannot be graded that the page tells."""
BARS = 30
"""Bars of the histogram at most."""


def write_data_page(check: Check, guessed: tuple[str, ...], file: Path) -> None:
    """Write the page, whole or not at all. guessed: the keys that nobody set. Raises OSError."""
    write_page(file, f"scope-train data: {check.config.data.path}", SOURCE, page_data(check, guessed))


def page_data(check: Check, guessed: tuple[str, ...]) -> dict[str, Any]:
    """What the page shows, as values of JSON."""
    rows, golds = Rows(check), check.reading.golds
    kinds = {kind: spread(found, MOST_OF_A_KIND) for kind, found in rows.kinds().items()}
    counts = {kind: len(found) for kind, found in rows.kinds().items()}
    reasons: dict[str, list[int]] = {}
    for row, why in golds.faults.items():
        reasons.setdefault(why, []).append(row)
    return {
        "path": check.config.data.path,
        "written": time.strftime("%F %T"),
        "head": [line.strip() for line in head(check, guessed)],
        "refused": check.refused,
        "notes": check.notes,
        "taken": len(check.rows),
        "of": len(check.reading.rows),
        "columns": columns(check),
        "lengths": summary(check),
        "limit": check.limit and {"prompt": check.limit.of_prompts, "what": check.limit.what, "most": check.limit.most},
        "bars": bars(check.prompts.lengths),
        "golds": Counter(golds.kinds[gold] for gold in golds.texts.values()).most_common(),
        "faults": [[why, len(at), at[0]] for why, at in list(reasons.items())[:MOST_REASONS]],
        "of_faults": len(reasons),
        "ungradable": len(golds.faults),
        "untried": golds.untried,
        "overlap": [repeats_note(check.keys, check.repeats), *(held_out_note(check.keys, h) for h in check.held_out)],
        "special": check.student.special,
        "kinds": [{"name": kind, "rows": kinds[kind], "of": counts[kind]} for kind in kinds],
        "rows": {row: clipped(rows.shown(row)) for row in sorted({row for found in kinds.values() for row in found})},
    }


def columns(check: Check) -> list[list[str]]:
    """Each column with what it is read as, and the first value in it."""
    data, reading = check.config.data, check.reading
    read_as = {data.prompt_key: "problem", data.answer_key: "gold answer", "id": "id"}
    read_as |= {data.trace_key: "worked solution"} if reading.traces else {}
    read_as |= {data.teacher_key: "teacher"} if reading.teachers else {}
    first: dict[str, str] = {}
    for row in reading.rows[:1_000]:
        for name, value in row.items():
            if value is not None:
                first.setdefault(str(name), clip(str(value), 200))
    found = {
        name: [what for key, what in read_as.items() if key == name or key.startswith(f"{name}.")] for name in first
    }
    return [[name, ", ".join(found[name]), value] for name, value in first.items()]


def bars(lengths: list[int]) -> list[tuple[int, int, int]]:
    """(from, to, number of prompts) of a histogram, both ends counted in."""
    if not lengths:
        return []
    low, high = min(lengths), max(lengths)
    width = max(1, math.ceil((high - low + 1) / BARS))
    counts = Counter((length - low) // width for length in lengths)
    return [(low + i * width, low + (i + 1) * width - 1, counts[i]) for i in range((high - low) // width + 1)]


def clipped(row: dict[str, Any]) -> dict[str, Any]:
    """A row for the page: long texts are cut."""
    texts = {key: clip(row[key]) for key in ("prompt", "written", "gold", "trace") if row[key] is not None}
    return row | texts
