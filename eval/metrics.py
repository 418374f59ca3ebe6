"""Avg@n, Pass@k, maj@n and paired comparisons as pure functions, with errors and intervals that cluster by problem.

`correct` is (problems, n) bool: samples of one problem share its difficulty, so the problem is the unit that varies.
"""

import math
import random
from collections import Counter
from collections.abc import Hashable, Sequence

Correct = Sequence[Sequence[bool]]
Interval = tuple[float, float]


def avg_at_n(correct: Correct) -> float:
    """Mean over problems of the share of right samples. Ragged rows are allowed; an empty row or no row is a ValueError."""
    return _mean(_per_problem_avg(correct))


def pass_at_k(correct: Correct, k: int) -> float:
    """Mean over problems of 1 - C(n - c, k) / C(n, k), c of n right: unbiased (https://arxiv.org/abs/2107.03374).

    Raises ValueError if a problem has fewer than k samples.
    """
    return _mean(_per_problem_pass(correct, k))


def pass_curve(correct: Correct) -> dict[int, float]:
    """{k: Pass@k} for every k up to the number of samples of the shortest row."""
    return {k: pass_at_k(correct, k) for k in range(1, min(map(len, correct)) + 1)}


def best_with_replacement(correct: Correct, k: int) -> float:
    """Mean over problems of 1 - (1 - c / n)^k: the expectation of the bootstrap that the published SCOPE tables and verl call Pass@k.

    Biased low: a problem solved once in 32 counts as 0.638 at k = 32, where the unbiased Pass@32 says 1.
    """
    return _mean([1 - (1 - p) ** k for p in _per_problem_avg(correct)])


def maj_at_n(answers: Sequence[Sequence[Hashable | None]], correct: Correct) -> float:
    """Mean over problems of whether the most frequent answer is right, ties averaged.

    answers: for each sample the class of its answer, equal for equivalent ones; None (no answer) wins only where nothing else was said.
    """
    votes = []
    for said, right in zip(answers, correct, strict=True):
        verdict = dict(zip(said, right, strict=True))
        counts = Counter(a for a in said if a is not None) or Counter(said)
        top = [a for a, n in counts.items() if n == max(counts.values())]
        votes.append(_mean([float(verdict[a]) for a in top]))
    return _mean(votes)


def avg_interval(correct: Correct, level: float = 0.95) -> Interval:
    """Of Avg@n, over problems."""
    return _interval(_per_problem_avg(correct), level)


def pass_interval(correct: Correct, k: int, level: float = 0.95) -> Interval:
    return _interval(_per_problem_pass(correct, k), level)


def permutation_p(before: Correct, after: Correct, draws: int = 10_000, seed: int = 1) -> float:
    """Two-sided p-value of the paired difference of Avg@n: how often problems whose two models are swapped at random differ as much.

    Exact for up to 13 problems, else by `draws` random swaps, themselves counted in, so that it is never 0.
    """
    d = [a - b for a, b in zip(_per_problem_avg(after), _per_problem_avg(before), strict=True)]
    d = [x for x in d if x]
    observed = abs(sum(d)) - 1e-12
    if len(d) <= 13:
        swaps = [abs(sum(x if mask >> i & 1 else -x for i, x in enumerate(d))) for mask in range(2 ** len(d))]
        return sum(s >= observed for s in swaps) / len(swaps)
    rng = random.Random(seed)
    hits = sum(abs(sum(x if rng.getrandbits(1) else -x for x in d)) >= observed for _ in range(draws))
    return (hits + 1) / (draws + 1)


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Holm's adjustment: each p-value as it counts among all of them."""
    adjusted, running = {}, 0.0
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        running = max(running, min(1.0, p * (len(p_values) - i)))
        adjusted[name] = running
    return {name: adjusted[name] for name in p_values}


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


def _interval(values: Sequence[float], level: float) -> Interval:
    """Wilson's interval around the mean over problems, which knows that shares end at 0 and 1; NaN for a single problem.

    Its number of trials is the one that would have the standard error found over problems, at least one for each; its quantile that of
    t. A plain t interval covers too little where most problems are never, or always, solved.
    """
    from scipy.stats import t

    if len(values) < 2:
        return math.nan, math.nan
    mean, stderr = _mean(values), _stderr(values)
    trials = max(mean * (1 - mean) / stderr**2, len(values)) if stderr else len(values)
    z = float(t.ppf(0.5 + level / 2, len(values) - 1))
    centre = (mean + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(mean * (1 - mean) / trials + (z / trials) ** 2 / 4) / (1 + z * z / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def _stderr(values: Sequence[float]) -> float:
    """Standard error of the mean over problems; NaN for a single problem, which tells nothing of the others."""
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
