"""make bench-weights: routing, weights and metrics of 100,000 rollouts, against a Python loop over the groups. One core.

The loop is the way the published code computes its weights: a tensor operation per rollout and a softmax per group and path.
"""

import json
import statistics
import time

import torch

from scope_openrlhf import algorithms
from scope_openrlhf.batch import Rollouts
from scope_openrlhf.health import step_health

GROUPS, SAMPLES, TOKENS, REPEATS = 12_500, 8, 64, 3


def draw() -> Rollouts:
    rng = torch.Generator().manual_seed(0)
    num = GROUPS * SAMPLES
    right = torch.rand(num, generator=rng) < 0.5
    mask = torch.arange(TOKENS)[None] < torch.randint(1, TOKENS + 1, (num, 1), generator=rng)
    student, teacher = (-torch.rand(num, TOKENS, generator=rng) for _ in range(2))
    teacher = teacher.masked_fill(right[:, None], torch.nan)
    return Rollouts(student, teacher, mask, right, torch.zeros(num, dtype=torch.bool), torch.arange(num) // SAMPLES)


def ours(r: Rollouts) -> torch.Tensor:
    scope = algorithms.load("scope")
    signal = scope.weigh(r)
    step_health(r, signal, scope.paths)
    return signal.weight_N


def loop(r: Rollouts) -> torch.Tensor:
    """Weights alone, without the metrics that `ours` computes as well."""
    length = r.mask_NT.sum(-1).float().clamp(min=1)
    student, teacher = ((logp.nan_to_num() * r.mask_NT).sum(-1) / length for logp in (r.student_logp_NT, r.teacher_logp_NT))
    members: dict[tuple[int, bool], list[int]] = {}
    for i in range(len(r.right_N)):
        members.setdefault((int(r.group_N[i]), bool(r.right_N[i])), []).append(i)
    weight = torch.zeros(len(r.right_N))
    for (_, right), rows in members.items():
        score = torch.stack([-student[i] if right else teacher[i] for i in rows])
        for i, w in zip(rows, torch.softmax(score, dim=0) * len(rows), strict=True):
            weight[i] = w
    return weight


def main() -> None:
    torch.set_num_threads(1)
    rollouts = draw()
    assert torch.allclose(ours(rollouts).float(), loop(rollouts), atol=1e-4)
    seconds: dict[str, list[float]] = {"ours": [], "other": []}
    for _ in range(REPEATS):  # in turns: a slow moment of the machine meets both
        for name, run in (("ours", ours), ("other", loop)):
            start = time.perf_counter()
            run(rollouts)
            seconds[name].append(time.perf_counter() - start)
    a, b = (statistics.median(seconds[name]) for name in ("ours", "other"))
    result = {"name": "weights", "ratio": round(b / a, 1), "ours": round(a, 3), "other": round(b, 3), "unit": "s", "n": REPEATS}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
