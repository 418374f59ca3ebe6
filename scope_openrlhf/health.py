"""What a step's rollouts and weights look like, whatever the algorithm. Pure torch; names of sets end in the set's name.

NaN stands for a set without members: a step without right rollouts has no perplexity of them.
"""

import math

import torch
from torch import Tensor

from scope_openrlhf.batch import Rollouts, Signal


def step_health(r: Rollouts, signal: Signal, paths: tuple[str, ...]) -> dict[str, float]:
    """Metrics of a step's rollouts, the dropped ones left out: shares of groups, perplexities by verdict, weights and lengths by path."""
    _, group_N = torch.unique(r.group_N, return_inverse=True)
    size = torch.bincount(group_N)
    right_by_group = torch.bincount(group_N[r.right_N], minlength=len(size))
    length_N = r.mask_NT.sum(dim=1, dtype=torch.int32).double()
    student_N, teacher_N = r.student_mean_N, r.teacher_mean_N
    scored_N = teacher_N.isfinite()
    metrics = {
        "right": float(r.right_N.sum()),
        "wrong": float((~r.right_N).sum()),
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
    """{name: mean, name_p10, name_p90}; the deciles are the values of nearest rank."""
    if not len(values):
        return {name: torch.nan, f"{name}_p10": torch.nan, f"{name}_p90": torch.nan}
    p10, p90 = (values.kthvalue(1 + round(q * (len(values) - 1))).values.item() for q in (0.1, 0.9))
    return {name: values.mean().item(), f"{name}_p10": p10, f"{name}_p90": p90}


def weight_health(name: str, weight: Tensor) -> dict[str, float]:
    """Smallest and largest weight, entropy of the normalised weights over log n (1 = uniform), effective sample size over n."""
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


@torch.no_grad()
def vocabulary_health(logits: Tensor, chunk: int = 256) -> tuple[Tensor, Tensor]:
    """Entropy -sum_v p_v log p_v in nats, and collision sum_v p_v^2, of each row: (M, V) -> (M,), (M,). Memory: chunk rows at a time."""
    entropy, collision = [], []
    for rows in logits.split(chunk):
        logp = rows.float().log_softmax(dim=-1)
        p = logp.exp()
        entropy.append(-(p * logp).sum(dim=-1))
        collision.append((p * p).sum(dim=-1))
    return torch.cat(entropy), torch.cat(collision)


def logit_gradient_square(grad_NTK: Tensor, logp_NTK: Tensor, collision_NT: Tensor) -> Tensor:
    """Squared norm of a loss's gradient at the logits, from its gradient g_k at the log-probs of K different tokens a position.

    d log p_k / d logits = onehot_k - p, so the norm is sum_k g_k^2 - 2 G sum_k g_k p_k + G^2 sum_v p_v^2 with G = sum_k g_k.
    (N, T, K), (N, T, K), (N, T) -> scalar.
    """
    total_NT = grad_NTK.sum(dim=-1)
    cross_NT = (grad_NTK * logp_NTK.exp()).sum(dim=-1)
    return ((grad_NTK**2).sum(dim=-1) - 2 * total_NT * cross_NT + total_NT**2 * collision_NT).clamp(min=0).sum()


def path_health(status: dict[str, float], paths: tuple[str, ...]) -> dict[str, float]:
    """Takes the workers' sums `sum_<metric>_<path>` out of status and makes means over the path's tokens, and shares, of them.

    `tokens` divides the others, but `grad` (squared norm at the logits) becomes grad_share: paths hold different tokens, so the
    squares add up and the shares to 1.
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
