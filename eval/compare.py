"""Two models on the same problems: paired differences, p-values that count how many were asked for, and the problems that flipped."""

from typing import Any

from scope_eval import metrics
from scope_eval.results import Graded, share
from scope_openrlhf.config import ConfigError


def compare(before: dict[str, Graded], after: dict[str, Graded]) -> dict[str, Any]:
    """{"benchmarks": {name: ...}, "left_out": [why]} over the benchmarks that both have with the same data.

    Each has n, k, before and after (metrics.score), difference (metrics.paired_difference), p (permutation test of Avg), p_holm, flips, strata.
    Raises ConfigError if there is nothing to compare.
    """
    found, left_out = {}, [f"{name} is in one of them alone" for name in sorted(before.keys() ^ after.keys())]
    for name in (n for n in before if n in after):
        a, b = before[name], after[name]
        if a.about["data"] != b.about["data"]:
            left_out.append(f"{name} has other data on each side (hash {a.about['data']} and {b.about['data']})")
            continue
        if (settings := differing(a.about["settings"], b.about["settings"])) is not None:
            left_out.append(f"{name}: note that the settings differ: {settings}")
        found[name] = pair(a, b)
    if not found:
        raise ConfigError("there is no benchmark to compare: " + "; ".join(left_out))
    for name, p in metrics.holm({name: c["p"] for name, c in found.items()}).items():
        found[name]["p_holm"] = p
    return {"benchmarks": found, "notes": left_out}


def pair(before: Graded, after: Graded) -> dict[str, Any]:
    """Of one benchmark, over the problems that both have samples of."""
    where = {p["id"]: i for i, p in enumerate(after.problems)}
    rows = [(p, i, where[p["id"]]) for i, p in enumerate(before.problems) if p["id"] in where]
    old, new = [before.correct[i] for _, i, _ in rows], [after.correct[j] for _, _, j in rows]
    difference = metrics.paired_difference(old, new)
    strata = {}
    for stratum in dict.fromkeys(p["stratum"] for p, _, _ in rows):
        of = [i for i, (p, _, _) in enumerate(rows) if p["stratum"] == stratum]
        strata[stratum] = {"before": metrics.score([old[i] for i in of]), "after": metrics.score([new[i] for i in of])}
    return {
        "n": len(rows), "k": difference["k"], "before": metrics.score(old), "after": metrics.score(new), "difference": difference,
        "p": metrics.permutation_p(old, new), "flips": flips([p["id"] for p, _, _ in rows], old, new), "strata": strata,
    }  # fmt: skip


def flips(ids: list[str], before: metrics.Correct, after: metrics.Correct) -> dict[str, list[str]]:
    """Problems that changed sides: right in half of the samples or more (gained, lost), right at least once (first_solved, no_longer_solved)."""
    found: dict[str, list[str]] = {"gained": [], "lost": [], "first_solved": [], "no_longer_solved": []}
    for name, old, new in zip(ids, before, after, strict=True):
        a, b = share(old) or 0.0, share(new) or 0.0
        if (a >= 0.5) != (b >= 0.5):
            found["gained" if b > a else "lost"].append(name)
        if (a > 0) != (b > 0):
            found["first_solved" if b > 0 else "no_longer_solved"].append(name)
    return found


def differing(a: dict, b: dict) -> str | None:
    keys = sorted(k for k in {**a, **b} if a.get(k) != b.get(k))
    return ", ".join(f"{k} {a.get(k)!r} and {b.get(k)!r}" for k in keys)[:300] or None


def table(comparison: dict[str, Any], names: tuple[str, str]) -> str:
    """Markdown."""
    lines = [
        f"A = {names[0]}, B = {names[1]}. Differences are B - A, paired by problem, with 95% intervals; p by permutation, adjusted by Holm.",
        "",
        "| benchmark | problems | Avg A | Avg B | difference | p | p (Holm) | Pass@k A | Pass@k B | difference | gained | lost |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, c in comparison["benchmarks"].items():
        d, a, b = c["difference"], c["before"], c["after"]
        low, high = (f"{100 * x:+.2f}" for x in d["ci"])
        lines.append(
            f"| {name} | {c['n']} | {100 * a['avg']:.2f} | {100 * b['avg']:.2f} | {100 * d['avg']:+.2f} [{low}, {high}] | {c['p']:.4f} | {c['p_holm']:.4f} | "
            f"{100 * a['pass']:.2f} (k = {c['k']}) | {100 * b['pass']:.2f} | {100 * d['pass']:+.2f} [{', '.join(f'{100 * x:+.2f}' for x in d['pass_ci'])}] | "
            f"{len(c['flips']['gained'])} | {len(c['flips']['lost'])} |"
        )
    lines += ["", "Gained, lost: problems that crossed one half of their samples right."]
    for name, c in comparison["benchmarks"].items():
        for kind, ids in c["flips"].items():
            if ids:
                lines.append(f"- {name}, {kind.replace('_', ' ')} ({len(ids)}): {', '.join(ids[:30])}{', ...' if len(ids) > 30 else ''}")
    return "\n".join(lines + [f"- {note}" for note in comparison["notes"]])
