"""What a step's rollouts and weights look like, whatever the algorithm. Pure torch; names of sets end in the set's name.

NaN stands for a set without members: a step without right rollouts has no perplexity of them.
"""

import torch
from torch import Tensor

from scope_openrlhf.batch import Rollouts, Signal
from scope_openrlhf.weights import mean_logprob


def step_health(r: Rollouts, signal: Signal, paths: tuple[str, ...]) -> dict[str, float]:
    """Metrics of a step: counts, shares of groups, perplexities by verdict, weights and lengths by path."""
    right_by_group = torch.zeros(int(r.group_N.max()) + 1).index_add(0, r.group_N, r.right_N.float())
    size = torch.bincount(r.group_N)
    length_N = r.mask_NT.sum(dim=1).double()
    metrics = {
        "rollouts": float(len(r.right_N)),
        "right": float(r.right_N.sum()),
        "wrong": float((~r.right_N).sum()),
        "truncated": float(r.truncated_N.sum()),
        "groups_all_right": (right_by_group == size).double().mean().item(),
        "groups_all_wrong": (right_by_group == 0).double().mean().item(),
        "groups_mixed": ((right_by_group > 0) & (right_by_group < size)).double().mean().item(),
        "response_length": length_N.mean().item(),
    }
    scored_N = r.teacher_logp_NT.masked_fill(~r.mask_NT, 0.0).isfinite().all(dim=1)
    scored_NT = scored_N[:, None] & r.mask_NT
    metrics["reverse_kl"] = (r.student_logp_NT - r.teacher_logp_NT)[scored_NT].double().mean().item()
    for name, member_N in (("right", r.right_N), ("wrong", ~r.right_N)):
        metrics |= spread(f"ppl_student_{name}", perplexities(r.student_logp_NT, r.mask_NT, member_N))
        metrics |= spread(f"ppl_teacher_{name}", perplexities(r.teacher_logp_NT, r.mask_NT, member_N & scored_N))
    for p, name in enumerate(paths):
        on_path = signal.path_N == p
        metrics |= weight_health(name, signal.weight_N[on_path])
        metrics[f"rollouts_{name}"] = float(on_path.sum())
        metrics[f"length_{name}"] = length_N[on_path].mean().item()
        metrics[f"truncated_{name}"] = r.truncated_N[on_path].double().mean().item()
    return metrics


def perplexities(logp_NT: Tensor, mask_NT: Tensor, member_N: Tensor) -> Tensor:
    return (-mean_logprob(logp_NT[member_N], mask_NT[member_N])).exp()


def spread(name: str, values: Tensor) -> dict[str, float]:
    """{name: mean, name_p10, name_p90}."""
    p10, p90 = torch.quantile(values, torch.tensor([0.1, 0.9], dtype=values.dtype)).tolist() if len(values) else (torch.nan, torch.nan)
    return {name: values.mean().item(), f"{name}_p10": p10, f"{name}_p90": p90}


def weight_health(name: str, weight: Tensor) -> dict[str, float]:
    """Smallest and largest weight, entropy of the normalised weights over log n (1 = uniform), effective sample size over n."""
    n = len(weight)
    if n == 0 or weight.sum() == 0:
        return {f"weight_{k}_{name}": torch.nan for k in ("min", "max", "entropy", "ess")}
    share = weight / weight.sum()
    entropy = torch.special.entr(share).sum().item() / torch.tensor(float(n)).log().item() if n > 1 else 1.0
    return {
        f"weight_min_{name}": weight.min().item(),
        f"weight_max_{name}": weight.max().item(),
        f"weight_entropy_{name}": entropy,
        f"weight_ess_{name}": (1 / (share**2).sum() / n).item(),
    }
