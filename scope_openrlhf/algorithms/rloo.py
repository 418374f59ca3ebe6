"""RLOO (https://arxiv.org/abs/2402.14740): the verifier's reward minus the mean reward of the prompt's other rollouts.

A_i = r_i - 1/(n - 1) * sum_{j != i} r_j, the same for every token of y_i; PPO clip. OpenRLHF's estimator `rloo`,
without its KL.
"""

from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Knobs
from scope_openrlhf.algorithms.base.policy_gradient import PolicyGradient
from scope_openrlhf.equations import weights
from scope_openrlhf.equations.batch import Rollouts


class Rloo(PolicyGradient[Knobs]):
    def advantages(self, rollouts: Rollouts) -> Tensor:
        return weights.group_leave_one_out(rollouts.right_N.double(), rollouts.group_N)


ALGORITHM = Rloo
