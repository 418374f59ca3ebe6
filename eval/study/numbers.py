"""The models of a study and their work -> the numbers of its page, as pure functions."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from scope_eval import metrics
from scope_eval.study.settings import STUDENT
from scope_openrlhf.settings.errors import ConfigError

BASELINES = ("grpo", "opd")
"""The algorithms that all others are compared with."""
Table = Sequence[Sequence[float]]
"""(seeds, problems)."""


@dataclass(frozen=True)
class ScoredModel:
    """What one model made of the held-out problems."""

    correct: list[list[bool]]
    """(problems, n): whether a sample is right."""
    distinct: list[float]
    """(problems,): how many different right responses a problem got, as texts without the blanks around them."""

    @property
    def measures(self) -> dict[str, list[float]]:
        """{"avg", "pass", "distinct"}, each (problems,); k of Pass@k is the smallest number of samples of a problem."""
        k = min(map(len, self.correct))
        return {
            "avg": metrics.per_problem_avg(self.correct),
            "pass": metrics.per_problem_pass(self.correct, k),
            "distinct": self.distinct,
        }


def refuse_other_work(work: dict[str, dict[int, dict]]) -> None:
    """Raise ConfigError unless all runs did the same work.

    Those of a seed must have had the same problems in the same order, and all as many rollouts in every step.
    """
    first: dict[Any, tuple[str, list]] = {}
    for algorithm, by_seed in work.items():
        for seed, w in by_seed.items():
            for what, key, value in (("problems", seed, w["ids"]), ("rollouts a step", "all", w["rollouts"])):
                other, theirs = first.setdefault(key, (f"{algorithm}-{seed}", value))
                if theirs != value:
                    at = next(
                        (i for i, (a, b) in enumerate(zip(theirs, value, strict=False)) if a != b),
                        min(len(theirs), len(value)),
                    )
                    raise ConfigError(
                        f"{other} and {algorithm}-{seed} did not do the same work: their {what} differ at number {at}, "
                        f"counted from 0 ({len(theirs)} and {len(value)} in all); no table is made of them"
                    )


def numbers(
    student: ScoredModel,
    models: dict[str, dict[int, ScoredModel]],
    work: dict[str, dict[int, dict]],
    claimed: Iterable[tuple[str, str]],
) -> dict[str, Any]:
    """What the page says of the models, of each against the baselines, and of the claimed pairs.

    models and work are by algorithm and seed; see describe and difference for what is found.
    """
    seeds = sorted({seed for by_seed in models.values() for seed in by_seed})
    sides = models | {STUDENT: dict.fromkeys(seeds, student)}
    found: dict[str, Any] = {STUDENT: describe([student]), "algorithms": {}, "differences": [], "claimed": []}
    for name, by_seed in models.items():
        took = {
            key: [w[key] for w in work[name].values()]
            for key in ("seconds", "startup", "teacher_tokens", "context_tokens")
        }
        middle = {key: statistics.median(values) for key, values in took.items()} | {
            "first": first_step(work[name].values())
        }
        found["algorithms"][name] = describe(list(by_seed.values())) | {"seeds": list(by_seed), "took": took} | middle
    # opd against grpo is asked once
    pairs = [
        (a, b) for i, b in enumerate(BASELINES) for a in models if b in models and a != b and a not in BASELINES[:i]
    ]
    for key, wanted in (("differences", pairs), ("claimed", claimed)):
        for a, b in wanted:
            if common := [seed for seed in sides.get(a, {}) if seed in sides.get(b, {})]:
                of = difference([sides[a][s] for s in common], [sides[b][s] for s in common])
                found[key].append({"of": a, "to": b, "seeds": common, **of})
                if a in work and b in work:
                    theirs, ours = (statistics.median(work[name][s]["seconds"] for s in common) for name in (b, a))
                    found[key][-1]["times_less_seconds"] = theirs / ours
    adjusted = metrics.holm({f"{d['of']} {d['to']}": d["p"] for d in found["differences"]})
    for d in found["differences"]:
        d["p_holm"] = adjusted[f"{d['of']} {d['to']}"]
    return found


def first_step(work: Iterable[dict]) -> dict[str, float]:
    """Mean over seeds of what runs said of their first step; what one of them did not say is left out."""
    steps = [w["first"] for w in work]
    return {key: statistics.mean(s[key] for s in steps) for key in steps[0] if all(s[key] is not None for s in steps)}


def describe(models: Sequence[ScoredModel]) -> dict[str, Any]:
    """{"avg", "pass", "distinct"} of an algorithm's models, one a seed; see spread."""
    intervals = {"avg": metrics.wilson_interval, "pass": metrics.wilson_interval, "distinct": metrics.t_interval}
    return {name: spread([m.measures[name] for m in models], interval) for name, interval in intervals.items()}


def difference(after: Sequence[ScoredModel], before: Sequence[ScoredModel]) -> dict[str, Any]:
    """After minus before, seed by seed and problem by problem.

    Spread of avg, pass and distinct, each also relative to before, and p of avg by permutation.
    """
    found: dict[str, Any] = {}
    for name in ("avg", "pass", "distinct"):
        pairs = [(a.measures[name], b.measures[name]) for a, b in zip(after, before, strict=True)]
        found[name] = spread([[x - y for x, y in zip(a, b, strict=True)] for a, b in pairs], metrics.t_interval)
        base = statistics.mean(statistics.mean(b) for _, b in pairs)
        found[name]["relative"] = found[name]["value"] / base if base else float("nan")
    # samples of all seeds side by side: a problem's mean over them is that over seeds, and problems are swapped whole
    pooled = [[[*chain(*rows)] for rows in zip(*(m.correct for m in side), strict=True)] for side in (before, after)]
    return found | {"p": metrics.permutation_p(*pooled)}


def spread(values_SP: Table, interval: Callable[..., metrics.Interval]) -> dict[str, Any]:
    """{"value", "ci", "by_seed", "sd"} of values, (seeds, problems).

    Mean over seeds and problems; its 95% interval over problems of their means over seeds; each seed's mean; and their
    standard deviation. The interval holds what other problems would change and nothing of what other seeds would.
    NaN: a single seed, or problem, has none.
    """
    by_problem = [statistics.mean(column) for column in zip(*values_SP, strict=True)]
    by_seed = [statistics.mean(row) for row in values_SP]
    sd = statistics.stdev(by_seed) if len(by_seed) > 1 else float("nan")
    return {"value": statistics.mean(by_seed), "ci": list(interval(by_problem, 0.95)), "by_seed": by_seed, "sd": sd}
