"""SCOPE (arXiv 2604.10688): maximum likelihood on right rollouts, on-policy distillation on wrong ones, both weighted.

    loss = sum_{i right} w_i * MLE(y_i) + sum_{i wrong} w_i * OPD(y_i)
    student path  w_i = PPL_S(y_i)^(1/tau)  normalised over the right ones of the group   hard but right gets more
    teacher path  w_i = PPL_T(y_i)^(-1/tau) normalised over the wrong ones of the group   teacher unsure gets less
    MLE = -log p_S; OPD = reverse KL(student || teacher) on the student's samples, by default as a policy gradient with
    the per-token advantage log p_T(y_t) - log p_S,old(y_t) under the PPO clip.

The weights come in three forms. By default (`group_scale: mean_one`) those of a group have the mean 1, so each rollout
counts alike, whichever group it is in. `preset: paper` is the formula as it is printed: those of a group sum to 1, so
each prompt counts alike, and the only right one of eight has as much of the student path as eight right ones together.
`preset: released` is the published code: mean 1, the opposite sign on the student path (PPL_S^(-1/tau)), a policy
gradient under a dual clip and divided by all response tokens of the step. The first is the default: the published
code scales so, and its weights vary less; only its signs are the paper's.

A published run also compares a teacher at temperature 1 with a student at the rollout temperature
(`teacher.temperature=1` here), and takes its means over a micro-batch, which makes the loss depend on packing and is
not offered.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Algorithm, Asks
from scope_openrlhf.algorithms.base.distillation import DistilKnobs, distil
from scope_openrlhf.equations import losses, weights
from scope_openrlhf.equations.batch import LossInput, Rollouts, Signal
from scope_openrlhf.equations.losses import Loss
from scope_openrlhf.settings.ranges import Positive


@dataclass(frozen=True, kw_only=True)
class ScopeKnobs(DistilKnobs):
    tau: Positive = 1.0
    """Temperature of the path weights: large is uniform, small lets one rollout of a group take all."""
    preset: Literal["none", "paper", "released"] = "none"
    """Short for other knobs, which come first where they are set. paper: group_scale sum_one, the formula as printed.
    released: what the published code does, student_ppl_sign -1, and with policy_gradient teacher_denominator all and
    dual_clip 3, with k3 kl_clamp 10. none: as each knob says."""
    group_scale: Literal["mean_one", "sum_one"] = "mean_one"
    """mean_one: the weights of a group's path have the mean 1, so each rollout counts alike and a prompt by how many
    it has on the path. sum_one: each prompt counts alike, however many it has there (as printed)."""
    student_ppl_sign: Literal[-1, 1] = 1
    """+1: hard but right gets more (paper); -1: less (released)."""
    teacher_ppl_sign: Literal[-1, 1] = -1
    """-1: an unsure teacher gets less (paper and released); +1: more."""
    student_path_weights: bool = True
    """False: every right rollout weighs 1."""
    teacher_path_weights: bool = True
    """False: every wrong rollout weighs 1."""
    sequence_weights: bool = True
    """False: both of the above are off, whatever they say."""
    teacher_denominator: Literal["path", "all"] = "path"
    """What the teacher path's policy gradient is divided by. path: its own count. all: every response token of the step
    (released), which makes it weaker the more rollouts are right."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"group_scale": "sum_one"},
        "released": {"student_ppl_sign": -1},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher_denominator == "all" and (self.divergence, self.normalize) != ("policy_gradient", "tokens"):
            raise ValueError(
                "algorithm.teacher_denominator all counts tokens under divergence policy_gradient; set "
                "algorithm.teacher_denominator=path with another divergence or normalize=sequences"
            )

    @classmethod
    def preset_of(cls, knobs: dict[str, Any]) -> dict[str, Any]:
        preset = super().preset_of(knobs)
        if knobs.get("preset") != "released":
            return preset
        of_divergence: dict[str, dict[str, Any]] = {
            "policy_gradient": {"dual_clip": 3.0, "teacher_denominator": "all"},
            "k3": {"kl_clamp": 10.0},
        }
        return preset | of_divergence.get(knobs.get("divergence", "policy_gradient"), {})


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
        weighted = knobs.sequence_weights
        weight_N = torch.where(
            right,
            self._weigh(logp_S, right, rollouts, knobs.student_ppl_sign, weighted and knobs.student_path_weights),
            self._weigh(logp_T, wrong, rollouts, knobs.teacher_ppl_sign, weighted and knobs.teacher_path_weights),
        )
        on_teacher_path = wrong[:, None] & rollouts.mask_NT
        gap_NT = (rollouts.teacher_logp_NT - rollouts.student_logp_NT).masked_fill_(~on_teacher_path, 0.0)
        if knobs.teacher_denominator == "all":
            # the host divides by the path's tokens, so this leaves all of them below the line
            gap_NT *= on_teacher_path.sum().item() / rollouts.mask_NT.sum().item()
        # a weight that float32 takes for 0 trains nothing, so it counts in no denominator
        path_N = torch.where(weight_N.float() > 0, wrong.long(), -1)
        return Signal(advantage_NT=gap_NT, weight_N=weight_N, path_N=path_N)

    def _weigh(self, mean_logp_N: Tensor, member_N: Tensor, rollouts: Rollouts, sign: int, weighted: bool) -> Tensor:
        """The weights of a path's members by their mean log-probs, (N,); 0 for the others."""
        group_N = rollouts.group_N
        weight_N = member_N.double()
        if weighted:
            weight_N = weights.path_weights(mean_logp_N, member_N, group_N, self.knobs.tau, sign)
        return weights.groups_alike(weight_N, member_N, group_N) if self.knobs.group_scale == "sum_one" else weight_N

    def loss(self, batch: LossInput) -> dict[str, Loss]:
        student_NT, teacher_NT = (batch.weight_NT * (batch.path_N == p)[:, None] for p in (0, 1))
        return {
            "student": losses.weighted_mle(batch.logp_NT, student_NT),
            "teacher": distil(batch, teacher_NT, self.knobs),
        }


ALGORITHM = Scope
