"""The page of a comparison, compare.html: both models' scores and samples, problem by problem."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scope_eval.excerpts import Room, chosen, room
from scope_eval.grade import counts_as_right
from scope_eval.results import Graded, share, strict
from scope_eval.store import Store
from scope_openrlhf.equations.repetition import ends_in_a_loop
from scope_openrlhf.pages.page import write_page

SOURCE = Path(__file__).parent / "compare_page.html"
MOST_ANSWERS = 5
"""Different answers to a problem that are named, the most frequent ones."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models that are compared."""

    name: str
    """What the page calls it: A, B, before or after."""
    folder: Path
    """Where its samples lie."""
    store: Store
    graded: dict[str, Graded]
    """Benchmark -> its samples."""


def write(comparison: dict[str, Any], sides: tuple[Side, Side], file: Path) -> None:
    """Write the page. comparison: of compare.compare, over the benchmarks of these sides. Raises OSError."""
    names = list(comparison["benchmarks"])
    graded = [side.graded[name] for side in sides for name in names]
    characters = sum(side.store.characters(side.graded[name].about["id"]) for side in sides for name in names)
    of_page = room(sum(len(g.rows) for g in graded), sum(len(row) for g in graded for row in g.rows), characters)
    data = {
        "sides": [about_side(side) for side in sides],
        "benchmarks": {name: benchmark(c, name, sides, of_page) for name, c in comparison["benchmarks"].items()},
        "notes": comparison["notes"],
        "responses": str(of_page),
    }
    write_page(file, f"scope-eval: {sides[0].name} and {sides[1].name}", SOURCE, strict(data))


def about_side(side: Side) -> dict[str, str]:
    """What the page says of a model: its name here, the model, and where its samples lie."""
    first = next(iter(side.graded.values())).about
    return {"name": side.name, "model": first["about"]["model"], "folder": str(side.folder)}


def benchmark(c: dict[str, Any], name: str, sides: tuple[Side, Side], of_page: Room) -> dict[str, Any]:
    """What the page shows of a benchmark. c: what the comparison says of it."""
    said = [of_side(side, side.graded[name], [p["id"] for p in c["problems"]], of_page) for side in sides]
    return {
        **{key: c[key] for key in ("n", "k", "measures", "p", "p_holm", "strata")},
        "of": [g.about["about"].get("data", {}).get("of") for g in (side.graded[name] for side in sides)],
        "samples": [side.graded[name].about["samples"] for side in sides],
        "shares": [shares for shares, _ in said],
        "problems": [
            {key: p[key] for key in ("id", "problem", "answer", "stratum")} | {"sides": list(both)}
            for p, *both in zip(c["problems"], *(of for _, of in said), strict=True)
        ],
    }


def of_side(side: Side, graded: Graded, ids: list[str], of_page: Room) -> tuple[dict[str, float | None], list[dict]]:
    """({"truncated", "repeating", "no box", "failed"}: shares of all samples, what each problem shows) of a model."""
    where = {p["id"]: i for i, p in enumerate(graded.problems)}
    rows = [graded.rows[where[item]] for item in ids]
    problems = []
    for item, row in zip(ids, rows, strict=True):
        texts = side.store.texts(graded.about["id"], item, len(row))
        problems.append(of_problem(row, texts, of_page))
    samples = [s for row in rows for s in row]
    shares = {
        "truncated": share(s["finish_reason"] == "length" for s in samples),
        "repeating": sum(len(p["repeating"]) for p in problems) / len(samples),
        "no box": share(s["answer"] is None for s in samples),
        "failed": share(s["verdict"] == "failed" for s in samples),
    }
    return shares, problems


def of_problem(row: list[dict], texts: list[str], of_page: Room) -> dict[str, Any]:
    """What the page shows of a model's samples of one problem.

    {"marks": a letter of mark for each sample, "repeating": numbers of samples that end in a loop, "answers": [answer,
    how often, whether it is right] of the most frequent ones, "shown": [number, answer, tokens, text] of some}.
    """
    marks = [mark(sample) for sample in row]
    # what was truncated said nothing, as in maj@k
    times = Counter(s["class"] for s in row if s["answer"] is not None and s["finish_reason"] != "length")
    first = {sample["class"]: sample["answer"] for sample in reversed(row)}
    return {
        "marks": "".join(marks),
        "repeating": [i for i, text in enumerate(texts) if ends_in_a_loop(text)],
        "answers": [[first[c], n, int(c == 0)] for c, n in times.most_common(MOST_ANSWERS)],
        "shown": [
            [i, row[i]["answer"], row[i]["tokens"], of_page.excerpt(texts[i])] for i in chosen(marks, of_page.samples)
        ],
    }


def mark(sample: dict[str, Any]) -> str:
    """r: right, t: truncated, f: the grader could not decide, n: no box, w: wrong."""
    if counts_as_right(sample["verdict"], sample["finish_reason"]):
        return "r"
    if sample["finish_reason"] == "length":
        return "t"
    if sample["verdict"] == "failed":
        return "f"
    return "n" if sample["answer"] is None else "w"
