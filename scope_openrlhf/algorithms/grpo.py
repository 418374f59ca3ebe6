"""GRPO (https://arxiv.org/abs/2402.03300): the verifier's reward, normalised inside the prompt's group.

A_i = (r_i - mean(r)) / (std(r) + eps) over the group of i, the same for every token of y_i; PPO clip. No teacher, no
KL. std is the sample deviation (n - 1), as in OpenRLHF and verl; a group without contrast has A = 0.
"""

from torch import Tensor

from scope_openrlhf.algorithms.base.policy_gradient import GrpoKnobs, PolicyGradient
from scope_openrlhf.equations import weights
from scope_openrlhf.equations.batch import Rollouts


class Grpo(PolicyGradient[GrpoKnobs]):
    Config = GrpoKnobs

    def advantages(self, rollouts: Rollouts) -> Tensor:
        return weights.group_standardized(rollouts.right_N.double(), rollouts.group_N, self.knobs.eps)


ALGORITHM = Grpo
