"""Policy gradient on one path: what GRPO, RLOO and their kin share."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Algorithm, K, Knobs
from scope_openrlhf.equations import losses
from scope_openrlhf.equations.batch import LossInput, Rollouts, Signal
from scope_openrlhf.equations.losses import Loss
from scope_openrlhf.settings.ranges import NotNegative


class PolicyGradient(Algorithm[K]):
    """Algorithms whose loss is the clipped surrogate of the advantage that `advantages` gives."""

    paths = ("policy",)

    @abstractmethod
    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(N,), the advantage of every token of a rollout."""

    def weigh(self, rollouts: Rollouts) -> Signal:
        return on_one_path(rollouts, self.advantages(rollouts)[:, None])

    def loss(self, batch: LossInput) -> dict[str, Loss]:
        return {"policy": surrogate(batch, batch.weight_NT, self.knobs)}


@dataclass(frozen=True, kw_only=True)
class GrpoKnobs(Knobs):
    """Knobs of GRPO, and of GRPO on other prompts."""

    eps: NotNegative = 1e-6
    """Added to the group's standard deviation."""


def on_one_path(rollouts: Rollouts, advantage_NT: Tensor) -> Signal:
    """Every rollout on path 0 with weight 1. advantage_NT: (N, T) or (N, 1); it becomes 0 off the mask."""
    num = len(rollouts.right_N)
    return Signal(
        advantage_NT=torch.where(rollouts.mask_NT, advantage_NT, 0.0),
        weight_N=torch.ones(num, dtype=torch.float64),
        path_N=torch.zeros(num, dtype=torch.long),
    )


def surrogate(batch: LossInput, weight_NT: Tensor, knobs: Knobs) -> Loss:
    """The PPO surrogate of a micro-batch, see losses.clipped_surrogate, with the knobs' clip."""
    return losses.clipped_surrogate(
        batch.logp_NT,
        batch.old_logp_NT,
        batch.advantage_NT,
        weight_NT,
        knobs.clip_low,
        knobs.clip_high,
        knobs.dual_clip,
    )
