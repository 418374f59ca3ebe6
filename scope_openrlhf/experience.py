"""The driver's stage between rollouts and update: OpenRLHF's experience maker, with the algorithm's weights in it. [host]"""

import torch
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

from scope_openrlhf.algorithms.base import Algorithm
from scope_openrlhf.batch import Rollouts
from scope_openrlhf.health import step_health


class ScopeExperienceMaker(RemoteExperienceMaker):
    """Rollouts with the student's log-probs (OpenRLHF's forward) and the teacher's -> advantages, weights and paths."""

    def __init__(self, algorithm: Algorithm, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.algorithm = algorithm
        self.metrics: dict[str, float] = {}

    @torch.no_grad()
    def compute_advantages_and_returns(self, experiences):
        """Replaces OpenRLHF's reward shaping and advantage estimators by `Algorithm.weigh` over the whole step."""
        rollouts = collect_rollouts(experiences, self.args.rollout.n_samples_per_prompt)
        signal = self.algorithm.weigh(rollouts)
        self.metrics = step_health(rollouts, signal, self.algorithm.paths)
        for e in experiences:
            rows, width = torch.tensor(e.index), e.action_mask.shape[1]
            e.advantages = signal.advantage_NT[rows, :width].float()
            e.returns = e.advantages
            e.info["weight"] = signal.weight_N[rows].float()
            e.info["path"] = signal.path_N[rows]
            e.info["return"] = e.rewards.float()
            del e.info["teacher_log_probs"]  # the loss needs none of it: its part is in the advantages
            e.kl = None
        return experiences


def collect_rollouts(experiences, samples_per_prompt: int) -> Rollouts:
    """Put the micro-batches of a step back into one table, in the order of the rollouts: row i is rollout i."""
    num = sum(len(e.index) for e in experiences)
    width = max(e.action_mask.shape[1] for e in experiences)
    student, teacher = torch.zeros(num, width), torch.full((num, width), torch.nan)
    mask = torch.zeros(num, width, dtype=torch.bool)
    right, truncated = torch.zeros(num, dtype=torch.bool), torch.zeros(num, dtype=torch.bool)
    for e in experiences:
        for row, i in enumerate(e.index):
            t = e.action_mask.shape[1]
            student[i, :t] = e.action_log_probs[row]
            mask[i, :t] = e.action_mask[row].bool()
            score = e.info["teacher_log_probs"][row]
            teacher[i, : len(score)] = score
            right[i], truncated[i] = e.rewards[row] > 0.5, bool(e.truncated[row])
    return Rollouts(student, teacher, mask, right, truncated, torch.arange(num) // samples_per_prompt)
