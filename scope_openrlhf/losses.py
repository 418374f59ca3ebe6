"""Token losses: pure torch, each returns the sum over its tokens and its metrics. The counts come from outside.

Axes: N rollouts, T response positions. weight_NT multiplies a token's loss and is zero off the path.
"""

import torch
from torch import Tensor


def weighted_mle(logp_NT: Tensor, weight_NT: Tensor) -> Tensor:
    """sum_i w_i * sum_t -log p_S(y_it). Scalar, with gradient to logp_NT."""
    return -(weight_NT * logp_NT).sum()


def clipped_surrogate(
    logp_NT: Tensor, old_logp_NT: Tensor, advantage_NT: Tensor, weight_NT: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """-sum w * min(r A, clip(r, 1 - low, 1 + high) A), r = exp(log p - log p_old): PPO, https://arxiv.org/abs/1707.06347.

    With A = log p_T - log p_S,old it is the sampled reverse KL(student || teacher) as a policy gradient: in expectation over
    the student's own samples its gradient at r = 1 is that of the KL. Returns (scalar loss, number of clipped tokens).
    """
    ratio = (logp_NT - old_logp_NT).clamp(-20.0, 20.0).exp()
    plain = ratio * advantage_NT
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantage_NT
    return -(weight_NT * torch.min(plain, clipped)).sum(), ((clipped < plain) & (weight_NT != 0)).sum()
