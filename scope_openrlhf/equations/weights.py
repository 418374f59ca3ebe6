"""Perplexity and the two path weights of SCOPE (arXiv 2604.10688): pure torch, one function per equation.

Axes: N rollouts, T response positions. "weight" is always a loss weight; a model's weights are its params.
"""

import math

import torch
from torch import Tensor


def mean_logprob(logprobs: Tensor, mask: Tensor) -> Tensor:
    """1/|y_i| * sum_t log p(y_t | x, y_<t), which is -log PPL(y_i | x).

    logprobs: (N, T), any float dtype, nats. mask: (N, T), true on response tokens. Returns (N,) in float64.
    Raises ValueError for shapes that disagree, a row without tokens, or a non-finite log-prob under the mask.
    """
    mean = masked_mean(logprobs, mask)
    empty = ~mean.isfinite() & ~mask.bool().any(dim=1)
    if empty.any():
        raise ValueError(f"rows {torch.nonzero(empty).flatten().tolist()} have no response token: their mask is empty")
    require_finite(mean, torch.ones_like(empty))
    return mean


def require_finite(mean: Tensor, member: Tensor) -> None:
    """Raise ValueError naming the members, (N,) bool, whose mean log-prob (N,) is not finite: a number they need never came."""
    bad = member & ~mean.isfinite()
    if bad.any():
        raise ValueError(f"rows {torch.nonzero(bad).flatten().tolist()} hold a log-prob that is missing or not finite")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of each row under its mask: (N, T), (N, T) -> (N,) float64. Not finite where a row holds such a value, or no token."""
    if values.shape != mask.shape or values.dim() != 2:
        raise ValueError(f"logprobs {tuple(values.shape)} and mask {tuple(mask.shape)} must be the same (N, T)")
    mask = mask.bool()
    # summed in the input's precision but never below float32: torch sums pairwise, so a row of 100,000 tokens loses no digit that matters
    at_least_32 = values if values.dtype == torch.float64 else values.float()
    return torch.where(mask, at_least_32, 0.0).sum(dim=1).double() / mask.sum(dim=1, dtype=torch.int32)


def perplexity(logprobs: Tensor, mask: Tensor) -> Tensor:
    """PPL(y_i | x) = exp(-1/|y_i| * sum_t log p(y_t | x, y_<t)).

    Shapes and errors as `mean_logprob`. Returns (N,) in float64, which ends at 1.8e308: a mean log-prob below -709 gives that
    number. Code that must tell such rows apart works with `mean_logprob` and `path_weights`, as algorithms/scope.py does.
    """
    return (-mean_logprob(logprobs, mask)).exp().clamp(max=torch.finfo(torch.float64).max)


def student_path_weights(ppl: Tensor, right: Tensor, group: Tensor, tau: float, mean_one: bool = True) -> Tensor:
    """w_i = PPL_S(y_i)^(1/tau) / sum over j right in i's group of PPL_S(y_j)^(1/tau): hard but right gets more.

    ppl: (N,), at least 1 and finite. right: (N,) bool. group: (N,) int, the prompt of each rollout, in any order.
    mean_one multiplies by the size of the set, so that its mean weight is 1; False sums to 1, as the paper prints it.
    Returns (N,) float64, zero where not right. Raises ValueError for tau <= 0, non-finite ppl or shapes that disagree.
    """
    return path_weights(-_log_ppl(ppl, right), right, group, tau, 1, mean_one)


def teacher_path_weights(ppl: Tensor, wrong: Tensor, group: Tensor, tau: float, mean_one: bool = True) -> Tensor:
    """w_i = PPL_T(y_i)^(-1/tau) / sum over j wrong in i's group of PPL_T(y_j)^(-1/tau): teacher unsure gets less.

    Arguments, return and errors as `student_path_weights`; ppl is only read where wrong.
    """
    return path_weights(-_log_ppl(ppl, wrong), wrong, group, tau, -1, mean_one)


def path_weights(
    mean_logp: Tensor, member: Tensor, group: Tensor, tau: float, ppl_sign: int, mean_one: bool = True
) -> Tensor:
    """w_i = PPL_i^(ppl_sign/tau) / sum over members j of i's group of PPL_j^(ppl_sign/tau), PPL_i = exp(-mean_logp_i), in log space.

    mean_logp: (N,) as `mean_logprob` gives it, read only where member. Otherwise as `student_path_weights`.
    """
    if not (tau > 0 and math.isfinite(tau)):
        raise ValueError(f"tau must be a finite number greater than 0, got {tau}")
    return group_softmax(-ppl_sign * mean_logp / tau, member, group, mean_one)


def group_softmax(score: Tensor, member: Tensor, group: Tensor, mean_one: bool = True) -> Tensor:
    """exp(score_i) / sum over members j of i's group of exp(score_j), zero outside the members.

    score: (N,) read only where member. member: (N,) bool. group: (N,) int. mean_one: times the number of members.
    Subtracts each group's largest score first, so nothing overflows. Returns (N,) float64.
    """
    if not score.shape == member.shape == group.shape or score.dim() != 1:
        shapes = f"{tuple(score.shape)}, {tuple(member.shape)}, {tuple(group.shape)}"
        raise ValueError(f"score, member and group must be the same (N,), got {shapes}")
    rows = torch.nonzero(member.bool()).squeeze(1)
    score_M = score[rows].double()
    if not score_M.isfinite().all():
        raise ValueError(f"rows {rows[~score_M.isfinite()].tolist()} have a score that is not finite")
    names, index = torch.unique(group[rows], return_inverse=True)
    top = torch.full((len(names),), -torch.inf, dtype=torch.float64).scatter_reduce(0, index, score_M, "amax")
    unnormalised = (score_M - top[index]).exp()
    share = 1 / torch.zeros(len(names), dtype=torch.float64).index_add(0, index, unnormalised)
    if mean_one:
        share *= torch.bincount(index, minlength=len(names))
    return torch.zeros_like(score, dtype=torch.float64).index_copy(0, rows, unnormalised * share[index])


def group_mean(value: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of value over i's group, and the group's size: (N,), (N,) -> (N,) float64, (N,) int."""
    _, index = torch.unique(group, return_inverse=True)
    size = torch.bincount(index)
    total = torch.zeros(len(size), dtype=torch.float64).index_add(0, index, value.double())
    return (total / size)[index], size[index]


def group_standardized(value: Tensor, group: Tensor, eps: float) -> Tensor:
    """(value_i - mean) / (std + eps) over i's group, std with n - 1 (GRPO, arXiv 2402.03300). Zero where a group has no contrast.

    value: (N,). group: (N,) int. A group may have shrunk to one member, which has nothing to be compared with: zero.
    Returns (N,) float64.
    """
    mean, size = group_mean(value, group)
    centred = value - mean
    variance = group_mean(centred**2, group)[0] * size / (size - 1).clamp(min=1)
    return torch.where(centred == 0, 0.0, centred / (variance.sqrt() + eps))


def group_leave_one_out(value: Tensor, group: Tensor) -> Tensor:
    """value_i - mean of the others of i's group (RLOO, arXiv 2402.14740). A group of one: zero. Returns (N,) float64."""
    mean, size = group_mean(value, group)
    return (value - mean) * size / (size - 1).clamp(min=1)


def _log_ppl(ppl: Tensor, member: Tensor) -> Tensor:
    if ppl.shape != member.shape:
        raise ValueError(f"ppl {tuple(ppl.shape)} and its set {tuple(member.shape)} must be the same (N,)")
    log = ppl.double().log()
    bad = member.bool() & ~log.isfinite()
    if bad.any():
        raise ValueError(f"ppl of rows {torch.nonzero(bad).flatten().tolist()} is not a finite positive number")
    return log
