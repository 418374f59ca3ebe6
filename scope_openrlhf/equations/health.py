"""Numbers that tell what a step's rollouts and weights look like, whatever the algorithm. Pure torch.

metric_definitions.py defines each of them. NaN stands for a set without members: a step without right rollouts has no
perplexity of them. Axes: N rollouts, T response positions, K tokens of a position, J = K + 1 with one bucket for all
the others.
"""

import math

import torch
from torch import Tensor

from scope_openrlhf.equations.batch import Rollouts, Signal


def step_health(r: Rollouts, signal: Signal, paths: tuple[str, ...]) -> dict[str, float]:
    """Metrics of a step's rollouts, the dropped ones left out: of groups, of verdicts and of paths.

    paths: names of the algorithm's paths, in the order of signal.path_N.
    """
    _, group_N = torch.unique(r.group_N, return_inverse=True)
    size = torch.bincount(group_N)
    right_by_group = torch.bincount(group_N[r.right_N], minlength=len(size))
    length_N = r.mask_NT.sum(dim=1, dtype=torch.int32).double()
    student_N, teacher_N = r.student_mean_N, r.teacher_mean_N
    scored_N = teacher_N.isfinite()
    metrics = {
        "right": float(r.right_N.sum()),
        "wrong": float((~r.right_N).sum()),
        "reward": r.right_N.double().mean().item(),
        "groups_all_right": (right_by_group == size).double().mean().item(),
        "groups_all_wrong": (right_by_group == 0).double().mean().item(),
        "groups_mixed": ((right_by_group > 0) & (right_by_group < size)).double().mean().item(),
        "response_length": length_N.mean().item(),
        # mean over the scored tokens of log p_S - log p_T
        "reverse_kl": (((student_N - teacher_N) * length_N)[scored_N].sum() / length_N[scored_N].sum()).item(),
    }
    for name, member_N in (("right", r.right_N), ("wrong", ~r.right_N)):
        metrics |= spread(f"ppl_student_{name}", (-student_N[member_N]).exp())
        metrics |= spread(f"ppl_teacher_{name}", (-teacher_N[member_N & scored_N]).exp())
    for p, name in enumerate(paths):
        on_path = signal.path_N == p
        metrics |= weight_health(name, signal.weight_N[on_path])
        metrics[f"rollouts_{name}"] = float(on_path.sum())
        metrics[f"length_{name}"] = length_N[on_path].mean().item()
        metrics[f"truncated_{name}"] = r.truncated_N[on_path].double().mean().item()
    return metrics


def spread(name: str, values: Tensor) -> dict[str, float]:
    """Mean and deciles of (n,) values as {name, name_p10, name_p90}; the deciles are the values of nearest rank."""
    if not len(values):
        return {name: torch.nan, f"{name}_p10": torch.nan, f"{name}_p90": torch.nan}
    p10, p90 = (values.kthvalue(1 + round(q * (len(values) - 1))).values.item() for q in (0.1, 0.9))
    return {name: values.mean().item(), f"{name}_p10": p10, f"{name}_p90": p90}


def weight_health(name: str, weight: Tensor) -> dict[str, float]:
    """Metrics of the (n,) weights of a path.

    Smallest and largest weight, entropy of the normalised weights over log n (1 = uniform), and effective sample size
    over n.
    """
    n = len(weight)
    if n == 0 or weight.sum() == 0:
        return {f"weight_{k}_{name}": torch.nan for k in ("min", "max", "entropy", "ess")}
    share = weight / weight.sum()
    entropy = torch.special.entr(share).sum().item() / math.log(n) if n > 1 else 1.0
    return {
        f"weight_min_{name}": weight.min().item(),
        f"weight_max_{name}": weight.max().item(),
        f"weight_entropy_{name}": entropy,
        f"weight_ess_{name}": (1 / (share**2).sum() / n).item(),
    }


def logit_gradient_square(grad_NTJ: Tensor, logp_NTJ: Tensor, concentration_NT: Tensor) -> Tensor:
    """Squared norm of a loss's gradient at the logits: (N, T, J), (N, T, J), (N, T) -> scalar.

    grad_NTJ: its gradient g at the log-probs of some tokens and, last, at that of all others together. logp_NTJ: these
    log-probs. concentration_NT: that of the others, see vocabulary.py. With G the sum of g over all J, the
    gradient at the logit of one of the tokens is g_j - G p_j, and at the logit of another token v it is
    (g_J / p_J - G) p_v.
    """
    gap_NTJ = grad_NTJ - grad_NTJ.sum(dim=-1, keepdim=True) * logp_NTJ.exp()
    return ((gap_NTJ[..., :-1] ** 2).sum(dim=-1) + gap_NTJ[..., -1] ** 2 * concentration_NT).sum()


def path_health(status: dict[str, float], paths: tuple[str, ...]) -> dict[str, float]:
    """Means over each path's tokens, and shares, from the workers' sums `sum_<metric>_<path>`.

    Takes the sums out of status. `sum_tokens_<path>` divides the others, but `sum_grad_<path>` (squared norm at the
    logits) becomes grad_share_<path>: paths hold different tokens, so the squares add up and the shares to 1.
    """
    sums = {name.removeprefix("sum_"): status.pop(name) for name in list(status) if name.startswith("sum_")}
    squares = sum(sums.get(f"grad_{p}", 0.0) for p in paths)
    metrics = {}
    for p in paths:
        for name in sums:
            if name == f"grad_{p}":
                metrics[f"grad_share_{p}"] = sums[name] / squares if squares > 0 else torch.nan
            elif name.endswith(f"_{p}") and name != f"tokens_{p}":
                metrics[name] = sums[name] / sums[f"tokens_{p}"] if sums[f"tokens_{p}"] else torch.nan
    return metrics


def overlap(intervals: list[tuple[float, float]], until: float) -> tuple[float, float]:
    """Seconds that the union of (start, end) covers, and the share of them before `until`.

    The share is NaN where there is nothing to share.
    """
    covered = hidden = 0.0
    reached = -math.inf
    for start, end in sorted(intervals):
        start = max(start, reached)
        if end > start:
            covered += end - start
            hidden += max(min(end, until) - start, 0.0)
            reached = end
    return covered, hidden / covered if covered else math.nan
