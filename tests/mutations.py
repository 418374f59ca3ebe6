"""Answers that nobody means: those of the tables with pieces put in, repeated, taken out and moved."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

from scope_openrlhf.verifier.brackets import TooMuch
from scope_openrlhf.verifier.compare import Rules, same
from scope_openrlhf.verifier.extract import extract_answers

PIECES = [
    " ", "(", "[", "{", "}", ")", "\\{", "⟦", "⟧", "\\text{", "\\frac", "\\left(", "1", "7", ",", "-", "\\pm", "\\cup",
    "=", "<", "|", "\\|", "_", "^", "²", "½", "\\ ", "\\,", "$", "a", "A", "元", "\\begin{cases}", "&", "\\\\",
    "\\sqrt", "{,}", ":", ";", " and ", "\\mathrm{", "~", "if ", "\\text{ if }", "\\equiv", "\\pmod{", "\\triangle",
    "\\ldots", "!!", "\\overline{", "0.", "9",
]  # fmt: skip


class _NeedsAlgebra(Exception):
    """The string part is over."""


def tables() -> list[tuple[str, str]]:
    """(gold, response) of the handed and the hostile table, hostile ones twice."""
    files = [Path(__file__).with_name(f"{name}.jsonl") for name in ("reported", "blind", "hostile", "hostile")]
    return [(row["gold"], row["response"]) for f in files for row in map(json.loads, f.read_text().splitlines())]


def mutated(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield (gold, answer) pairs with answers of at most 1,990 characters."""
    rng = random.Random(seed)
    rows = tables()
    for _ in range(count):
        gold, response = rng.choice(rows)
        answer = (extract_answers(response) or [response])[-1]
        for _ in range(rng.randint(1, 4)):
            answer = _changed(answer, rng, rows)[:1990]
        yield (answer[: rng.randint(0, 1990)] or gold) if rng.random() < 0.1 else gold, answer


def _changed(answer: str, rng: random.Random, rows: list[tuple[str, str]]) -> str:
    at, how = rng.randint(0, len(answer)), rng.random()
    end = rng.randint(at, len(answer))
    if how < 0.3:
        return answer[:at] + rng.choice(PIECES) + answer[at:]
    if how < 0.6:
        return answer[:at] + rng.choice(PIECES) * rng.choice((5, 50, 400, 1900)) + answer[at:]
    if how < 0.75:
        return answer[:at] + answer[at:end] * rng.choice((2, 10, 100)) + answer[end:]
    if how < 0.9:
        return answer[:at] + answer[min(end, at + 6) :]
    return answer[:at] + rng.choice(rows)[1][:200] + answer[at:]


def string_seconds(gold: str, answer: str) -> float:
    """CPU seconds that a caller spends on a pair, which is all but the algebra of the workers."""

    def leaf(*_: str) -> bool:
        raise _NeedsAlgebra

    start = time.thread_time()
    try:
        extract_answers(rf"\boxed{{{answer}}}")
        same(gold, [answer], leaf, Rules())
    except (_NeedsAlgebra, TooMuch, ValueError, ArithmeticError, RecursionError):
        pass  # the grader makes a verdict of each
    return time.thread_time() - start
