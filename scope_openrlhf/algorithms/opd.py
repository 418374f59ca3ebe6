"""Plain on-policy distillation (https://arxiv.org/abs/2306.13649, sampled form): every rollout, right or wrong, alike.

loss = sum_i OPD(y_i), OPD = reverse KL(student || teacher) on the student's samples, as a policy gradient with the per-token
advantage log p_T(y_t) - log p_S,old(y_t) under the PPO clip.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scope_openrlhf import losses, weights
from scope_openrlhf.algorithms.base import Algorithm, Clip
from scope_openrlhf.batch import LossInput, Rollouts, Signal


class Opd(Algorithm):
    @dataclass(frozen=True, kw_only=True)
    class Config(Clip):
        pass

    paths = ("teacher",)
    uses_teacher = True
    uses_groups = False

    def needs_teacher(self, right: bool) -> bool:
        return True

    def weigh(self, rollouts: Rollouts) -> Signal:
        weights.mean_logprob(rollouts.teacher_logp_NT, rollouts.mask_NT)  # raises where a score is missing
        gap_NT = (rollouts.teacher_logp_NT - rollouts.student_logp_NT).masked_fill(~rollouts.mask_NT, 0.0)
        num = len(rollouts.right_N)
        return Signal(gap_NT, weight_N=torch.ones(num, dtype=torch.float64), path_N=torch.zeros(num, dtype=torch.long))

    def loss(self, batch: LossInput) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        c: Opd.Config = self.config  # type: ignore[assignment]
        loss, clipped = losses.clipped_surrogate(
            batch.logp_NT, batch.old_logp_NT, batch.advantage_NT, batch.weight_NT, c.clip_low, c.clip_high
        )
        return {"teacher": loss}, {"clipped_tokens": clipped}


ALGORITHM = Opd
