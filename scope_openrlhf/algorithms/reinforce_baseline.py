"""REINFORCE++-baseline (https://arxiv.org/abs/2501.03262): reward minus its group's mean, then whitened over the step.

A_i = r_i - mean(r) over the group of i; then A <- (A - mean) / std over all response tokens of the step; PPO clip.
OpenRLHF's estimator `reinforce_baseline`, without its KL. A step in which no group has contrast has A = 0.
"""

import torch
from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Knobs
from scope_openrlhf.algorithms.base.policy_gradient import PolicyGradient
from scope_openrlhf.equations import weights
from scope_openrlhf.equations.batch import Rollouts


class ReinforceBaseline(PolicyGradient[Knobs]):
    def advantages(self, rollouts: Rollouts) -> Tensor:
        reward_N = rollouts.right_N.double()
        centred_N = reward_N - weights.group_mean(reward_N, rollouts.group_N)[0]
        tokens_N = rollouts.mask_NT.sum(dim=1).double()
        mean = (centred_N * tokens_N).sum() / tokens_N.sum()
        variance = ((centred_N - mean) ** 2 * tokens_N).sum() / tokens_N.sum()
        return (centred_N - mean) * torch.rsqrt(variance.clamp(min=1e-8))


ALGORITHM = ReinforceBaseline
