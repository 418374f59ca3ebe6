"""A look at the data, as lines for a terminal."""

import textwrap
from collections import Counter
from typing import Any

from scope_openrlhf.data.overlap import held_out_note, repeats_note
from scope_openrlhf.pages.page import clip
from scope_openrlhf.run.data_check import Check
from scope_openrlhf.run.data_rows import Rows
from scope_openrlhf.settings.errors import rows_named

MOST_OF_A_TEXT, MOST_OF_A_LINE = 800, 200
"""Characters of a prompt, and of a gold, that are shown."""
FAULTY = 3
"""Rows without a prompt or a gold that are shown, of as many as are asked for."""


def lines(check: Check, guessed: tuple[str, ...], count: int) -> list[str]:
    """All of it. guessed: the keys that nobody set. count: of rows to show."""
    rows = Rows(check)
    faulty = [*check.reading.without_prompt, *check.reading.golds.faults][: min(count, FAULTY)]
    shown = dict.fromkeys([*range(min(count, len(check.reading.rows))), *faulty])
    return [
        *head(check, guessed),
        *(line for row in shown for line in ("", *of_row(rows.shown(row)))),
        "",
        *numbers(check),
        *(f"note  {one_line(note, 1_000)}" for note in check.notes),
    ]


def head(check: Check, guessed: tuple[str, ...]) -> list[str]:
    """The file, its columns, and which of them are read."""
    data, reading = check.config.data, check.reading
    columns = dict.fromkeys(str(name) for row in reading.rows[:1_000] for name in row)

    def key(name: str) -> str:
        return f"column {getattr(data, name)} (data.{name}{', guessed' if f'data.{name}' in guessed else ''})"

    names = {"problem": "prompt_key", "gold": "answer_key"}
    names |= {"solution": "trace_key"} if reading.traces else {}
    names |= {"teacher": "teacher_key"} if reading.teachers else {}
    return [
        f"{data.path}: {len(reading.rows):,} rows",
        f"  columns     {one_line(', '.join(columns))}",
        *(f"  {what:<12}{one_line(key(name))}" for what, name in names.items()),
        f"  prompts     {whose_prompts(check)}",
    ]


def whose_prompts(check: Check) -> str:
    """In which form the prompts are shown, and why not in another."""
    path = check.config.student.path
    if check.student.tokenizer is None:
        why = "the hub does not give its tokenizer" if path else "student.path=... shows them as a model gets them"
        return f"{f'{path}: ' if path else ''}as chat messages, without lengths; {why}"
    if not check.prompts.lengths and check.rows:
        return f"as chat messages: the chat template of {path} does not take them"
    return f"as {path} gets them"


def of_row(row: dict[str, Any]) -> list[str]:
    """A row: its prompt, its gold as it stands and as it is read, and what is odd about it."""
    title = [f"row {row['row']}", f"id {one_line(row['id'])}" if row["id"] else ""]
    title += [f"{row['tokens']:,} tokens" if row["tokens"] is not None else ""]
    found = [f"    {line}" for line in visible(clip(row["prompt"], MOST_OF_A_TEXT)).split("\n")]
    written = [] if row["gold"] == row["written"] else [f"  written     {one_line(row['written'])}"]
    gold = [f"  gold        {one_line(row['gold'])} ({row['kind']})"] if row["gold"] is not None else []
    trace = [f"  solution    {one_line(row['trace'])}"] if row["trace"] else []
    odd = [f"  fault       {one_line(fault)}" for fault in row["faults"]]
    return [", ".join(filter(None, title)), *found, *written, *gold, *trace, *odd]


def numbers(check: Check) -> list[str]:
    """What was counted."""
    golds = check.reading.golds
    kinds = Counter(golds.kinds[gold] for gold in golds.texts.values())
    told = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
    found = [*lengths_told(check), f"golds  {len(golds.texts):,} of {len(check.reading.rows):,} can be graded: {told}"]
    if golds.faults:
        share = f"{len(golds.faults) / len(check.reading.rows):.1%}"
        found.append(f"  {len(golds.faults):,} cannot ({share}): {one_line(rows_named(golds.faults), 1_000)}")
    if golds.untried:
        found.append(f"  {golds.untried:,} formulas of them were not tried, which would take minutes")
    found.append(repeats_note(check.keys, check.repeats))
    found += [held_out_note(check.keys, held) for held in check.held_out]
    return found


def lengths_told(check: Check) -> list[str]:
    """How long the prompts are, and how many are too long."""
    if not (found := summary(check)):
        return []
    line = (
        f"lengths  {found['min']:,} to {found['max']:,} tokens, half of them at most {found['median']:,}, 95% at most "
        f"{found['p95']:,}"
    )
    if (limit := check.limit) is None:
        return [line]
    room = f" less {limit.room:,} for the response" if limit.room > 1 else ""
    return [line, f"  {found['over']:,} are longer than {limit.of_prompts:,}: {limit.what} {limit.most:,}{room}"]


def summary(check: Check) -> dict[str, int]:
    """The smallest, the median, the 95th percentile and the largest length, and how many are over the limit."""
    if not (ordered := sorted(check.prompts.lengths)):
        return {}
    last = len(ordered) - 1
    limit = check.limit.of_prompts if check.limit else ordered[-1]
    return {
        "min": ordered[0],
        "median": ordered[last // 2],
        "p95": ordered[-(-95 * len(ordered) // 100) - 1],
        "max": ordered[-1],
        "over": sum(length > limit for length in ordered),
    }


def one_line(text: str, most: int = MOST_OF_A_LINE) -> str:
    """A text on one line, cut where it is long."""
    return textwrap.shorten(visible(text), most, placeholder=" ...") or repr(text)


def visible(text: str) -> str:
    """A text whose control characters, which could steer a terminal, are spelled out; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
