"""Avg@n, Pass@k, maj@k and paired comparisons as pure functions, with errors and intervals that cluster by problem.

`correct` is (problems, n) bool: samples of one problem share its difficulty, so the problem is the unit that varies.
Intervals are of 95% unless another level is given.
"""

import math
import random
from collections import Counter
from collections.abc import Hashable, Sequence

Correct = Sequence[Sequence[bool]]
Answers = Sequence[Sequence[Hashable | None]]
Interval = tuple[float, float]


def avg_at_n(correct: Correct) -> float:
    """Mean over problems of the share of right samples.

    Ragged rows are allowed. Raises ValueError for an empty row or no row.
    """
    return _mean(per_problem_avg(correct))


def pass_at_k(correct: Correct, k: int) -> float:
    """Mean over problems of 1 - C(n - c, k) / C(n, k), c of n right: unbiased (https://arxiv.org/abs/2107.03374).

    Raises ValueError if a problem has fewer than k samples.
    """
    return _mean(per_problem_pass(correct, k))


def pass_curve(correct: Correct) -> dict[int, float]:
    """{k: Pass@k} for every k up to the number of samples of the shortest row."""
    return {k: pass_at_k(correct, k) for k in range(1, min(map(len, correct)) + 1)}


def best_at_k_with_replacement(correct: Correct, k: int) -> float:
    """Mean over problems of 1 - (1 - c / n)^k, c of n right.

    It is the expectation of the bootstrap that the published SCOPE tables and verl call Pass@k. Biased low: a problem
    solved once in 32 counts as 0.638 at k = 32, where the unbiased Pass@32 says 1.
    """
    return _mean(_per_problem_best(correct, k))


def maj_at_k(answers: Answers, correct: Correct, k: int) -> float:
    """Mean of whether the most frequent answer of k samples is right.

    Over problems, and over each problem's n // k disjoint blocks of k samples.
    answers: for each sample the class of its answer, equal for equivalent ones; None (no answer) wins only where
    nothing else was said. Ties are averaged. Raises ValueError if a problem has fewer than k samples.
    """
    return _mean(per_problem_maj(answers, correct, k))


def avg_interval(correct: Correct, level: float = 0.95) -> Interval:
    """Wilson's interval of Avg@n over problems."""
    return wilson_interval(per_problem_avg(correct), level)


def pass_interval(correct: Correct, k: int, level: float = 0.95) -> Interval:
    """Wilson's interval of Pass@k over problems."""
    return wilson_interval(per_problem_pass(correct, k), level)


def best_interval(correct: Correct, k: int, level: float = 0.95) -> Interval:
    """Wilson's interval of best_at_k_with_replacement over problems."""
    return wilson_interval(_per_problem_best(correct, k), level)


def maj_interval(answers: Answers, correct: Correct, k: int, level: float = 0.95) -> Interval:
    """Wilson's interval of maj@k over problems."""
    return wilson_interval(per_problem_maj(answers, correct, k), level)


def variance_parts(correct: Correct) -> dict[str, float]:
    """{"between", "within"}: the variance of a problem's chance of being solved, and of a single sample of a problem.

    The latter is a mean over problems. The squared standard error of Avg@n over P problems is
    (between + within / n) / P: more samples lower the second part alone.
    Rows of one sample tell nothing of `within`: NaN then, as for a single problem.
    """
    rows = [row for row in correct if len(row) > 1]
    if len(correct) < 2 or not rows:
        return {"between": math.nan, "within": math.nan}
    within = _mean(
        [p * (1 - p) * len(row) / (len(row) - 1) for row, p in zip(rows, per_problem_avg(rows), strict=True)]
    )
    n = _mean([len(row) for row in correct])
    return {"between": max(0.0, _stderr(per_problem_avg(correct)) ** 2 * len(correct) - within / n), "within": within}


def permutation_p(before: Correct, after: Correct, draws: int = 10_000, seed: int = 1) -> float:
    """Two-sided p-value of the paired difference of Avg@n.

    It is how often the difference is as large if the two models of each problem are swapped at random. Exact for up to
    13 problems that differ, else by `draws` random swaps, with the difference itself counted in, so that it is never 0.
    """
    d = [a - b for a, b in zip(per_problem_avg(after), per_problem_avg(before), strict=True)]
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


def accuracy(correct: Correct, k: int | None = None) -> dict[str, float]:
    """{"avg", "pass", "stderr_avg", "stderr_pass"} of Avg@n and Pass@k.

    k: None for the number of samples of the shortest row.
    """
    avg, passed = per_problem_avg(correct), per_problem_pass(correct, min(map(len, correct)) if k is None else k)
    return {"avg": _mean(avg), "pass": _mean(passed), "stderr_avg": _stderr(avg), "stderr_pass": _stderr(passed)}


def paired_difference(before: Correct, after: Correct, level: float = 0.95) -> dict:
    """{"avg", "stderr", "ci", "pass", "stderr_pass", "pass_ci", "k"} of after minus before.

    Both are of the same problems in the same order, else ValueError. Intervals are of Student's t over problems; k, of
    Pass@k, is the number of samples of the shortest row.
    """
    if len(before) != len(after):
        raise ValueError(f"a paired difference needs the same problems, got {len(before)} and {len(after)}")
    k = min(map(len, [*before, *after]))
    avg = [a - b for a, b in zip(per_problem_avg(after), per_problem_avg(before), strict=True)]
    passed = [a - b for a, b in zip(per_problem_pass(after, k), per_problem_pass(before, k), strict=True)]
    return {
        "avg": _mean(avg),
        "stderr": _stderr(avg),
        "ci": t_interval(avg, level),
        "pass": _mean(passed),
        "stderr_pass": _stderr(passed),
        "pass_ci": t_interval(passed, level),
        "k": k,
    }


def per_problem_avg(correct: Correct) -> list[float]:
    """(problems,): the share of right samples. Raises ValueError for an empty row or no row."""
    if not len(correct) or not all(len(row) for row in correct):
        raise ValueError("correct needs at least one problem, and every problem at least one sample")
    return [sum(map(bool, row)) / len(row) for row in correct]


def per_problem_pass(correct: Correct, k: int) -> list[float]:
    """(problems,): 1 - C(n - c, k) / C(n, k). Raises ValueError if a problem has fewer than k samples."""
    short = [i for i, row in enumerate(correct) if len(row) < k]
    if short or k < 1 or not len(correct):
        raise ValueError(f"Pass@{k} needs at least {k} >= 1 samples of every problem; problems {short[:5]} have fewer")
    return [1 - math.comb(len(row) - sum(map(bool, row)), k) / math.comb(len(row), k) for row in correct]


def per_problem_maj(answers: Answers, correct: Correct, k: int) -> list[float]:
    """(problems,): what maj_at_k is the mean of. Raises ValueError if a problem has fewer than k samples."""
    if k < 1 or any(len(row) < k for row in correct):
        raise ValueError(f"maj@{k} needs at least {k} >= 1 samples of every problem")
    votes = []
    for said, right in zip(answers, correct, strict=True):
        blocks = [slice(i * k, (i + 1) * k) for i in range(len(right) // k)]
        votes.append(_mean([_majority(said[b], right[b]) for b in blocks]))
    return votes


def _per_problem_best(correct: Correct, k: int) -> list[float]:
    return [1 - (1 - p) ** k for p in per_problem_avg(correct)]


def _majority(said: Sequence[Hashable | None], right: Sequence[bool]) -> float:
    verdict = dict(zip(said, right, strict=True))
    counts = Counter(a for a in said if a is not None) or Counter(said)
    top = [a for a, n in counts.items() if n == max(counts.values())]
    return _mean([float(verdict[a]) for a in top])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def wilson_interval(values: Sequence[float], level: float) -> Interval:
    """Wilson's interval around the mean of values, (problems,), of shares; NaN for a single problem.

    It knows that shares end at 0 and 1; a plain t interval covers too little where most problems are never, or always,
    solved. Wilson's formula wants a number of independent trials n, and the samples of a problem are not independent:
    so n is what gives mean * (1 - mean) / n the squared standard error that was found over problems, but at least the
    number of problems. The quantile is that of t.
    """
    from scipy.stats import t  # a second of start-up, also of --help

    if len(values) < 2:
        return math.nan, math.nan
    mean, stderr = _mean(values), _stderr(values)
    trials = max(mean * (1 - mean) / stderr**2, len(values)) if stderr else len(values)
    z = float(t.ppf(0.5 + level / 2, len(values) - 1))
    centre = (mean + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(mean * (1 - mean) / trials + (z / trials) ** 2 / 4) / (1 + z * z / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def t_interval(values: Sequence[float], level: float) -> Interval:
    """Student's interval around the mean of values, (problems,), that may be negative; NaN for a single problem."""
    from scipy.stats import t  # as above

    if len(values) < 2:
        return math.nan, math.nan
    half = float(t.ppf(0.5 + level / 2, len(values) - 1)) * _stderr(values)
    return _mean(values) - half, _mean(values) + half


def _stderr(values: Sequence[float]) -> float:
    """Standard error of the mean over problems; NaN for a single problem, which tells nothing of the others."""
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
