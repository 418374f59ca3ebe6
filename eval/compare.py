"""Two models on the same problems: paired differences, adjusted p-values, and the problems that flipped."""

from typing import Any

from scope_eval import metrics
from scope_eval.results import Graded, share
from scope_openrlhf.settings.errors import ConfigError

COLUMNS = [
    "benchmark",
    "problems",
    "Avg A",
    "Avg B",
    "difference",
    "p",
    "p (Holm)",
    "k",
    "Pass@k A",
    "Pass@k B",
    "difference",
    "gained",
    "lost",
]


def compare(before: dict[str, Graded], after: dict[str, Graded]) -> dict[str, Any]:
    """{"benchmarks": {name: ...}, "notes": [what a reader should know]} over what both have with the same data.

    Each benchmark has n, k, before and after (metrics.accuracy), difference (metrics.paired_difference), p (permutation
    test of Avg), p_holm, measures, flips, strata, problems. Raises ConfigError if there is nothing to compare.
    """
    found, notes = {}, [f"{name} is in one of them alone" for name in sorted(before.keys() ^ after.keys())]
    for name in (n for n in before if n in after):
        a, b = before[name], after[name]
        if a.about["data"] != b.about["data"]:
            notes.append(f"{name} has other data on each side (hash {a.about['data']} and {b.about['data']})")
            continue
        sides = [
            g.about["settings"]
            | {"samples": g.about["samples"], "problems": len(g.problems), "graded with": g.about["graded_with"]}
            for g in (a, b)
        ]
        if settings := differing(*sides):
            notes.append(f"{name}: the two differ in {settings}")
        found[name] = pair(a, b)
    if not found:
        raise ConfigError("there is no benchmark to compare: " + "; ".join(notes))
    for name, p in metrics.holm({name: c["p"] for name, c in found.items()}).items():
        found[name]["p_holm"] = p
        for measure, m in found[name]["measures"].items():
            m["after_is"] = told_apart(m["difference"], m["ci"], p if measure == "avg" else 0.0)
    return {"benchmarks": found, "notes": notes}


def pair(before: Graded, after: Graded) -> dict[str, Any]:
    """What compare says of one benchmark, over the problems that both have samples of."""
    where = {p["id"]: i for i, p in enumerate(after.problems)}
    rows = [(p, i, where[p["id"]]) for i, p in enumerate(before.problems) if p["id"] in where]
    was, now = before.correct, after.correct
    old, new = [was[i] for _, i, _ in rows], [now[j] for _, _, j in rows]
    said, says = before.answers, after.answers
    difference = metrics.paired_difference(old, new)
    k = difference["k"]
    strata = {}
    for stratum in dict.fromkeys(p["stratum"] for p, _, _ in rows):
        of = [i for i, (p, _, _) in enumerate(rows) if p["stratum"] == stratum]
        strata[stratum] = {
            "before": metrics.accuracy([old[i] for i in of], k),
            "after": metrics.accuracy([new[i] for i in of], k),
        }
    return {
        "n": len(rows),
        "k": k,
        "before": metrics.accuracy(old, k),
        "after": metrics.accuracy(new, k),
        "difference": difference,
        "p": metrics.permutation_p(old, new),
        "measures": measures((old, [said[i] for _, i, _ in rows]), (new, [says[j] for _, _, j in rows]), k),
        "flips": flips([p["id"] for p, _, _ in rows], old, new, k),
        "strata": strata,
        "problems": [
            {k: p[k] for k in ("id", "problem", "answer", "stratum")} | {"before": share(a), "after": share(b)}
            for (p, _, _), a, b in zip(rows, old, new, strict=True)
        ],
    }


Samples = tuple[metrics.Correct, metrics.Answers]
"""What of a model's samples is right, and the classes of their answers, both (problems, n)."""


def measures(before: Samples, after: Samples, k: int) -> dict[str, dict[str, Any]]:
    """{"avg" | "pass" | "maj": {"before", "before_ci", "after", "after_ci", "difference", "ci"}} of the same problems.

    Pass and maj are those of k samples. Intervals are of 95%: Wilson's of each model, Student's of the difference.
    """
    values = {
        "avg": [metrics.per_problem_avg(correct) for correct, _ in (before, after)],
        "pass": [metrics.per_problem_pass(correct, k) for correct, _ in (before, after)],
        "maj": [metrics.per_problem_maj(answers, correct, k) for correct, answers in (before, after)],
    }
    found = {}
    for measure, (old, new) in values.items():
        change = [b - a for a, b in zip(old, new, strict=True)]
        found[measure] = {
            "before": sum(old) / len(old),
            "before_ci": metrics.wilson_interval(old, 0.95),
            "after": sum(new) / len(new),
            "after_ci": metrics.wilson_interval(new, 0.95),
            "difference": sum(change) / len(change),
            "ci": metrics.t_interval(change, 0.95),
        }
    return found


def told_apart(difference: float, interval: metrics.Interval, p: float) -> str:
    """higher or lower, where the interval leaves out zero and p is under 0.05; else not told apart.

    An interval of NaN, of a single problem, tells nothing apart.
    """
    if p < 0.05 and (interval[0] > 0 or interval[1] < 0):
        return "higher" if difference > 0 else "lower"
    return "not told apart"


def flips(ids: list[str], before: metrics.Correct, after: metrics.Correct, k: int) -> dict[str, list[str]]:
    """Ids of the problems that changed sides.

    gained, lost: right in half of their samples or more. first_solved, no_longer_solved: right in one of the first k.
    """
    found: dict[str, list[str]] = {"gained": [], "lost": [], "first_solved": [], "no_longer_solved": []}
    for name, old, new in zip(ids, before, after, strict=True):
        a, b = share(old) or 0.0, share(new) or 0.0
        if (a >= 0.5) != (b >= 0.5):
            found["gained" if b > a else "lost"].append(name)
        if any(old[:k]) != any(new[:k]):
            found["first_solved" if any(new[:k]) else "no_longer_solved"].append(name)
    return found


def differing(a: dict, b: dict) -> str | None:
    """In what two settings differ, with both values, at most 300 characters; None if they are the same."""
    keys = sorted(k for k in {**a, **b} if a.get(k) != b.get(k))
    return ", ".join(f"{k} {a.get(k)!r} and {b.get(k)!r}" for k in keys)[:300] or None


def table(comparison: dict[str, Any], names: tuple[str, str]) -> str:
    """A comparison as Markdown; names: of the two models."""

    def change(value: float, interval: tuple[float, float]) -> str:
        known = interval[0] == interval[0]  # NaN: a single problem has none
        return f"{100 * value:+.2f}" + (f" [{100 * interval[0]:+.2f}, {100 * interval[1]:+.2f}]" if known else "")

    lines = [
        f"A = {names[0]}, B = {names[1]}. Differences are B - A, paired by problem, with 95% intervals; p by "
        "permutation, adjusted by Holm.",
        "",
        markdown_row(COLUMNS),
        "|" + "---|" * len(COLUMNS),
    ]
    for name, c in comparison["benchmarks"].items():
        d, a, b = c["difference"], c["before"], c["after"]
        avg = [f"{100 * a['avg']:.2f}", f"{100 * b['avg']:.2f}", change(d["avg"], d["ci"])]
        passed = [f"{100 * a['pass']:.2f}", f"{100 * b['pass']:.2f}", change(d["pass"], d["pass_ci"])]
        flipped = [len(c["flips"]["gained"]), len(c["flips"]["lost"])]
        p_values = [f"{c['p']:.4f}", f"{c['p_holm']:.4f}"]
        lines.append(markdown_row([name, c["n"], *avg, *p_values, c["k"], *passed, *flipped]))
    lines += ["", "Gained, lost: problems that crossed one half of their samples right."]
    for name, c in comparison["benchmarks"].items():
        for kind, ids in c["flips"].items():
            if ids:
                shown = ", ".join(map(plain, ids[:30])) + (", ..." if len(ids) > 30 else "")
                lines.append(f"- {name}, {kind.replace('_', ' ')} ({len(ids)}): {shown}")
    return "\n".join(lines + [f"- {note}" for note in comparison["notes"]])


def markdown_row(cells: list) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(plain(str(cell)) for cell in cells) + " |"


def plain(text: str) -> str:
    """A text on one line of a Markdown table, without markup."""
    return " ".join(text.split()).translate({ord(c): f"\\{c}" for c in "|<>`"})
