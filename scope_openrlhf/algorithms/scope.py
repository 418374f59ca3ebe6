"""SCOPE (arXiv 2604.10688): maximum likelihood on right rollouts, on-policy distillation on wrong ones, both weighted.

    loss = sum_{i right} w_i * MLE(y_i) + sum_{i wrong} w_i * OPD(y_i)
    student path  w_i = PPL_S(y_i)^(1/tau)  normalised over the right ones of the group   hard but right gets more
    teacher path  w_i = PPL_T(y_i)^(-1/tau) normalised over the wrong ones of the group   teacher unsure gets less
    MLE = -log p_S; OPD = reverse KL(student || teacher) on the student's samples, by default as a policy gradient with
    the per-token advantage log p_T(y_t) - log p_S,old(y_t) under the PPO clip.

`preset: released` takes over what the published code does to the weights: its scripts give the student path
PPL_S^(-1/tau), the opposite of the paper. Both have mean weight 1 in their set. A published run also compares a teacher
at temperature 1 with a student at the rollout temperature (`teacher.temperature=1` here), and takes each path's mean
over a micro-batch, which makes the loss depend on packing and is not offered.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from scope_openrlhf.algorithms.base.contract import Algorithm, Asks
from scope_openrlhf.algorithms.base.distillation import DistilKnobs, distil
from scope_openrlhf.equations import losses, weights
from scope_openrlhf.equations.batch import LossInput, Rollouts, Signal
from scope_openrlhf.equations.losses import Loss
from scope_openrlhf.settings.ranges import Positive

SIGNS = {"paper": (1, -1), "released": (-1, -1)}
"""Of PPL_S and PPL_T in the exponents of the weights, by preset."""


@dataclass(frozen=True, kw_only=True)
class ScopeKnobs(DistilKnobs):
    tau: Positive = 1.0
    """Temperature of the path weights: large is uniform, small lets one rollout of a group take all."""
    preset: Literal["paper", "released"] = "paper"
    """released: the signs of the published scripts, whose student path is PPL_S^(-1/tau), the opposite of the paper."""
    student_ppl_sign: Literal[-1, 0, 1] = 0
    """+1: hard but right gets more (paper); -1: less (released); 0: as the preset says."""
    teacher_ppl_sign: Literal[-1, 0, 1] = 0
    """-1: an unsure teacher gets less (paper and released); +1: more; 0: as the preset says."""
    student_path_weights: bool = True
    """False: every right rollout weighs 1."""
    teacher_path_weights: bool = True
    """False: every wrong rollout weighs 1."""
    sequence_weights: bool = True
    """False: both of the above are off, whatever they say."""

    @property
    def signs(self) -> tuple[int, int]:
        """Signs of PPL_S and PPL_T in the exponents of the weights."""
        student, teacher = SIGNS[self.preset]
        return self.student_ppl_sign or student, self.teacher_ppl_sign or teacher


class Scope(Algorithm[ScopeKnobs]):
    Config = ScopeKnobs
    paths = ("student", "teacher")

    @property
    def asks(self) -> Asks:
        return Asks(teacher_scores=("wrong",), top_k=self.knobs.top_k)

    def weigh(self, rollouts: Rollouts) -> Signal:
        knobs, right, wrong = self.knobs, rollouts.right_N, ~rollouts.right_N
        # -log PPL; right rollouts were never scored by the teacher
        logp_S, logp_T = rollouts.student_mean_N, rollouts.teacher_mean_N
        weights.require_finite(logp_T, wrong)
        sign_S, sign_T = knobs.signs
        weight_N = torch.ones(len(right), dtype=torch.float64)
        if knobs.student_path_weights and knobs.sequence_weights:
            weight_N[right] = weights.path_weights(logp_S, right, rollouts.group_N, knobs.tau, sign_S)[right]
        if knobs.teacher_path_weights and knobs.sequence_weights:
            weight_N[wrong] = weights.path_weights(logp_T, wrong, rollouts.group_N, knobs.tau, sign_T)[wrong]
        on_teacher_path = wrong[:, None] & rollouts.mask_NT
        gap_NT = (rollouts.teacher_logp_NT - rollouts.student_logp_NT).masked_fill_(~on_teacher_path, 0.0)
        return Signal(advantage_NT=gap_NT, weight_N=weight_N, path_N=wrong.long())

    def loss(self, batch: LossInput) -> dict[str, Loss]:
        student_NT, teacher_NT = (batch.weight_NT * (batch.path_N == p)[:, None] for p in (0, 1))
        return {
            "student": losses.weighted_mle(batch.logp_NT, student_NT),
            "teacher": distil(batch, teacher_NT, self.knobs),
        }


ALGORITHM = Scope
