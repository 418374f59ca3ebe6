"""The store of one model -> the numbers of its results.json."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from scope_eval import metrics
from scope_eval.grade import counts_as_right
from scope_eval.store import Store, StoreError
from scope_openrlhf.equations.repetition import ends_in_a_loop

LONG = 256
"""Tokens from which on two equal samples of one problem are suspicious; short answers repeat by themselves."""


class Graded:
    """A benchmark's samples with their grades, without texts.

    `rows` are in the order of `problems`, and both are cut to what was asked for.
    """

    def __init__(self, store: Store, benchmark: dict) -> None:
        """Read what the store holds of a benchmark, a finished one of store.benchmarks().

        Raises StoreError if samples or grades are missing all the same.
        """
        self.about = benchmark
        self.problems = store.problems(benchmark["id"], benchmark["problems"])
        found = store.graded(benchmark["id"], benchmark["samples"])
        self.rows: list[list[dict]] = [found.get(p["id"], []) for p in self.problems]
        have, wanted = sum(map(len, self.rows)), len(self.problems) * benchmark["samples"]
        if have < wanted:
            raise StoreError(
                f"{store.file} holds {have} of {wanted} samples of {benchmark['name']}; run the same scope-eval run "
                "again, it continues"
            )
        if any(s["verdict"] is None for row in self.rows for s in row):
            raise StoreError(
                f"{benchmark['name']} in {store.file} is not graded; run scope-eval regrade {store.file.parent}"
            )

    @property
    def correct(self) -> list[list[bool]]:
        """(problems, n): whether a sample is right; a truncated one counts as wrong."""
        return [[counts_as_right(s["verdict"], s["finish_reason"]) for s in row] for row in self.rows]

    @property
    def answers(self) -> list[list[int | None]]:
        """(problems, n): classes of equivalent answers, None for no answer; what was truncated said nothing."""
        return [[None if s["finish_reason"] == "length" else s["class"] for s in row] for row in self.rows]


def describe(store: Store, graded: Graded) -> dict[str, Any]:
    """The numbers of one benchmark: shares from 0 to 1, intervals of 95% that cluster by problem."""
    samples = [s for row in graded.rows for s in row]
    return {
        **shares_of_right(graded),
        "truncated": share(s["finish_reason"] == "length" for s in samples),
        "no_box": share(s["answer"] is None for s in samples),
        "failed": share(s["verdict"] == "failed" for s in samples),
        "avg_truncated_as_graded": metrics.avg_at_n([[s["verdict"] == "right" for s in row] for row in graded.rows]),
        "avg_complete_only": share(s["verdict"] == "right" for s in samples if s["finish_reason"] != "length"),
        "length": {"right": lengths(graded, True), "wrong": lengths(graded, False)},
        "variance": metrics.variance_parts(graded.correct),
        **distinct(store, graded),
        "sampled_by": sorted({s["engine"].rpartition(" #")[0] or s["engine"] for s in samples}),
        "graded_with": graded.about["graded_with"],
        "data": {"hash": graded.about["data"], **graded.about["about"].get("data", {})},
        "settings": graded.about["settings"],
        "notes": graded.about["about"].get("notes", []),
        **other_count(graded),
    }


def shares_of_right(graded: Graded) -> dict[str, Any]:
    """Avg@n, Pass@k, maj@k and best@n with replacement of one benchmark, with their intervals."""
    correct, answers, n = graded.correct, graded.answers, graded.about["samples"]
    found, ks = metrics.accuracy(correct), range(1, n + 1)
    blocks = sorted({2**i for i in range(n.bit_length()) if 2**i <= n} | {n})
    return {
        "problems": len(correct),
        "samples": n,
        "avg": found["avg"],
        "stderr_avg": found["stderr_avg"],
        "avg_ci": metrics.avg_interval(correct),
        "pass": metrics.pass_curve(correct),
        "pass_ci": {k: metrics.pass_interval(correct, k) for k in ks},
        "stderr_pass": found["stderr_pass"],
        "maj": metrics.maj_at_k(answers, correct, n),
        "maj_ci": metrics.maj_interval(answers, correct, n),
        "maj_curve": {k: metrics.maj_at_k(answers, correct, k) for k in blocks},
        "best_with_replacement": metrics.best_at_k_with_replacement(correct, n),
        "best_with_replacement_ci": metrics.best_interval(correct, n),
    }


def other_count(graded: Graded) -> dict[str, Any]:
    """{"without": ...}: the numbers without the problems that another count of the benchmark leaves out, if it does."""
    without, correct = graded.about["about"].get("without"), graded.correct
    if not without:
        return {}
    rest = [row for row, p in zip(correct, graded.problems, strict=True) if p["id"] not in without["ids"]]
    if not rest or len(rest) == len(correct):
        return {}
    about = {"label": without["label"], "ids": without["ids"], "problems": len(rest)}
    return {"without": about | metrics.accuracy(rest)}


def distinct(store: Store, graded: Graded) -> dict[str, float | None]:
    """{"distinct", "repeated_long", "repeating"} of a benchmark's texts.

    distinct: share of a problem's samples that no earlier one of it equals, the mean over problems.
    repeated_long: share of the samples of LONG tokens or more that equal another one of their problem. Engines that
    share a seed do that.
    repeating: share of the samples that end in a loop; equations/repetition.py says what that is.
    """
    fresh, long, repeated, loops = [], 0, 0, []
    for problem, row in zip(graded.problems, graded.rows, strict=True):
        texts = store.texts(graded.about["id"], problem["id"], len(row))
        times = Counter(texts)
        fresh.append(len(times) / len(texts))
        for text, sample in zip(texts, row, strict=True):
            loops.append(ends_in_a_loop(text))
            if sample["tokens"] >= LONG:
                long += 1
                repeated += times[text] > 1
    return {
        "distinct": sum(fresh) / len(fresh),
        "repeated_long": repeated / long if long else 0.0,
        "repeating": share(loops),
    }


def warnings(name: str, description: dict) -> list[str]:
    """What a reader of a benchmark's numbers should know first."""
    found = []
    if description["settings"]["temperature"] == 0 and description["samples"] > 1:
        found.append(
            f"{name}: at temperature 0 all samples of a problem are the same; Avg@n and Pass@n say no more than one "
            "sample"
        )
    elif description["repeated_long"] > 0.01:
        found.append(
            f"{name}: {description['repeated_long']:.1%} of the samples of {LONG} tokens or more equal another sample "
            "of their problem; Pass@k is too low if engines shared a seed"
        )
    if len(description["sampled_by"]) > 1:
        found.append(f"{name}: sampled by several engines' versions: {', '.join(description['sampled_by'])}")
    if description["failed"] > 0.01:
        found.append(
            f"{name}: the grader could not decide {description['failed']:.1%} of the samples; they count as wrong"
        )
    if description["truncated"] > 0.05:
        found.append(
            f"{name}: {description['truncated']:.1%} of the samples were truncated and count as wrong; as they stand "
            f"Avg would be {100 * description['avg_truncated_as_graded']:.2f}"
        )
    return found


def share(flags: Iterable[bool]) -> float | None:
    """Share of the flags that are true; None where there are none."""
    flags = list(flags)
    return sum(flags) / len(flags) if flags else None


def lengths(graded: Graded, right: bool) -> dict[str, float] | None:
    """{"samples", "mean", "median", "p90"} in tokens, of right samples or of wrong ones; None where there are none."""
    tokens = sorted(
        sample["tokens"]
        for row, correct in zip(graded.rows, graded.correct, strict=True)
        for sample, is_right in zip(row, correct, strict=True)
        if is_right == right
    )
    if not tokens:
        return None
    return {
        "samples": len(tokens),
        "mean": sum(tokens) / len(tokens),
        "median": tokens[len(tokens) // 2],
        "p90": tokens[int(0.9 * (len(tokens) - 1))],
    }


def strict(value: Any) -> Any:
    """The value for strict JSON: NaN, which says that a number does not exist, becomes null."""
    if isinstance(value, dict):
        return {k: strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [strict(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
