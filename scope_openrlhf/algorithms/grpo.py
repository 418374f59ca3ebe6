"""GRPO (https://arxiv.org/abs/2402.03300): the verifier's reward, normalised inside the prompt's group. No teacher, no KL.

A_i = (r_i - mean(r)) / (std(r) + eps) over the group of i, the same for every token of y_i; PPO clip. std is the sample
deviation (n - 1), as in OpenRLHF and verl; a group without contrast has A = 0.
"""

from dataclasses import dataclass

from torch import Tensor

from scope_openrlhf.algorithms.base import Clip, PolicyGradient
from scope_openrlhf.equations import weights
from scope_openrlhf.equations.batch import Rollouts


class Grpo(PolicyGradient):
    @dataclass(frozen=True, kw_only=True)
    class Config(Clip):
        eps: float = 1e-6
        """Added to the group's standard deviation."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.eps >= 0:
                raise ValueError(f"algorithm.eps must not be negative, got {self.eps}")

    def advantages(self, rollouts: Rollouts) -> Tensor:
        c: Grpo.Config = self.config  # type: ignore[assignment]
        return weights.group_standardized(rollouts.right_N.double(), rollouts.group_N, c.eps)


ALGORITHM = Grpo
