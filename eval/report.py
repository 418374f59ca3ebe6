"""results.json as a page, as Markdown and as a table for the terminal.

The page needs no network and runs no script but its own.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from scope_eval.compare import markdown_row
from scope_eval.excerpts import Room, chosen, room
from scope_eval.results import Graded
from scope_eval.store import Store
from scope_openrlhf.equations.repetition import ends_in_a_loop
from scope_openrlhf.pages.page import write_page

HERE = Path(__file__).parent


def write(summary: dict[str, Any], graded: dict[str, Graded], store: Store, folder: Path) -> None:
    """Write report.html and report.md into folder. summary: what stands in results.json."""
    # somebody's own file of the same name is another benchmark
    published = published_beside([name for name, g in graded.items() if g.about["about"]["published"]])
    characters = sum(store.characters(g.about["id"]) for g in graded.values())
    of_page = room(
        sum(len(g.rows) for g in graded.values()), sum(len(row) for g in graded.values() for row in g.rows), characters
    )
    data = {
        "summary": summary,
        "published": published,
        "responses": str(of_page),
        "problems": {name: problems_of(g, store, of_page) for name, g in graded.items()},
    }
    write_page(folder / "report.html", f"scope-eval: {summary['model']}", HERE / "report.html", data)
    (folder / "report.md").write_text(markdown(summary, published), encoding="utf-8")


def published_beside(benchmarks: list[str]) -> dict[str, dict[str, Any]]:
    """What published.yaml says of benchmarks, by title; with "mean of six" where one of the six is there."""
    known = yaml.safe_load((HERE / "published.yaml").read_text())
    six = {name for p in known.values() for name in p.get("benchmarks", {})}
    found = {}
    for title, p in known.items():
        said = {name: p["benchmarks"][name] for name in benchmarks if name in p.get("benchmarks", {})}
        if "mean_of_six" in p and six & set(benchmarks):
            said["mean of six"] = p["mean_of_six"]
        if said:
            found[title] = p | {"benchmarks": said}
    return found


def problems_of(graded: Graded, store: Store, of_page: Room) -> list[dict]:
    """Each problem for the page, with its samples.

    A sample is [verdict, answer, reason, tokens, finish reason, seed, engine, repeating, text]; the text is None where
    the page has no room for it.
    """
    kept = ("verdict", "answer", "reason", "tokens", "finish_reason", "seed", "engine")
    found = []
    for problem, row in zip(graded.problems, graded.rows, strict=True):
        texts = store.texts(graded.about["id"], problem["id"], len(row))
        shown = set(chosen([sample["verdict"] for sample in row], of_page.samples))
        samples = [
            [*(sample[k] for k in kept), int(ends_in_a_loop(text)), of_page.excerpt(text) if i in shown else None]
            for i, (sample, text) in enumerate(zip(row, texts, strict=True))
        ]
        found.append({k: problem[k] for k in ("id", "problem", "answer", "stratum")} | {"samples": samples})
    return found


def percent(value: float | None, interval: list | tuple | None = None) -> str:
    """A share in percent, with its interval where there is one."""
    if value is None:
        return "-"
    known = interval and interval[0] is not None
    return f"{100 * value:.2f}" + (f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if known and interval else "")


def problems_asked(b: dict[str, Any]) -> str:
    """How many problems a benchmark's numbers are of, and of how many where they are not all. b: as in columns."""
    of = b["data"].get("of") or 0
    return f"first {b['problems']} of {of}" if of > b["problems"] else str(b["problems"])


def columns(name: str, b: dict[str, Any]) -> list[str]:
    """The cells of a benchmark under HEADERS. b: what results.json says of it."""
    n = b["samples"]
    return [
        name,
        problems_asked(b),
        str(n),
        percent(b["avg"], b["avg_ci"]),
        percent(b["pass"][str(n)], b["pass_ci"][str(n)]),
        percent(b["maj"], b["maj_ci"]),
        percent(b["best_with_replacement"], b["best_with_replacement_ci"]),
        percent(b["truncated"]),
        percent(b.get("repeating")),
        percent(b["no_box"]),
        percent(b["failed"]),
    ]


HEADERS = [
    "benchmark",
    "problems",
    "n",
    "Avg@n",
    "Pass@n",
    "maj@n",
    "best@n with replacement",
    "truncated",
    "repeating",
    "no box",
    "failed",
]


def rows_of(summary: dict[str, Any]) -> list[list[str]]:
    """The rows of a table under HEADERS, a second one for a benchmark with another count of problems."""
    rows = []
    for name, b in json.loads(json.dumps(summary["benchmarks"])).items():  # keys as results.json has them
        rows.append(columns(name, b))
        if w := b.get("without"):
            counts = [str(w["problems"]), str(b["samples"])]
            rows.append([f"{name}, {w['label']}", *counts, percent(w["avg"]), percent(w["pass"]), *["-"] * 6])
    return rows


def terminal_table(summary: dict[str, Any]) -> str:
    """results.json as a table of plain text."""
    rows = [HEADERS, *rows_of(summary)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADERS))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(
        [f"{summary['model']}; in percent, 95% intervals that cluster by problem; truncated = wrong", *lines]
    )


def pair_table(comparison: dict[str, Any]) -> str:
    """A comparison as a table of plain text, in percent with standard errors."""

    def row(title: str, avg: float, stderr_avg: float, passed: float, stderr_pass: float, sign: str = "") -> str:
        of_avg = f"{100 * avg:{sign}6.2f} +- {100 * stderr_avg:<9.2f}"
        return f"  {title:<34}{of_avg}{100 * passed:{sign}6.2f} +- {100 * stderr_pass:.2f}"

    lines = []
    for name, c in comparison["benchmarks"].items():
        k, d = c["k"], c["difference"]
        title = f"{name}: {c['n']} problems, {k} samples"
        lines.append(f"{title:<36}{f'Avg@{k}':<20}Pass@{k}")
        for side in ("before", "after"):
            s = c[side]
            lines.append(row(side, s["avg"], s["stderr_avg"], s["pass"], s["stderr_pass"]))
        lines.append(row("difference", d["avg"], d["stderr"], d["pass"], d["stderr_pass"], "+"))
    return "\n".join(lines)


def markdown(summary: dict[str, Any], published: dict[str, Any]) -> str:
    """results.json as report.md. published: what is published of its benchmarks, as in published.yaml."""
    lines = [
        f"# {summary['model']}",
        "",
        "In percent, with 95% intervals that cluster by problem. A truncated response counts as wrong.",
        "",
        markdown_row(HEADERS),
        "|" + "---|" * len(HEADERS),
        *map(markdown_row, rows_of(summary)),
        "",
    ]
    for title, p in published.items():
        of = {"avg": f"Avg@{p['samples']}", "best_with_replacement": f"best@{p['samples']} with replacement"}
        cells = [
            f"{name} " + ", ".join(f"{of[key]} {value}" for key, value in said.items())
            for name, said in p["benchmarks"].items()
        ]
        lines += [f"Published, {title} ({p['source']}): {', '.join(cells)}.", ""]
    lines += [f"- warning: {w}" for w in summary["warnings"]]
    lines += [f"- {name}: {how_it_was_made(b)}" for name, b in summary["benchmarks"].items()]
    return "\n".join([*lines, ""])


def how_it_was_made(b: dict[str, Any]) -> str:
    """What decided a benchmark's numbers: data, sampling, grader and notes. b: what results.json says of it."""
    sampling = f"{b['samples']} samples by {', '.join(b['sampled_by'])}"
    settings = f"with `{json.dumps(b['settings'], ensure_ascii=False)}`"
    grader = f"graded with `{json.dumps(b['graded_with'])}`"
    data = f"data {b['data']['hash']} from {b['data']['from']}"
    return "; ".join([data, f"{sampling} {settings}", grader, *b["notes"]])
