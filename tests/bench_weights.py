"""make bench-weights: routing, weights and metrics of 100,000 rollouts, against a Python loop over the groups. One core.

The loop is the way the published code computes its weights: tensor operations per rollout and a softmax per group and path.
"""

import dataclasses
import json
import statistics
import time
from pathlib import Path

import torch

from scope_openrlhf import algorithms
from scope_openrlhf.batch import Rollouts
from scope_openrlhf.health import step_health

GROUPS, SAMPLES, TOKENS, REPEATS = 12_500, 8, 64, 5


def draw(groups: int = GROUPS) -> Rollouts:
    rng = torch.Generator().manual_seed(0)
    num = groups * SAMPLES
    right = torch.rand(num, generator=rng) < 0.5
    mask = torch.arange(TOKENS)[None] < torch.randint(1, TOKENS + 1, (num, 1), generator=rng)
    student, teacher = (-torch.rand(num, TOKENS, generator=rng) for _ in range(2))
    teacher = teacher.masked_fill(right[:, None], torch.nan)
    return Rollouts(student, teacher, mask, right, torch.zeros(num, dtype=torch.bool), torch.arange(num) // SAMPLES)


def ours(r: Rollouts) -> torch.Tensor:
    scope = algorithms.load("scope")
    r = dataclasses.replace(r)  # nothing remembered from the run before
    signal = scope.weigh(r)
    step_health(r, signal, scope.paths)
    return signal.weight_N


def loop(r: Rollouts) -> torch.Tensor:
    """Weights alone, without the advantages and metrics that `ours` computes as well."""
    length = r.mask_NT.sum(-1).float().clamp(min=1)
    teacher_logp = r.teacher_logp_NT.nan_to_num()  # the published code has a score of every rollout
    student, teacher = ((logp * r.mask_NT).sum(-1) / length for logp in (r.student_logp_NT, teacher_logp))
    group = [f"prompt-{g}" for g in r.group_N.tolist()]
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
    """MiB that this process holds now (VmRSS) or held at most (VmHWM)."""
    return int(Path("/proc/self/status").read_text().split(f"{kind}:")[1].split()[0]) / 1024


def main() -> None:
    torch.set_num_threads(1)
    for groups in (GROUPS // 4, GROUPS // 2, GROUPS):
        rollouts = draw(groups)
        Path("/proc/self/clear_refs").write_text("5")  # the peak of this process starts anew from here
        before, start = resident("VmRSS"), time.perf_counter()
        ours(rollouts)
        seconds_once = time.perf_counter() - start
        print(f"{groups * SAMPLES:>7} rollouts  {seconds_once:.3f} s  {resident('VmHWM') - before:.0f} MiB at the peak beside the rollouts")
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
