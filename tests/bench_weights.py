"""Benchmark of the weights, `make bench-weights`: 100,000 rollouts on one core.

First weights, advantages and metrics, time and memory by size; then the weights alone against a Python loop over the
groups, which is the way the published code computes them, and all it computes.
"""

import ctypes
import json
import statistics
import time
from pathlib import Path

import torch

from scope_openrlhf import algorithms
from scope_openrlhf.equations.batch import Rollouts
from scope_openrlhf.equations.health import step_health
from scope_openrlhf.equations.weights import masked_mean, path_weights

GROUPS, SAMPLES, TOKENS, REPEATS = 12_500, 8, 64, 5


def draw(groups: int = GROUPS) -> Rollouts:
    rng = torch.Generator().manual_seed(0)
    num = groups * SAMPLES
    right = torch.rand(num, generator=rng) < 0.5
    mask = torch.arange(TOKENS)[None] < torch.randint(1, TOKENS + 1, (num, 1), generator=rng)
    student, teacher = (-torch.rand(num, TOKENS, generator=rng) for _ in range(2))
    teacher = teacher.masked_fill(right[:, None], torch.nan)
    return Rollouts(student, teacher, mask, right, torch.zeros(num, dtype=torch.bool), torch.arange(num) // SAMPLES)


def whole_step(r: Rollouts) -> None:
    """Do what the driver does between the teacher's scores and the loss."""
    scope = algorithms.load("scope")
    step_health(r, scope.weigh(r), scope.paths)


def ours(r: Rollouts) -> torch.Tensor:
    student, teacher = (masked_mean(logp, r.mask_NT) for logp in (r.student_logp_NT, r.teacher_logp_NT))
    right, group = r.right_N, r.group_N
    return path_weights(student, right, group, 1.0, 1) + path_weights(teacher, ~right, group, 1.0, -1)


def loop(r: Rollouts, teacher_logp: torch.Tensor, group: list[str]) -> torch.Tensor:
    """Weights as the published code makes them.

    It has a score of every rollout and names its groups by text; making those is not timed.
    """
    length = r.mask_NT.sum(-1).float().clamp(min=1)
    student, teacher = ((logp * r.mask_NT).sum(-1) / length for logp in (r.student_logp_NT, teacher_logp))
    sets: dict[bool, dict[str, list[int]]] = {True: {}, False: {}}
    for i in range(len(group)):
        sets[bool(r.right_N[i])].setdefault(group[i], []).append(i)
    weight = torch.zeros(len(group))
    for right, mean, sign in ((True, student, -1.0), (False, teacher, 1.0)):
        for rows in sets[right].values():
            if len(rows) == 1:
                weight[rows[0]] = 1.0
                continue
            share = torch.softmax(torch.stack([sign * mean[i] / 1.0 for i in rows]), dim=0) * len(rows)
            for j, i in enumerate(rows):
                weight[i] = share[j]
    return weight


def resident(kind: str) -> float:
    """Memory in MiB that this process holds now (VmRSS) or held at most (VmHWM)."""
    return int(Path("/proc/self/status").read_text().split(f"{kind}:")[1].split()[0]) / 1024


def main() -> None:
    torch.set_num_threads(1)
    for groups in (GROUPS // 4, GROUPS // 2, GROUPS):
        rollouts = draw(groups)
        ctypes.CDLL(None).malloc_trim(0)  # give back what drawing them took
        Path("/proc/self/clear_refs").write_text("5")  # and let the peak of this process start anew
        before, start = resident("VmRSS"), time.perf_counter()
        whole_step(rollouts)
        seconds_once = time.perf_counter() - start
        peak = resident("VmHWM") - before
        print(
            f"{groups * SAMPLES:>7} rollouts: weights, advantages and metrics {seconds_once:.3f} s, "
            f"{peak:.0f} MiB at the peak beside the rollouts"
        )
    published = rollouts.teacher_logp_NT.nan_to_num(), [f"prompt-{g}" for g in rollouts.group_N.tolist()]
    weight = ours(rollouts)
    assert torch.equal(weight, algorithms.load("scope").weigh(rollouts).weight_N)
    assert torch.allclose(weight.float(), loop(rollouts, *published), atol=1e-4)
    seconds: dict[str, list[float]] = {"ours": [], "other": []}
    for _ in range(REPEATS):  # in turns: a slow moment of the machine meets both
        for name, run in (("ours", lambda: ours(rollouts)), ("other", lambda: loop(rollouts, *published))):
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    a, b = (statistics.median(seconds[name]) for name in ("ours", "other"))
    times = {"ratio": round(b / a, 1), "ours": round(a, 3), "other": round(b, 3)}
    result = {"name": "weights", **times, "unit": "s", "n": REPEATS}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
