"""A study's numbers -> compare.md, compare.png, compare.json. Every sentence that depends on them is computed from them."""

import json
from pathlib import Path
from typing import Any

from scope_eval.compare import markdown_row
from scope_eval.results import strict
from scope_eval.study_numbers import STUDENT

CLAIMS = {
    "CEPO": ("43.43 and 60.56 average against GRPO's 41.17 and 57.43 (multimodal models of 2B and 4B); OPSD and SDPO end below the untrained base there",
             [("cepo", "grpo"), ("opsd", STUDENT), ("sdpo", STUDENT)]),
    "SMEPO": ("up to 3.2 points above GRPO in 4.2 times less time", [("smepo", "grpo")]),
    "SCOPE (arXiv 2604.10688)": ("relative to its baselines +11.42% Avg@32 and +7.30% Pass@32", [("scope", "opd"), ("scope", "grpo")]),
}  # fmt: skip
"""What the papers say in their summaries, and the pairs here that are the same ones."""


def claimed_pairs() -> list[tuple[str, str]]:
    return [pair for _, pairs in CLAIMS.values() for pair in pairs]


def write(found: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    draw(found, out / "compare.png")
    (out / "compare.json").write_text(json.dumps(strict(found), indent=1) + "\n", encoding="utf-8")
    (out / "compare.md").write_text(markdown(found), encoding="utf-8")


def ranked(found: dict[str, Any]) -> list[tuple[str, dict]]:
    """Algorithms and the untrained student, the highest Avg first."""
    return sorted([*found["algorithms"].items(), (STUDENT, found[STUDENT])], key=lambda item: -item[1]["avg"]["value"])


def markdown(found: dict[str, Any]) -> str:
    n = found["scale"]["samples"]
    lines = [
        "# The algorithms, side by side", "",
        f"```\n{found['command']}\n```", "",
        "`make compare` runs it, with `SEEDS=`, `STEPS=`, `ALGORITHMS=` and `ARGS=` for what differs. The same command continues a study that was stopped; "
        "`--report-only` writes this page anew. Every number of this page is computed by it and stands in [compare.json](compare.json).", "",
        *scale_lines(found), "",
        f"## Avg@{n}, Pass@{n}, diversity, time and teacher", "",
        "![Avg and Pass of each algorithm](compare.png)", "",
        *main_table(found, n), "",
        f"## Paired differences in Avg@{n} and Pass@{n}", "",
        *difference_table(found, n), "",
        "## What is seen here", "",
        *seen(found, n), "",
        "## Does the student read what it is shown?", "",
        *hint_table(found), "",
        "## What the papers claim, and the same pairs here", "",
        *claim_table(found, n), "",
        "## Each run", "",
        *run_table(found, n), "",
        "## How to read it", "",
        *caveats(found, n),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def scale_lines(found: dict[str, Any]) -> list[str]:
    s = found["scale"]
    params = " and ".join(f"a {who} of {f'{p:,} params' if p else 'unknown size'}" for who, p in s["params"].items())
    sampling = ", ".join(f"{k} {v:g}" for k, v in s["sampling"].items())
    settings = "; ".join(
        f"{name} {', '.join(f'{k}={v}' for k, v in of.items())}" for name, of in found["knobs"].items()
    )
    task = ": sums of signed digits modulo 100, step by step (the embedded task)" if embedded(found) else ""
    return [
        f"- **Scale**: {s['steps']} steps of {s['prompts']} prompts x {s['rollouts'] // s['prompts']} rollouts, {params}, on {s['device']}.",
        f"- **Data**: trained on `{s['train']}`{task}, scored on {s['problems']} held-out problems of `{s['heldout']}` (the first of every stratum, in equal shares), "
        f"{s['samples']} samples each: {sampling}, the same seeds for every model.",
        f"- **Alike**: seeds {', '.join(map(str, s['seeds']))}. That all runs of a seed had the same problems in the same order, and all runs the same number of "
        "rollouts in every step, was checked in what the runs wrote; otherwise there would be no page.",
        f"- **Knobs**: not tuned for any method; all are at their defaults{f' but for what the config sets: {settings}' if settings else ''}.",
    ]  # fmt: skip


def embedded(found: dict[str, Any]) -> bool:
    return found["scale"]["train"].startswith("examples/tiny/")


def percent(spread: dict, sign: str = "") -> str:
    low, high = spread["ci"]
    return f"{100 * spread['value']:{sign}.2f}" + (
        f" [{100 * low:{sign}.2f}, {100 * high:{sign}.2f}]" if low == low else ""
    )


def points(value: float) -> str:
    """Of a standard deviation, which a single seed does not have."""
    return "-" if value != value else f"{100 * value:.2f}"


def table(header: list[str], rows: list[list]) -> list[str]:
    return [markdown_row(header), "|" + "---|" * len(header), *map(markdown_row, rows)]


def main_table(found: dict[str, Any], n: int) -> list[str]:
    rows = []
    for name, a in ranked(found):
        work = (
            [f"{a['seconds']:.0f}", f"{a['startup']:.0f}", f"{a['teacher_tokens']:,.0f}", f"{a['context_tokens']:,.0f}"]
            if "took" in a
            else ["-"] * 4
        )
        of = f"{len(a['seeds'])} of {len(found['scale']['seeds'])}" if "took" in a else "-"
        rows.append([name if "took" in a else "untrained student", of, percent(a["avg"]), points(a["avg"]["sd"]), percent(a["pass"]), points(a["pass"]["sd"]),
                     f"{a['distinct']['value']:.2f}", *work])  # fmt: skip
    failed = {name.rpartition("-")[0] for name in found["failed"]} - found["algorithms"].keys()
    rows += [[name, f"0 of {len(found['scale']['seeds'])}", "failed", *["-"] * 8] for name in sorted(failed)]
    header = ["algorithm", "seeds", f"Avg@{n}", "sd of seeds", f"Pass@{n}", "sd of seeds", "different right responses", "seconds of steps", "start-up",
              "teacher tokens", "context tokens"]  # fmt: skip
    return [
        *table(header, rows), "",
        f"In percent, with 95% intervals over problems of each problem's mean over seeds (Wilson's, as in all scores of this harness). Sd of seeds: the standard deviation of the seeds' own values. Different right "
        f"responses: how many texts (blanks around them removed) are among the right ones of a problem's {n} samples, the mean over problems and seeds. Seconds of steps: generation, "
        "log-probs, update and sync of all steps together, and start-up, the engines' before the first, each the median over seeds, as they went by on the clock: where something "
        "else runs on the machine they hold that too. Teacher tokens: of the sequences that a teacher scored, prompts included; context tokens: of the sequences that were scored under another context, by "
        "student or teacher (what a teacher scored so is in both); medians over seeds.",
    ]  # fmt: skip


def difference_table(found: dict[str, Any], n: int) -> list[str]:
    rows = []
    for d in sorted(found["differences"], key=lambda d: (d["to"], -d["avg"]["value"])):
        avg, passed = (" ".join(f"{100 * v:+.2f}" for v in d[key]["by_seed"]) for key in ("avg", "pass"))
        rows.append([f"{d['of']} - {d['to']}", percent(d["avg"], "+"), f"{d['p']:.4f}", f"{d['p_holm']:.4f}", avg, points(d["avg"]["sd"]),
                     percent(d["pass"], "+"), passed, points(d["pass"]["sd"])])  # fmt: skip
    if not rows:
        return ["Neither GRPO nor OPD stands beside another finished algorithm, so there is none."]
    header = ["pair", f"Avg@{n}", "p", "p (Holm)", "by seed", "sd of seeds", f"Pass@{n}", "by seed", "sd of seeds"]
    return [
        *table(header, rows), "",
        f"In points, paired by seed and problem over the seeds that both have, with 95% intervals of Student's t over problems. p: of Avg@{n}, by swapping the two models of a problem at random, so that 0.0001 is the smallest; Holm: "
        f"adjusted for all {len(rows)} comparisons of the table. By seed: in the order of the seeds above.",
    ]  # fmt: skip


def verdict(d: dict) -> str:
    """above or below: p (Holm) under 0.05 and the same sign in every seed; else not told apart."""
    signs = {v > 0 for v in d["avg"]["by_seed"]} if all(d["avg"]["by_seed"]) else set()
    return (
        ("above" if d["avg"]["value"] > 0 else "below") if d["p_holm"] < 0.05 and len(signs) == 1 else "not told apart"
    )


def seen(found: dict[str, Any], n: int) -> list[str]:
    lines = [
        f"Above and below: p (Holm) under 0.05 and the same sign in every seed, in Avg@{n}; everything else is not told apart.",
        "",
    ]
    for base in dict.fromkeys(d["to"] for d in found["differences"]):
        sides: dict[str, list[str]] = {"above": [], "below": [], "not told apart": []}
        for d in found["differences"]:
            if d["to"] == base:
                sides[verdict(d)].append(d["of"])
        lines.append(
            f"- Against {base}: "
            + "; ".join(f"{side}: {', '.join(names) or 'none'}" for side, names in sides.items())
            + "."
        )
    for key, title in (("avg", f"Avg@{n}"), ("pass", f"Pass@{n}"), ("distinct", "Different right responses")):
        base = found[STUDENT][key]["value"]
        lower = [name for name, a in found["algorithms"].items() if a[key]["value"] < base]
        most = max(a[key]["value"] for a in found["algorithms"].values())
        best = [name for name, a in found["algorithms"].items() if a[key]["value"] > most - 1e-9]
        lines.append(
            f"- {title}: the highest mean is that of {', '.join(best)}; below the untrained student's: {', '.join(lower) or 'none'}."
        )
    fewest = min(found["algorithms"], key=lambda name: found["algorithms"][name]["seconds"])
    lines.append(f"- Seconds of steps: the fewest took {fewest}.")
    lines += [f"- Failed: {name} ({why})." for name, why in found["failed"].items()]
    return lines


def hint_table(found: dict[str, Any]) -> list[str]:
    rows = []
    for name, a in found["algorithms"].items():
        first = a["first"]
        what = "delta" if "delta_right" in first else "gap" if "gap_right" in first else None
        added = (
            [f"{first[f'{what}_{verdict}']:+.3f}" for verdict in ("right", "wrong")]
            if what and f"{what}_wrong" in first
            else ["-", "-"]
        )
        rows.append([name, f"{100 * first['reward']:.1f}", *added])
    header = ["algorithm", "right in the first step", "what the hint adds on right rollouts", "on wrong ones"]
    return [
        *table(header, rows), "",
        "Methods that show the student something beside the problem presuppose that it can read that. In the first step the student is the same for all, so the first column differs where prompts "
        "themselves carry a hint (smepo). The others: nats a token by which the hint raises a rollout's log-prob (under cepo, the right answer against the wrong one), mean over tokens and seeds. "
        "Where the two are alike, the hint tells right from wrong to nobody.",
    ]  # fmt: skip


def claim_table(found: dict[str, Any], n: int) -> list[str]:
    pairs = {(d["of"], d["to"]): d for d in found["claimed"]}
    rows = []
    for paper, (claim, asked) in CLAIMS.items():
        for number, (a, b) in enumerate(asked):
            d, here = pairs.get((a, b)), ["not run", "-", "-"]
            if d:
                both = [
                    f"{percent(d[key], '+')} ({100 * d[key]['relative']:+.2f}% relative)" for key in ("avg", "pass")
                ]
                here = [*both, f"{d['times_less_seconds']:.2f}" if "times_less_seconds" in d else "-"]
            rows.append(
                [
                    "" if number else paper,
                    "" if number else claim,
                    f"{a} - {'untrained student' if b == STUDENT else b}",
                    *here,
                ]
            )
    header = ["paper", "claim", "pair", f"Avg@{n} here", f"Pass@{n} here", "times less seconds of steps here"]
    student = found["scale"]["params"]["student"]
    size = f"a model of {student / 1e6:.1f}M params" if student else "the model named above"
    data = "arithmetic" if embedded(found) else "the data named above"
    return [
        *table(header, rows), "",
        f"Here it is {size} on {data}: the right half of the table neither confirms nor refutes the left. Times less seconds: those of the second of the pair divided by those of the first.",
    ]  # fmt: skip


def run_table(found: dict[str, Any], n: int) -> list[str]:
    rows = []
    for name, a in found["algorithms"].items():
        for i, seed in enumerate(a["seeds"]):
            took = a["took"]
            rows.append([name, seed, *(f"{100 * a[key]['by_seed'][i]:.2f}" for key in ("avg", "pass")), f"{a['distinct']['by_seed'][i]:.2f}",
                         f"{took['seconds'][i]:.0f}", f"{took['startup'][i]:.0f}", f"{took['teacher_tokens'][i]:,}", f"{took['context_tokens'][i]:,}"])  # fmt: skip
    for name, why in found["failed"].items():
        algorithm, _, seed = name.rpartition("-")
        rows.append([algorithm, seed, f"failed: {why}", *["-"] * 6])
    header = [
        "algorithm",
        "seed",
        f"Avg@{n}",
        f"Pass@{n}",
        "different right responses",
        "seconds of steps",
        "start-up",
        "teacher tokens",
        "context tokens",
    ]
    return table(header, rows)


def caveats(found: dict[str, Any], n: int) -> list[str]:
    s = found["scale"]
    of_its_own = [
        "- The embedded student was taught bad habits, and to calculate cleanly after some hints (`examples/tiny/make.py`). So it holds the right way already, and a method that follows the "
        "reward needs only to bring it out, while one that distils is bound by what it distils from. A student that lacks the skill may rank the methods otherwise."
    ]  # fmt: skip
    return [
        *(of_its_own if embedded(found) else []),
        f"- The intervals say what other problems would change, for these models. What other seeds would change is in them nowhere: it stands beside them as the standard deviation of {len(s['seeds'])} "
        "seeds, which is itself a rough guess. A difference that changes its sign by seed is no finding, whatever its p.",
        "- A seed sets which prompts come in which order and what is sampled. Student, teacher and held-out problems are the same in all, so other models or data may rank the methods otherwise.",
        f"- Methods that need longer are cut off by {s['steps']} steps, and none was given the knobs that suit it here. The ranking is one of defaults at this scale.",
        f"- Pass@{n} is unbiased, 1 where one of the {n} samples is right, and so near its ceiling where many problems are solved at least once.",
        "- A run that failed is in no mean; its algorithm's row is that of the other seeds.",
    ]  # fmt: skip


def draw(found: dict[str, Any], path: Path) -> None:
    """Avg and Pass of each algorithm: mean with interval, single seeds as dots, the untrained student as a dashed line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = [(name, a) for name, a in reversed(ranked(found)) if name != STUDENT]  # the highest on top
    n = found["scale"]["samples"]
    figure, panels = plt.subplots(1, 2, figsize=(11, 1.6 + 0.42 * len(rows)), sharey=True, constrained_layout=True)
    for panel, key, title in zip(panels, ("avg", "pass"), (f"Avg@{n}", f"Pass@{n}"), strict=True):
        panel.axvline(100 * found[STUDENT][key]["value"], color="0.5", ls="--", lw=1, label="untrained student")
        for y, (_, a) in enumerate(rows):
            mean, (low, high) = a[key]["value"], a[key]["ci"]
            panel.hlines(
                y,
                100 * low,
                100 * high,
                color="C0",
                lw=2,
                label="mean over seeds, 95% over problems" if y == 0 else None,
            )
            panel.plot(100 * mean, y, "o", color="C0", ms=7)
            seeds = [100 * v for v in a[key]["by_seed"]]
            panel.plot(seeds, [y - 0.22] * len(seeds), ".", color="C1", ms=7, label="single seeds" if y == 0 else None)
        panel.set(title=title, xlabel="percent", ylim=(-0.6, len(rows) - 0.4))
        panel.grid(axis="x", color="0.9")
        panel.set_axisbelow(True)
    panels[0].set_yticks(range(len(rows)), [name for name, _ in rows])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
