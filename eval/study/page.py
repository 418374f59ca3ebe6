"""A study's numbers -> compare.md, compare.png, compare.json.

Every sentence that depends on the numbers is computed from them.
"""

import json
from pathlib import Path
from typing import Any

from scope_eval.results import strict
from scope_eval.study import figure
from scope_eval.study.settings import STUDENT
from scope_eval.study.tables import claim_table, difference_table, embedded, hint_table, main_table, run_table


def write(found: dict[str, Any], out: Path) -> None:
    """Write the page, its figure and its numbers into the folder out."""
    out.mkdir(parents=True, exist_ok=True)
    figure.draw(found, out / "compare.png")
    (out / "compare.json").write_text(json.dumps(strict(found), indent=1) + "\n", encoding="utf-8")
    (out / "compare.md").write_text(markdown(found), encoding="utf-8")


def markdown(found: dict[str, Any]) -> str:
    """The page. found: what stands in compare.json, NaN for what does not exist."""
    n = found["scale"]["samples"]
    intro = (
        "`make compare` runs it, with `SEEDS=`, `STEPS=`, `ALGORITHMS=` and `ARGS=` for what differs. The same command "
        "continues a study that was stopped; `--report-only` writes this page anew. Every number of this page is "
        "computed by it and stands in [compare.json](compare.json)."
    )
    blocks = [
        ["# The algorithms, side by side"],
        [f"```\n{found['command']}\n```"],
        [intro],
        scale_lines(found),
        [f"## Avg@{n}, Pass@{n}, diversity, time and teacher"],
        ["![Avg and Pass of each algorithm](compare.png)"],
        main_table(found, n),
        [f"## Paired differences in Avg@{n} and Pass@{n}"],
        difference_table(found, n),
        ["## What is seen here"],
        seen(found, n),
        ["## Does the student read what it is shown?"],
        hint_table(found),
        ["## What the papers claim, and the same pairs here"],
        claim_table(found, n),
        ["## Each run"],
        run_table(found, n),
        ["## How to read it"],
        caveats(found, n),
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def scale_lines(found: dict[str, Any]) -> list[str]:
    """What was run, on what data, and what all runs had in common."""
    s = found["scale"]
    params = " and ".join(f"a {who} of {f'{p:,} params' if p else 'unknown size'}" for who, p in s["params"].items())
    sampling = ", ".join(f"{k} {v:g}" for k, v in s["sampling"].items())
    settings = "; ".join(
        f"{name} {', '.join(f'{k}={v}' for k, v in of.items())}" for name, of in found["knobs"].items()
    )
    task = ": sums of signed digits modulo 100, step by step (the embedded task)" if embedded(found) else ""
    return [
        f"- **Scale**: {s['steps']} steps of {s['prompts']} prompts x {s['rollouts'] // s['prompts']} rollouts, "
        f"{params}, on {s['device']}.",
        f"- **Data**: trained on `{s['train']}`{task}, scored on {s['problems']} held-out problems of "
        f"`{s['heldout']}` (the first of every stratum, in equal shares), {s['samples']} samples each: {sampling}, the "
        "same seeds for every model.",
        f"- **Alike**: seeds {', '.join(map(str, s['seeds']))}. That all runs of a seed had the same problems in the "
        "same order, and all runs the same number of rollouts in every step, was checked in what the runs wrote; "
        "otherwise there would be no page.",
        "- **Knobs**: not tuned for any method; all are at their defaults"
        f"{f' but for what the config sets: {settings}' if settings else ''}.",
    ]


def verdict(d: dict) -> str:
    """above or below: p (Holm) under 0.05 and the same sign in every seed; else not told apart."""
    signs = {v > 0 for v in d["avg"]["by_seed"]} if all(d["avg"]["by_seed"]) else set()
    if d["p_holm"] >= 0.05 or len(signs) != 1:
        return "not told apart"
    return "above" if d["avg"]["value"] > 0 else "below"


def seen(found: dict[str, Any], n: int) -> list[str]:
    """What the numbers say, as far as they tell algorithms apart."""
    lines = [
        f"Above and below: p (Holm) under 0.05 and the same sign in every seed, in Avg@{n}; everything else is not "
        "told apart.",
        "",
    ]
    for base in dict.fromkeys(d["to"] for d in found["differences"]):
        sides: dict[str, list[str]] = {"above": [], "below": [], "not told apart": []}
        for d in found["differences"]:
            if d["to"] == base:
                sides[verdict(d)].append(d["of"])
        said = "; ".join(f"{side}: {', '.join(names) or 'none'}" for side, names in sides.items())
        lines.append(f"- Against {base}: {said}.")
    for key, title in (("avg", f"Avg@{n}"), ("pass", f"Pass@{n}"), ("distinct", "Different right responses")):
        base = found[STUDENT][key]["value"]
        lower = [name for name, a in found["algorithms"].items() if a[key]["value"] < base]
        most = max(a[key]["value"] for a in found["algorithms"].values())
        best = [name for name, a in found["algorithms"].items() if a[key]["value"] > most - 1e-9]
        lines.append(
            f"- {title}: the highest mean is that of {', '.join(best)}; below the untrained student's: "
            f"{', '.join(lower) or 'none'}."
        )
    fewest = min(found["algorithms"], key=lambda name: found["algorithms"][name]["seconds"])
    lines.append(f"- Seconds of steps: the fewest took {fewest}.")
    lines += [f"- Failed: {name} ({why})." for name, why in found["failed"].items()]
    return lines


def caveats(found: dict[str, Any], n: int) -> list[str]:
    """What the numbers do not say."""
    s = found["scale"]
    of_its_own = (
        "- The embedded student was taught bad habits, and to calculate cleanly after some hints "
        "(`examples/tiny/make.py`). So it holds the right way already, and a method that follows the reward needs only "
        "to bring it out, while one that distils is bound by what it distils from. A student that lacks the skill may "
        "rank the methods otherwise."
    )
    return [
        *([of_its_own] if embedded(found) else []),
        "- The intervals say what other problems would change, for these models. What other seeds would change is in "
        f"them nowhere: it stands beside them as the standard deviation of {len(s['seeds'])} seeds, which is itself a "
        "rough guess. A difference that changes its sign by seed is no finding, whatever its p.",
        "- A seed sets which prompts come in which order and what is sampled. Student, teacher and held-out problems "
        "are the same in all, so other models or data may rank the methods otherwise.",
        f"- Methods that need longer are cut off by {s['steps']} steps, and none was given the knobs that suit it "
        "here. The ranking is one of defaults at this scale.",
        f"- Pass@{n} is unbiased, 1 where one of the {n} samples is right, and so near its ceiling where many problems "
        "are solved at least once.",
        "- A run that failed is in no mean; its algorithm's row is that of the other seeds.",
    ]
