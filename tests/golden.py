"""A step of eight rollouts, and what formulas make of it: plain Python, worked out from papers and published scripts.

Nothing of the package is imported here. A row is one rollout, a list one number for each of its tokens. Gradients are
those at the log-probs of the sampled tokens by the student as it is now.
"""

from math import exp, log
from statistics import mean, stdev

GROUP = [0, 0, 0, 0, 1, 1, 1, 1]
RIGHT = [1, 0, 0, 0, 1, 1, 1, 0]
OLD = [
    [-0.3, -1.2, -0.5], [-0.9, -0.2], [-2.5], [-0.4, -0.1, -0.6],
    [-0.2, -0.7], [-1.1, -0.3, -0.8], [-0.05], [-1.6, -0.9],
]  # fmt: skip
"""By the student when it sampled."""
MOVED = [[0.1, -0.3, 0.4], [0.5, 1.3], [-0.6], [0.0, 0.2, -0.1], [0.3, 0.0], [-0.2, 0.6, 0.1], [0.0], [1.4, -0.5]]
"""By how much the student's log-probs have changed since."""
NOW = [[o + m for o, m in zip(*rows, strict=True)] for rows in zip(OLD, MOVED, strict=True)]
TEACHER = [
    [-0.2, -0.9, -0.4], [-1.5, -0.6], [-0.7], [-2.0, -1.1, -0.9],
    [-0.1, -0.3], [-0.6, -0.5, -0.4], [-0.2], [-0.8, -1.9],
]  # fmt: skip
"""By the teacher, or by the student that is shown the answer."""
OTHER = [
    [-0.6, -1.0, -0.8], [-0.7, -0.4], [-1.9], [-0.3, -0.5, -0.4],
    [-0.5, -0.6], [-0.9, -0.7, -1.0], [-0.3], [-0.9, -1.2],
]  # fmt: skip
"""By the student that is shown a wrong answer."""

TOKENS = sum(map(len, OLD))


def members(right: int) -> list[int]:
    return [i for i in range(8) if RIGHT[i] == right]


def perplexity(row: list[float]) -> float:
    return exp(-mean(row))


def shares(path: list[int], logp: list[list[float]], power: float) -> dict[int, float]:
    """PPL^power over its sum inside the group, as SCOPE's formula is printed."""
    raw = {i: perplexity(logp[i]) ** power for i in path}
    return {i: raw[i] / sum(raw[j] for j in path if GROUP[j] == GROUP[i]) for i in path}


def of_group(path: list[int], i: int) -> int:
    """Rollouts on the path in i's group."""
    return sum(GROUP[j] == GROUP[i] for j in path)


def surrogate(weight: float, a: float, old: float, now: float, low: float, high: float, dual: float) -> tuple:
    """(loss, gradient) of a token under the PPO clip; dual 0: none."""
    r = exp(now - old)
    inside = min(max(r, 1 - low), 1 + high)
    value, moves = (r * a, True) if r * a <= inside * a else (inside * a, False)
    if dual and a < 0 and value < dual * a:
        value, moves = dual * a, False
    return -weight * value, -weight * a * r if moves else 0.0


def policy_gradient(advantage: list[list[float]], rows, weight, below, low=0.2, high=0.2, dual=0.0) -> tuple:
    """(loss, gradient rows) of some rows; `below`: what row i's token sum is divided by."""
    loss, gradient = 0.0, [[0.0] * len(row) for row in OLD]
    for i in rows:
        for t, a in enumerate(advantage[i]):
            one, slope = surrogate(weight[i], a, OLD[i][t], NOW[i][t], low, high, dual)
            loss += one / below(i)
            gradient[i][t] = slope / below(i)
    return loss, gradient


def scope(scale: str = "mean_one", student_power: float = 1.0, all_tokens: bool = False, dual: float = 0.0) -> dict:
    """SCOPE's two losses. scale: mean_one as the released code, or sum_one as printed, the mean over the two prompts.

    all_tokens: the teacher path is divided by every response token, as the released code does.
    """
    right, wrong = members(1), members(0)
    printed = shares(right, OLD, student_power) | shares(wrong, TEACHER, -1.0)
    weight = {}
    for path in (right, wrong):
        for i in path:
            weight[i] = printed[i] * (of_group(path, i) if scale == "mean_one" else len(path) / 2)
    of_right = sum(len(OLD[i]) for i in right)
    student = sum(weight[i] * -p for i in right for p in NOW[i]) / of_right
    gap = [[p - q for p, q in zip(*rows, strict=True)] for rows in zip(TEACHER, OLD, strict=True)]
    below = TOKENS if all_tokens else TOKENS - of_right
    teacher, gradient = policy_gradient(gap, wrong, weight, lambda i: below, dual=dual)
    for i in right:
        gradient[i] = [-weight[i] / of_right] * len(OLD[i])
    return {
        "losses": {"student": student, "teacher": teacher},
        "gradient": gradient,
        "weight": [weight[i] for i in range(8)],
    }


def everywhere(loss: float, gradient: list, path: str) -> dict:
    return {"losses": {path: loss}, "gradient": gradient, "weight": [1.0] * 8}


def distilled(dual: float = 0.0) -> dict:
    """The sampled reverse KL on every rollout alike: OPD; OPSD and SDPO where everybody has a hint."""
    gap = [[p - q for p, q in zip(*rows, strict=True)] for rows in zip(TEACHER, OLD, strict=True)]
    return everywhere(*policy_gradient(gap, range(8), [1.0] * 8, lambda i: TOKENS, dual=dual), "teacher")


def grpo_advantages() -> list[float]:
    of = {g: [RIGHT[i] for i in range(8) if GROUP[i] == g] for g in (0, 1)}
    return [(RIGHT[i] - mean(of[g])) / (stdev(of[g]) + 1e-6) for i, g in enumerate(GROUP)]


def credited(delta: list[list[float]] | None, mix: float, clip: float) -> list[list[float]]:
    """GRPO's advantages, spread over tokens by RLSD's and CEPO's formula; no delta: GRPO's own."""
    found = []
    for i, a in enumerate(grpo_advantages()):
        sign = 1 if a > 0 else -1
        credit = [min(max(exp(sign * d), 1 - clip), 1 + clip) for d in delta[i]] if delta else [1.0] * len(OLD[i])
        found.append([a * ((1 - mix) + mix * w) for w in credit])
    return found


def gaps(first: list[list[float]], second: list[list[float]]) -> list[list[float]]:
    return [[p - q for p, q in zip(*rows, strict=True)] for rows in zip(first, second, strict=True)]


def grpo(dual: float = 0.0) -> dict:
    return everywhere(
        *policy_gradient(credited(None, 0, 0), range(8), [1.0] * 8, lambda i: TOKENS, dual=dual), "policy"
    )


def rlsd(mix: float = 0.5, high: float = 0.2, dual: float = 0.0) -> dict:
    advantage = credited(gaps(TEACHER, OLD), mix, 0.2)
    return everywhere(
        *policy_gradient(advantage, range(8), [1.0] * 8, lambda i: TOKENS, high=high, dual=dual), "policy"
    )


def cepo(clip: float = 0.5, high: float = 0.2, dual: float = 0.0) -> dict:
    advantage = credited(gaps(TEACHER, OTHER), 0.5, clip)
    return everywhere(
        *policy_gradient(advantage, range(8), [1.0] * 8, lambda i: TOKENS, high=high, dual=dual), "policy"
    )


def smepo_released() -> dict:
    """GRPO's advantages, clip [1 - 0, 1 + 5], dual clip 3, the mean over rollouts of their token means."""
    rows = policy_gradient(credited(None, 0, 0), range(8), [1.0] * 8, lambda i: 8 * len(OLD[i]), 0.0, 5.0, 3.0)
    return everywhere(*rows, "policy")


def divergence(p: list[float], q: list[float]) -> float:
    """Jensen-Shannon of two distributions with beta 1/2, in nats."""
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    kl = lambda x: sum(a * log(a / m) for a, m in zip(x, middle, strict=True))  # noqa: E731
    return (kl(p) + kl(q)) / 2


STUDENT_5, TEACHER_5 = [0.1, 0.4, 0.2, 0.2, 0.1], [0.5, 0.2, 0.1, 0.1, 0.1]
"""Next-token distributions over five tokens; the teacher's two likeliest are the first two."""


def top_two(bucket: bool) -> float:
    """Jensen-Shannon over the teacher's two likeliest: with a bucket for the rest, or renormalised (OPSD's top-k)."""
    heads = STUDENT_5[:2], TEACHER_5[:2]
    if bucket:
        return divergence(*([*head, 1 - sum(head)] for head in heads))
    return divergence(*([x / sum(head) for x in head] for head in heads))
