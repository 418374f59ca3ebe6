"""Path weights and group advantages: pure torch, one function for each equation.

Axes: N rollouts, T response positions, M members of a set. A weight is always one of the loss; a model has params.
"""

import math

import torch
from torch import Tensor


def require_finite(mean: Tensor, member: Tensor) -> None:
    """Raise ValueError naming the members whose mean log-prob is not finite: a number that they need never came.

    mean: (N,). member: (N,) bool.
    """
    bad = member & ~mean.isfinite()
    if bad.any():
        raise ValueError(f"rows {torch.nonzero(bad).flatten().tolist()} hold a log-prob that is missing or not finite")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of each row under its mask: (N, T) of any float dtype, (N, T) -> (N,) float64. Of log-probs it is -log PPL.

    Not finite where a row holds such a value, or no token. Raises ValueError for shapes that disagree.
    """
    if values.shape != mask.shape or values.dim() != 2:
        raise ValueError(f"logprobs {tuple(values.shape)} and mask {tuple(mask.shape)} must be the same (N, T)")
    mask = mask.bool()
    # summed in the input's precision but never below float32: torch sums pairwise, so a row of 100,000 tokens loses no
    # digit that matters
    at_least_32 = values if values.dtype == torch.float64 else values.float()
    return torch.where(mask, at_least_32, 0.0).sum(dim=1).double() / mask.sum(dim=1, dtype=torch.int32)


def path_weights(mean_logp: Tensor, member: Tensor, group: Tensor, tau: float, ppl_sign: int) -> Tensor:
    """Path weights of SCOPE (arXiv 2604.10688), in log space.

        w_i = n PPL_i^(sign/tau) / sum over members j of i's group of PPL_j^(sign/tau),   PPL_i = exp(-mean_logp_i)
    sign is ppl_sign. n, the number of members in the group, makes their mean 1, as the published code does; the paper
    prints the same without n, see `groups_alike`. The paper's student path: the right ones of a group, PPL_S, sign 1,
    hard but right gets more. Its teacher path: the wrong ones, PPL_T, sign -1, teacher unsure gets less.
    mean_logp: (N,) as `masked_mean` gives it, read only where member. member: (N,) bool. group: (N,) int, the prompt of
    each rollout, in any order. Returns (N,) float64, zero where not member. Raises ValueError for tau <= 0, a member's
    mean_logp that is not finite, or shapes that disagree.
    """
    if not (tau > 0 and math.isfinite(tau)):
        raise ValueError(f"tau must be a finite number greater than 0, got {tau}")
    return group_softmax(-ppl_sign * mean_logp / tau, member, group)


def group_softmax(exponent: Tensor, member: Tensor, group: Tensor) -> Tensor:
    """n exp(exponent_i) / sum over the n members j of i's group of exp(exponent_j), zero outside the members.

    exponent: (N,) read only where member. member: (N,) bool. group: (N,) int. Subtracts each group's largest exponent
    first, so nothing overflows. Returns (N,) float64. Raises ValueError as `path_weights`.
    """
    if not exponent.shape == member.shape == group.shape or exponent.dim() != 1:
        shapes = f"{tuple(exponent.shape)}, {tuple(member.shape)}, {tuple(group.shape)}"
        raise ValueError(f"exponent, member and group must be the same (N,), got {shapes}")
    rows = torch.nonzero(member.bool()).squeeze(1)
    exponent_M = exponent[rows].double()
    if not exponent_M.isfinite().all():
        raise ValueError(f"rows {rows[~exponent_M.isfinite()].tolist()} have an exponent that is not finite")
    names, index = torch.unique(group[rows], return_inverse=True)
    top = torch.full((len(names),), -torch.inf, dtype=torch.float64).scatter_reduce(0, index, exponent_M, "amax")
    unnormalised = (exponent_M - top[index]).exp()
    share = 1 / torch.zeros(len(names), dtype=torch.float64).index_add(0, index, unnormalised)
    share *= torch.bincount(index, minlength=len(names))
    return torch.zeros_like(exponent, dtype=torch.float64).index_copy(0, rows, unnormalised * share[index])


def groups_alike(weight: Tensor, member: Tensor, group: Tensor) -> Tensor:
    """Weights of mean 1 in each group -> such that each group has the same in all: w_i M / (n_i G), (N,) float64.

    n_i: members in i's group; M: members in all; G: groups in all, those without a member too. w_i / n_i sums to 1 in a
    group. A path is divided by its M members (or their tokens), so M / G makes of that sum the mean over prompts: the
    expectation of the printed formula. weight: (N,), 0 where not member.
    """
    names, index = torch.unique(group, return_inverse=True)
    size = torch.zeros(len(names), dtype=torch.float64).index_add(0, index, member.double())
    return weight.double() * member.sum() / (size[index].clamp(min=1) * len(names))


def group_mean(value: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of value over i's group, and the group's size: (N,), (N,) -> (N,) float64, (N,) int."""
    _, index = torch.unique(group, return_inverse=True)
    size = torch.bincount(index)
    total = torch.zeros(len(size), dtype=torch.float64).index_add(0, index, value.double())
    return (total / size)[index], size[index]


def group_standardized(value: Tensor, group: Tensor, eps: float) -> Tensor:
    """(value_i - mean) / (std + eps) over i's group, std with n - 1 (GRPO, arXiv 2402.03300).

    value: (N,). group: (N,) int. Zero where a group has no contrast, or has shrunk to one member, which has nothing to
    be compared with. Returns (N,) float64.
    """
    mean, size = group_mean(value, group)
    centred = value - mean
    variance = group_mean(centred**2, group)[0] * size / (size - 1).clamp(min=1)
    return torch.where(centred == 0, 0.0, centred / (variance.sqrt() + eps))


def group_leave_one_out(value: Tensor, group: Tensor) -> Tensor:
    """value_i - mean of the others of i's group (RLOO, arXiv 2402.14740). A group of one: zero.

    value: (N,). group: (N,) int. Returns (N,) float64.
    """
    mean, size = group_mean(value, group)
    return (value - mean) * size / (size - 1).clamp(min=1)
