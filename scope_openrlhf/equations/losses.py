"""Token losses: pure torch. Each returns the sum over its tokens and its metrics, also sums; counts come from outside.

Axes: N rollouts, T response positions, M positions in a row, V the vocabulary, K tokens of a position, J = K + 1 with
one bucket for all the others. weight_NT multiplies a token's loss and is zero off the path; metrics count the tokens of
another weight than 0 alike.
"""

import math

import torch
from torch import Tensor

from scope_openrlhf.equations.weights import masked_mean

Loss = tuple[Tensor, dict[str, Tensor]]
"""The token sum, with gradient, and metrics as token sums, without."""


def weighted_mle(logp_NT: Tensor, weight_NT: Tensor) -> Loss:
    """Weighted maximum likelihood, sum_i w_i * sum_t -log p_S(y_it). Scalar, with gradient to logp_NT.

    Metric: nll, the same with every weight 1.
    """
    return -(weight_NT * logp_NT).sum(), {"nll": -(logp_NT.detach() * (weight_NT != 0)).sum()}


def clipped_surrogate(
    logp_NT: Tensor,
    old_logp_NT: Tensor,
    advantage_NT: Tensor,
    weight_NT: Tensor,
    clip_low: float,
    clip_high: float,
    dual_clip: float = 0.0,
) -> Loss:
    """PPO, -sum w * min(r A, clip(r, 1 - low, 1 + high) A), r = exp(log p - log p_old).

    dual_clip: c; where A < 0 that minimum is no lower than c A, so that a token which became far likelier pulls no
    harder than c times (https://arxiv.org/abs/1912.09729); 0: no such bound.
    Source: https://arxiv.org/abs/1707.06347. With A = log p_T - log p_S,old it is the sampled reverse KL(student ||
    teacher) as a policy gradient: in expectation over the student's own samples its gradient at r = 1 is that of the
    KL. Scalar, with gradient to logp_NT. Metric: clip_ratio, tokens whose ratio the clip replaced.
    """
    ratio = (logp_NT - old_logp_NT).clamp(-20.0, 20.0).exp()
    plain = ratio * advantage_NT
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantage_NT
    taken, replaced = torch.min(plain, clipped), clipped < plain
    if dual_clip:
        lowest = torch.where(advantage_NT < 0, dual_clip * advantage_NT, -torch.inf)
        taken, replaced = torch.max(taken, lowest), replaced | (taken < lowest)
    return -(weight_NT * taken).sum(), {"clip_ratio": (replaced & (weight_NT != 0)).sum()}


def reverse_kl(
    logp_NT: Tensor, teacher_logp_NT: Tensor, weight_NT: Tensor, estimator: str, largest: float = 0.0
) -> Loss:
    """Reverse KL(student || teacher) as a direct loss on sampled tokens, http://joschu.net/blog/kl-approx.html.

    With d = log p_S - log p_T: k2 is d^2 / 2, whose gradient is that of the reverse KL on the student's own samples; k3
    is exp(-d) - 1 + d, never negative, whose gradient is that of the forward KL. teacher_logp_NT is read only where
    weight_NT is not 0. largest: k3 of a token counts no more, and has no gradient beyond; 0: no bound. Scalar, with
    gradient to logp_NT. Metric: kl, the estimate with every weight 1. Raises ValueError for k1: the gradient of d
    itself is that of log p_S, which holds no teacher and averages to zero.
    """
    gap_NT = torch.where(weight_NT != 0, logp_NT - teacher_logp_NT, 0.0)
    if estimator == "k2":
        kl_NT = gap_NT**2 / 2
    elif estimator == "k3":
        # clamped as the surrogate's ratio: the exponential must stay finite
        kl_NT = torch.expm1(-gap_NT.clamp(min=-20.0)) + gap_NT
        kl_NT = kl_NT.clamp(max=largest) if largest else kl_NT
    elif estimator == "k1":
        raise ValueError(
            "k1 as a loss does not depend on the teacher: its gradient is that of log p_S alone. "
            "Use k2, k3 or the policy gradient"
        )
    else:
        raise ValueError(f"estimator must be k2 or k3, got {estimator!r}")
    return (weight_NT * kl_NT).sum(), {"kl": kl_NT.detach().sum()}


def topk_kl(student_logp_NTJ: Tensor, teacher_logp_NTJ: Tensor, weight_NT: Tensor, direction: str) -> Loss:
    """KL over the teacher's K likeliest tokens and one bucket for all the others. Scalar, gradient to student_logp_NTJ.

    Both hold log-probs of the same K tokens at each position, and last the log of the mass of all other tokens, so that
    both are distributions and the value is never negative (without the bucket it is no KL). Positions of weight 0 are
    not read. direction: "reverse" = KL(student || teacher), "forward" = KL(teacher || student), "jsd" = the mean of the
    KLs of both to their mean (Jensen-Shannon, beta = 1/2 of arXiv 2306.13649); anything else is a ValueError.
    Metrics: kl with every weight 1, and student_tail, the student's mass in the bucket (a growing one is mass that the
    top K cannot steer).
    """
    on_NT = weight_NT != 0
    student, teacher = (torch.where(on_NT[..., None], x, 0.0) for x in (student_logp_NTJ, teacher_logp_NTJ))
    if direction == "reverse":
        kl_NT = _kl(student, teacher)
    elif direction == "forward":
        kl_NT = _kl(teacher, student)
    elif direction == "jsd":
        middle = torch.logaddexp(student, teacher) - math.log(2)
        kl_NT = (_kl(student, middle) + _kl(teacher, middle)) / 2
    else:
        raise ValueError(f"direction must be reverse, forward or jsd, got {direction!r}")
    metrics = {"kl": kl_NT.detach().sum(), "student_tail": (student.detach()[..., -1].exp() * on_NT).sum()}
    return (weight_NT * kl_NT).sum(), metrics


def _kl(p_NTJ: Tensor, q_NTJ: Tensor) -> Tensor:
    return (p_NTJ.exp() * (p_NTJ - q_NTJ)).sum(dim=-1)


def importance_weight(
    logp_NT: Tensor,
    rollout_logp_NT: Tensor,
    mask_NT: Tensor,
    level: str,
    mode: str,
    gating: str,
    low: float,
    high: float,
) -> tuple[Tensor, Tensor]:
    """Weight of each token's loss for the gap between the policy that trains and the one that sampled, (N, T).

    logp_NT: by the training engine. rollout_logp_NT: by the rollout engine (whose params may be older). With
    w = exp(logp - rollout_logp), a gate reads w itself or, of the sampled token, the binary KL or the total variation
    between the two (gating: ratio, binary_kl, tv), by token or as the mean over a rollout's tokens (level: token, seq;
    of w the geometric mean). mode "mask" gives w inside [low, high] and 0 outside, "clip" bounds w to [low, high].
    As OpenRLHF 0.11.2 defines it, after https://fengyao.notion.site/off-policy-rl. Also returns which tokens lie out of
    band, (N, T) bool.
    """
    gap_NT = torch.where(mask_NT, logp_NT - rollout_logp_NT, 0.0).detach()
    if gating == "ratio":
        stat_NT = gap_NT
    else:
        p, q = (torch.where(mask_NT, x, -1.0).detach().exp().clamp(1e-6, 1 - 1e-6) for x in (rollout_logp_NT, logp_NT))
        stat_NT = (p - q).abs() if gating == "tv" else p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    if level == "seq":
        stat_NT = masked_mean(stat_NT, mask_NT)[:, None].expand_as(gap_NT).to(gap_NT.dtype)
    stat_NT = stat_NT.exp() if gating == "ratio" else stat_NT
    outside_NT = ((stat_NT < low) | (stat_NT > high)) & mask_NT
    weight_NT = stat_NT.clamp(low, high) if mode == "clip" else torch.where(outside_NT, 0.0, gap_NT.exp())
    return torch.where(mask_NT, weight_NT, 0.0), outside_NT


def with_tail(logp_NTK: Tensor) -> Tensor:
    """The K log-probs and last the log of the mass that they leave, 1 - sum p: (..., K) -> (..., K + 1).

    A mass below 1e-7 counts as 1e-7. For the teacher, of whom no more is known. The student's bucket comes from its
    logits (vocabulary.py), which tell any mass.
    """
    tail = (1 - logp_NTK.exp().sum(dim=-1, keepdim=True)).clamp(min=1e-7)
    return torch.cat([logp_NTK, tail.log()], dim=-1)
