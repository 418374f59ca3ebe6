"""The driver's stage between rollouts and update: OpenRLHF's experience maker, with the algorithm's weights in it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import torch
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Algorithm
from scope_openrlhf.equations.batch import Rollouts, Signal
from scope_openrlhf.equations.health import step_health
from scope_openrlhf.equations.routing import mask_tails
from scope_openrlhf.equations.weights import require_finite
from scope_openrlhf.host import luggage
from scope_openrlhf.host.contexts import ContextScorer
from scope_openrlhf.host.sampled import Kept, kept_of
from scope_openrlhf.settings.resolved import Run
from scope_openrlhf.teacher.contract import TeacherError


class ScopeExperienceMaker(RemoteExperienceMaker):
    """Rollouts with the student's log-probs (OpenRLHF's forward) and the teacher's -> advantages, weights and paths."""

    def __init__(self, algorithm: Algorithm, run: Run, goes_on: Callable[[], None], *args, **kwargs) -> None:
        """goes_on: called as a teacher answers, so that whoever waits knows that something moves."""
        super().__init__(*args, **kwargs)
        self.algorithm = algorithm
        samples = self.args.rollout.n_samples_per_prompt
        self.health_every = run.health_every
        self.contexts = ContextScorer(algorithm, run, self.tokenizer, samples, self._student_logp, goes_on)
        self.metrics: dict[str, float] = {}
        """Metrics of the last step."""
        self.kept: list[Kept] = []
        """Rollouts of the last step that rollouts.jsonl keeps."""
        self.context_seconds = 0.0
        self.step = 0
        """Rollout batches trained on so far; the trainer sets it."""

    @torch.no_grad()
    def compute_advantages_and_returns(self, experiences):
        """Replaces OpenRLHF's reward shaping and advantage estimators by `Algorithm.weigh` over the whole step."""
        knobs = self.algorithm.knobs
        rollouts, dropped_N = collect_rollouts(experiences, self.args.rollout.n_samples_per_prompt)
        scored = self.contexts.score(experiences, rollouts, dropped_N, self.step)
        if scored.dropped_N.all():
            raise ValueError(nothing_left([row for e in experiences for row in luggage.scored_of(e)]))
        rollouts, self.context_seconds = scored.rollouts, scored.seconds
        if knobs.truncated == "mask_tail":
            mask_NT = mask_tails(rollouts.mask_NT, rollouts.truncated_N, knobs.masked_tail)
            rollouts = replace(rollouts, mask_NT=mask_NT)
        signal, metrics = weigh_kept(self.algorithm, rollouts, ~scored.dropped_N)
        self.metrics = metrics | scored.metrics
        self.kept = kept_of(rollouts, signal, self.algorithm.paths)
        health = self.health_every > 0 and self.step % self.health_every == 0
        for e in experiences:
            rows, width = torch.tensor(e.index), e.action_mask.shape[1]
            e.action_mask = rollouts.mask_NT[rows, :width].to(e.action_mask.dtype)
            e.advantages = signal.advantage_NT[rows, :width].float()
            e.returns = e.advantages
            luggage.pack_signal(e, signal.weight_N[rows], signal.path_N[rows], health)
            e.kl = None
        return experiences

    def _student_logp(self, batches: list[tuple[Tensor, Tensor, Tensor]]) -> list[Tensor]:
        """A forward of the training engine; see contexts.Forward."""
        names = ("sequences", "action_mask", "attention_mask")
        columns = {name: [batch[k] for batch in batches] for k, name in enumerate(names)}
        refs = self._dispatch_forward(self.actor_model_group, self.args.train.colocate_all, **columns)
        return self._flatten_results(refs, self.args.ds.ring_attn_size * self.args.ds.tensor_parallel_size)


def weigh_kept(algorithm: Algorithm, rollouts: Rollouts, keep_N: Tensor) -> tuple[Signal, dict[str, float]]:
    """`Algorithm.weigh` and the step's metrics over the kept rollouts.

    keep_N: (N,) bool, true for some; the others get path -1 and leave their group's normalisation.
    """
    num = len(keep_N)
    off = torch.zeros_like(rollouts.student_logp_NT), torch.zeros(num, dtype=torch.float64), torch.full((num,), -1)
    signal = Signal(*off)
    truncated = float(rollouts.truncated_N.sum())
    metrics = {"rollouts": float(num), "dropped": float((~keep_N).sum()), "truncated": truncated}
    require_finite(rollouts.student_mean_N, keep_N)
    kept = rollouts.select(keep_N)
    of_kept = algorithm.weigh(kept)
    for name in ("advantage_NT", "weight_N", "path_N"):
        whole = getattr(signal, name)
        whole[keep_N] = getattr(of_kept, name).to(whole.dtype)
    return signal, metrics | step_health(kept, of_kept, algorithm.paths) | of_kept.metrics


def nothing_left(rollouts: list[luggage.Scored]) -> str:
    """The error of a step whose rollouts were all dropped: how many for which reason, and what that asks for."""
    # what has no reason of its own was dropped by the contexts
    why = Counter(r.why_dropped or "the teacher gave no score under the algorithm's contexts" for r in rollouts)
    told = [f"{count} because {reason}" for reason, count in why.most_common(5)]
    undecided = list({r.attempt.problem.id: None for r in rollouts if r.undecided})
    if undecided:
        told.append(f"scope-grade audit says how the golds of rows {', '.join(undecided[:5])} are read")
    if luggage.CUT in why:
        told.append("raise openrlhf.rollout.max_new_tokens, or set algorithm.truncated=wrong")
    told += [str(r.score) for r in rollouts if isinstance(r.score, TeacherError)][:1]
    return f"all {len(rollouts)} rollouts of a step were dropped, so there is nothing to train on: {'; '.join(told)}"


def collect_rollouts(experiences, samples_per_prompt: int) -> tuple[Rollouts, Tensor]:
    """The micro-batches of a step as one table, in the order of the rollouts: row i is rollout i.

    Returns it, and which rollouts are dropped, (N,) bool.
    """
    num = sum(len(e.index) for e in experiences)
    width = max(e.action_mask.shape[1] for e in experiences)
    student, teacher = torch.zeros(num, width), torch.full((num, width), torch.nan)
    mask = torch.zeros(num, width, dtype=torch.bool)
    right, truncated, dropped = (torch.zeros(num, dtype=torch.bool) for _ in range(3))
    for e in experiences:
        rows, t = torch.tensor(e.index), e.action_mask.shape[1]
        student[rows, :t], mask[rows, :t] = e.action_log_probs, e.action_mask.bool()
        right[rows], truncated[rows], dropped[rows] = e.rewards > 0.5, e.truncated.bool(), luggage.dropped_of(e)
        for i, score in zip(e.index, luggage.teacher_logp_of(e), strict=True):
            # NaN, not zero, where there is no score: whoever reads it by mistake gets an error
            teacher[i, : len(score)] = score
    dropped |= ~mask.any(dim=1)  # a response may also have been cut off with its prompt
    return Rollouts(student, teacher, mask, right, truncated, torch.arange(num) // samples_per_prompt), dropped
