"""The tables of a study's page, as lines of Markdown.

found: what stands in compare.json; n: samples of each problem.
"""

from typing import Any

from scope_eval.compare import markdown_row
from scope_eval.study.settings import STUDENT

CLAIMS = {
    "CEPO": (
        "43.43 and 60.56 average against GRPO's 41.17 and 57.43 (multimodal models of 2B and 4B); OPSD and SDPO end "
        "below the untrained base there",
        [("cepo", "grpo"), ("opsd", STUDENT), ("sdpo", STUDENT)],
    ),
    "SMEPO": ("up to 3.2 points above GRPO in 4.2 times less time", [("smepo", "grpo")]),
    "SCOPE (arXiv 2604.10688)": (
        "relative to its baselines +11.42% Avg@32 and +7.30% Pass@32",
        [("scope", "opd"), ("scope", "grpo")],
    ),
}
"""What the papers say in their summaries, and the pairs here that are the same ones."""


def claimed_pairs() -> list[tuple[str, str]]:
    """The pairs of CLAIMS."""
    return [pair for _, pairs in CLAIMS.values() for pair in pairs]


def ranked(found: dict[str, Any]) -> list[tuple[str, dict]]:
    """Algorithms and the untrained student, the highest Avg first."""
    return sorted([*found["algorithms"].items(), (STUDENT, found[STUDENT])], key=lambda item: -item[1]["avg"]["value"])


def embedded(found: dict[str, Any]) -> bool:
    """Whether the study was of the embedded default."""
    return found["scale"]["train"].startswith("examples/tiny/")


def percent(spread: dict, sign: str = "") -> str:
    """A mean in percent, with its interval where there is one; sign: "+" for a difference."""
    low, high = spread["ci"]
    known = f" [{100 * low:{sign}.2f}, {100 * high:{sign}.2f}]" if low == low else ""
    return f"{100 * spread['value']:{sign}.2f}{known}"


def points(value: float) -> str:
    """A standard deviation in points, which a single seed does not have."""
    return "-" if value != value else f"{100 * value:.2f}"


def table(header: list[str], rows: list[list]) -> list[str]:
    """A Markdown table."""
    return [markdown_row(header), "|" + "---|" * len(header), *map(markdown_row, rows)]


def main_table(found: dict[str, Any], n: int) -> list[str]:
    """One row an algorithm, the highest Avg first."""
    asked = len(found["scale"]["seeds"])
    rows: list[list[str]] = []
    for name, a in ranked(found):
        trained = "took" in a
        work = [f"{a['seconds']:.0f}", f"{a['startup']:.0f}"] if trained else ["-"] * 2
        work += [f"{a['teacher_tokens']:,.0f}", f"{a['context_tokens']:,.0f}"] if trained else ["-"] * 2
        who = [name, f"{len(a['seeds'])} of {asked}"] if trained else ["untrained student", "-"]
        shares = [text for key in ("avg", "pass") for text in (percent(a[key]), points(a[key]["sd"]))]
        rows.append([*who, *shares, f"{a['distinct']['value']:.2f}", *work])
    failed = {name.rpartition("-")[0] for name in found["failed"]} - found["algorithms"].keys()
    rows += [[name, f"0 of {asked}", "failed", *["-"] * 8] for name in sorted(failed)]
    header = ["algorithm", "seeds", f"Avg@{n}", "sd of seeds", f"Pass@{n}", "sd of seeds", "different right responses"]
    header += ["seconds of steps", "start-up", "teacher tokens", "context tokens"]
    legend = (
        "In percent, with 95% intervals over problems of each problem's mean over seeds (Wilson's, as in all scores of "
        "this harness). Sd of seeds: the standard deviation of the seeds' own values. Different right responses: how "
        "many texts (blanks around them removed) are among the right ones of a problem's "
        f"{n} samples, the mean over problems and seeds. Seconds of steps: generation, log-probs, update and sync of "
        "all steps together, and start-up, the engines' before the first, each the median over seeds, as they went by "
        "on the clock: where something else runs on the machine they hold that too. Teacher tokens: of the sequences "
        "that a teacher scored, prompts included; context tokens: of the sequences that were scored under another "
        "context, by student or teacher (what a teacher scored so is in both); medians over seeds."
    )
    return [*table(header, rows), "", legend]


def difference_table(found: dict[str, Any], n: int) -> list[str]:
    """One row a pair of an algorithm and a baseline."""
    rows = []
    for d in sorted(found["differences"], key=lambda d: (d["to"], -d["avg"]["value"])):
        avg, passed = (" ".join(f"{100 * v:+.2f}" for v in d[key]["by_seed"]) for key in ("avg", "pass"))
        of_avg = [percent(d["avg"], "+"), f"{d['p']:.4f}", f"{d['p_holm']:.4f}", avg, points(d["avg"]["sd"])]
        of_pass = [percent(d["pass"], "+"), passed, points(d["pass"]["sd"])]
        rows.append([f"{d['of']} - {d['to']}", *of_avg, *of_pass])
    if not rows:
        return ["Neither GRPO nor OPD stands beside another finished algorithm, so there is none."]
    header = ["pair", f"Avg@{n}", "p", "p (Holm)", "by seed", "sd of seeds", f"Pass@{n}", "by seed", "sd of seeds"]
    legend = (
        "In points, paired by seed and problem over the seeds that both have, with 95% intervals of Student's t over "
        f"problems. p: of Avg@{n}, by swapping the two models of a problem at random, so that 0.0001 is the smallest; "
        f"Holm: adjusted for all {len(rows)} comparisons of the table. By seed: in the order of the seeds above."
    )
    return [*table(header, rows), "", legend]


def hint_table(found: dict[str, Any]) -> list[str]:
    """One row an algorithm: its first step, in which all have the same student."""
    rows = []
    for name, a in found["algorithms"].items():
        first = a["first"]
        what = "delta" if "delta_right" in first else "gap"
        known = f"{what}_right" in first and f"{what}_wrong" in first
        added = [f"{first[f'{what}_{verdict}']:+.3f}" if known else "-" for verdict in ("right", "wrong")]
        rows.append([name, f"{100 * first['reward']:.1f}", *added])
    header = ["algorithm", "right in the first step", "what the hint adds on right rollouts", "on wrong ones"]
    legend = (
        "Methods that show the student something beside the problem presuppose that it can read that. In the first "
        "step the student is the same for all, so the first column differs where prompts themselves carry a hint "
        "(smepo). The others: nats a token by which the hint raises a rollout's log-prob (under cepo, the right answer "
        "against the wrong one), mean over tokens and seeds. Where the two are alike, the hint tells right from wrong "
        "to nobody."
    )
    return [*table(header, rows), "", legend]


def claim_table(found: dict[str, Any], n: int) -> list[str]:
    """One row a claimed pair, with what was found for it here."""
    pairs = {(d["of"], d["to"]): d for d in found["claimed"]}
    rows = []
    for paper, (claim, asked) in CLAIMS.items():
        for number, (a, b) in enumerate(asked):
            here = found_here(pairs[a, b]) if (a, b) in pairs else ["not run", "-", "-"]
            pair = f"{a} - {'untrained student' if b == STUDENT else b}"
            rows.append(["" if number else paper, "" if number else claim, pair, *here])
    header = ["paper", "claim", "pair", f"Avg@{n} here", f"Pass@{n} here", "times less seconds of steps here"]
    student = found["scale"]["params"]["student"]
    size = f"a model of {student / 1e6:.1f}M params" if student else "the model named above"
    data = "arithmetic" if embedded(found) else "the data named above"
    legend = (
        f"Here it is {size} on {data}: the right half of the table neither confirms nor refutes the left. Times less "
        "seconds: those of the second of the pair divided by those of the first."
    )
    return [*table(header, rows), "", legend]


def found_here(d: dict[str, Any]) -> list[str]:
    """What a claim is held against: differences in Avg and Pass, and how many times less seconds."""
    both = [f"{percent(d[key], '+')} ({100 * d[key]['relative']:+.2f}% relative)" for key in ("avg", "pass")]
    return [*both, f"{d['times_less_seconds']:.2f}" if "times_less_seconds" in d else "-"]


def run_table(found: dict[str, Any], n: int) -> list[str]:
    """One row a run."""
    rows: list[list] = []
    for name, a in found["algorithms"].items():
        for i, seed in enumerate(a["seeds"]):
            shares = [f"{100 * a[key]['by_seed'][i]:.2f}" for key in ("avg", "pass")]
            times = [f"{a['took'][key][i]:.0f}" for key in ("seconds", "startup")]
            tokens = [f"{a['took'][key][i]:,}" for key in ("teacher_tokens", "context_tokens")]
            rows.append([name, seed, *shares, f"{a['distinct']['by_seed'][i]:.2f}", *times, *tokens])
    for name, why in found["failed"].items():
        algorithm, _, seed = name.rpartition("-")
        rows.append([algorithm, seed, f"failed: {why}", *["-"] * 6])
    header = ["algorithm", "seed", f"Avg@{n}", f"Pass@{n}", "different right responses", "seconds of steps"]
    return table([*header, "start-up", "teacher tokens", "context tokens"], rows)
