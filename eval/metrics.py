"""Avg@n and Pass@k as pure functions, with standard errors that cluster by problem.

`correct` is (problems, n) bool: samples of one problem share its difficulty, so the problem is the unit that varies.
"""

import math
from collections.abc import Sequence

Correct = Sequence[Sequence[bool]]


def avg_at_n(correct: Correct) -> float:
    """Mean over problems of the share of right samples. Ragged rows are allowed; an empty row or no row is a ValueError."""
    return _mean(_per_problem_avg(correct))


def pass_at_k(correct: Correct, k: int) -> float:
    """Mean over problems of 1 - C(n - c, k) / C(n, k), c of n right: unbiased (https://arxiv.org/abs/2107.03374).

    Raises ValueError if a problem has fewer than k samples.
    """
    return _mean(_per_problem_pass(correct, k))


def score(correct: Correct) -> dict[str, float]:
    """{"avg", "pass", "stderr_avg", "stderr_pass"} of Avg@n and Pass@n, n the number of samples of the shortest row."""
    avg, passed = _per_problem_avg(correct), _per_problem_pass(correct, min(map(len, correct)))
    return {"avg": _mean(avg), "pass": _mean(passed), "stderr_avg": _stderr(avg), "stderr_pass": _stderr(passed)}


def paired_difference(before: Correct, after: Correct) -> dict[str, float]:
    """After minus before over the same problems in the same order: {"avg", "stderr", "pass", "stderr_pass"}."""
    if len(before) != len(after):
        raise ValueError(f"a paired difference needs the same problems, got {len(before)} and {len(after)}")
    k = min(map(len, [*before, *after]))
    avg = [a - b for a, b in zip(_per_problem_avg(after), _per_problem_avg(before), strict=True)]
    passed = [a - b for a, b in zip(_per_problem_pass(after, k), _per_problem_pass(before, k), strict=True)]
    return {"avg": _mean(avg), "stderr": _stderr(avg), "pass": _mean(passed), "stderr_pass": _stderr(passed)}


def _per_problem_avg(correct: Correct) -> list[float]:
    if not len(correct) or not all(len(row) for row in correct):
        raise ValueError("correct needs at least one problem, and every problem at least one sample")
    return [sum(map(bool, row)) / len(row) for row in correct]


def _per_problem_pass(correct: Correct, k: int) -> list[float]:
    short = [i for i, row in enumerate(correct) if len(row) < k]
    if short or k < 1 or not len(correct):
        raise ValueError(f"Pass@{k} needs at least {k} >= 1 samples of every problem; problems {short[:5]} have fewer")
    return [1 - math.comb(len(row) - sum(map(bool, row)), k) / math.comb(len(row), k) for row in correct]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _stderr(values: Sequence[float]) -> float:
    """Standard error of the mean over problems; NaN for a single problem, which tells nothing of the others."""
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
