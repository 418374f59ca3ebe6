"""Plain on-policy distillation (https://arxiv.org/abs/2306.13649, sampled form): every rollout, right or wrong, alike.

loss = sum_i OPD(y_i), OPD = reverse KL(student || teacher) on the student's samples, by default as a policy gradient
with the per-token advantage log p_T(y_t) - log p_S,old(y_t) under the PPO clip.
"""

import torch

from scope_openrlhf.algorithms.base.contract import Algorithm, Asks
from scope_openrlhf.algorithms.base.distillation import DistilKnobs, distil
from scope_openrlhf.equations import weights
from scope_openrlhf.equations.batch import LossInput, Rollouts, Signal
from scope_openrlhf.equations.losses import Loss


class Opd(Algorithm[DistilKnobs]):
    Config = DistilKnobs
    paths = ("teacher",)
    uses_groups = False

    @property
    def asks(self) -> Asks:
        return Asks(teacher_scores=("right", "wrong"), top_k=self.knobs.top_k)

    def weigh(self, rollouts: Rollouts) -> Signal:
        weights.require_finite(rollouts.teacher_mean_N, torch.ones_like(rollouts.right_N))
        gap_NT = (rollouts.teacher_logp_NT - rollouts.student_logp_NT).masked_fill(~rollouts.mask_NT, 0.0)
        num = len(rollouts.right_N)
        return Signal(gap_NT, weight_N=torch.ones(num, dtype=torch.float64), path_N=torch.zeros(num, dtype=torch.long))

    def loss(self, batch: LossInput) -> dict[str, Loss]:
        return {"teacher": distil(batch, batch.weight_NT, self.knobs)}


ALGORITHM = Opd
