"""The driver's stage between rollouts and update: OpenRLHF's experience maker, with the algorithm's weights in it. [host]"""

from dataclasses import fields, replace

import torch
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from torch import Tensor

from scope_openrlhf.algorithms.base import Algorithm
from scope_openrlhf.batch import Rollouts, Signal
from scope_openrlhf.health import step_health
from scope_openrlhf.routing import mask_tails


class ScopeExperienceMaker(RemoteExperienceMaker):
    """Rollouts with the student's log-probs (OpenRLHF's forward) and the teacher's -> advantages, weights and paths."""

    def __init__(self, algorithm: Algorithm, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.algorithm = algorithm
        self.metrics: dict[str, float] = {}

    @torch.no_grad()
    def compute_advantages_and_returns(self, experiences):
        """Replaces OpenRLHF's reward shaping and advantage estimators by `Algorithm.weigh` over the whole step."""
        knobs = self.algorithm.config
        rollouts, dropped_N = collect_rollouts(experiences, self.args.rollout.n_samples_per_prompt)
        if knobs.truncated == "mask_tail":
            rollouts = replace(rollouts, mask_NT=mask_tails(rollouts.mask_NT, rollouts.truncated_N, knobs.masked_tail))
        signal, self.metrics = weigh_kept(self.algorithm, rollouts, ~dropped_N)
        for e in experiences:
            rows, width = torch.tensor(e.index), e.action_mask.shape[1]
            e.action_mask = rollouts.mask_NT[rows, :width].to(e.action_mask.dtype)
            e.advantages = signal.advantage_NT[rows, :width].float()
            e.returns = e.advantages
            e.info["weight"] = signal.weight_N[rows].float()
            e.info["path"] = signal.path_N[rows]
            e.info["return"] = e.rewards.float()
            del e.info["teacher_log_probs"]  # the loss needs none of it: its part is in the advantages
            e.kl = None
        return experiences


def weigh_kept(algorithm: Algorithm, rollouts: Rollouts, keep_N: Tensor) -> tuple[Signal, dict[str, float]]:
    """`Algorithm.weigh` and the step's metrics over the kept rollouts; the others get path -1 and leave their group's normalisation."""
    num = len(keep_N)
    signal = Signal(torch.zeros_like(rollouts.student_logp_NT), torch.zeros(num, dtype=torch.float64), torch.full((num,), -1))
    metrics = {"rollouts": float(num), "dropped": float((~keep_N).sum()), "truncated": float(rollouts.truncated_N.sum())}
    if keep_N.any():
        kept = rollouts.select(keep_N)
        of_kept = algorithm.weigh(kept)
        metrics |= step_health(kept, of_kept, algorithm.paths)
        for f in fields(Signal):
            whole = getattr(signal, f.name)
            whole[keep_N] = getattr(of_kept, f.name).to(whole.dtype)
    return signal, metrics


def collect_rollouts(experiences, samples_per_prompt: int) -> tuple[Rollouts, Tensor]:
    """Put the micro-batches of a step back into one table, in the order of the rollouts: row i is rollout i. And which are dropped."""
    num = sum(len(e.index) for e in experiences)
    width = max(e.action_mask.shape[1] for e in experiences)
    student, teacher = torch.zeros(num, width), torch.full((num, width), torch.nan)
    mask = torch.zeros(num, width, dtype=torch.bool)
    right, truncated, dropped = (torch.zeros(num, dtype=torch.bool) for _ in range(3))
    for e in experiences:
        for row, i in enumerate(e.index):
            t = e.action_mask.shape[1]
            student[i, :t] = e.action_log_probs[row]
            mask[i, :t] = e.action_mask[row].bool()
            score = e.info["teacher_log_probs"][row]
            teacher[i, : len(score)] = score
            right[i], truncated[i], dropped[i] = e.rewards[row] > 0.5, bool(e.truncated[row]), bool(e.info["dropped"][row])
    return Rollouts(student, teacher, mask, right, truncated, torch.arange(num) // samples_per_prompt), dropped
