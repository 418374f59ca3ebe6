"""The nouns that move between the stages. Axes: N rollouts of a step, T response positions, J tokens of a position.

Example, two prompts with two rollouts each (T = 3, the first rollout has only two tokens):
    Rollouts(student_logp_NT=[[-.1, -.2, 0], ...], teacher_logp_NT=[[nan, nan, nan], [-.3, -.1, -2.], ...],
             mask_NT=[[1, 1, 0], [1, 1, 1], ...], right_N=[1, 0, 0, 1], truncated_N=[0, 0, 1, 0], group_N=[0, 0, 1, 1])
"""

from dataclasses import dataclass, field, fields
from functools import cached_property

import torch
from torch import Tensor

from scope_openrlhf.data.problem import Problem
from scope_openrlhf.equations.routing import Route
from scope_openrlhf.equations.weights import masked_mean, require_finite


@dataclass(frozen=True)
class Rollouts:
    """What the driver knows of a step's rollouts before their loss weights."""

    student_logp_NT: Tensor
    """Log-prob of each response token by the student that sampled it, at the contract's temperature."""
    teacher_logp_NT: Tensor
    """Log-prob of each response token by the teacher; a whole row is NaN where the algorithm asked for no score."""
    mask_NT: Tensor
    """bool, true on response tokens."""
    right_N: Tensor
    """bool, the verifier's verdict."""
    truncated_N: Tensor
    """bool, generation ended by length."""
    group_N: Tensor
    """int, the prompt of each rollout."""
    step: int = 0
    """Rollout batches trained on before this one: what a schedule depends on."""
    context_logp: dict[str, Tensor] = field(default_factory=dict)
    """For each of the algorithm's contexts at this step: (N, T), the log-prob of each response token by whoever scores
    it, shown the hint after the problem. A whole row is NaN where the algorithm gave no hint."""

    @cached_property
    def student_mean_N(self) -> Tensor:
        """Mean of student_logp_NT over each rollout's tokens, float64: -log PPL_S."""
        return masked_mean(self.student_logp_NT, self.mask_NT)

    @cached_property
    def teacher_mean_N(self) -> Tensor:
        """Mean of teacher_logp_NT over each rollout's tokens, float64: -log PPL_T; not finite without a whole score."""
        return masked_mean(self.teacher_logp_NT, self.mask_NT)

    def scored_under(self, context: str) -> Tensor:
        """Whether each rollout has a score under a context, (N,) bool. Raises ValueError naming rows with holes."""
        logp_NT = self.context_logp[context]
        scored_N = (self.mask_NT & ~logp_NT.isnan()).any(dim=1)
        require_finite(masked_mean(logp_NT, self.mask_NT), scored_N)
        return scored_N

    def by_verdict(self, name: str, value_NT: Tensor, counts_N: Tensor | None = None) -> dict[str, float]:
        """{name_right, name_wrong}: means of a value over the response tokens of right and of wrong rollouts.

        NaN where there are none. counts_N: the rollouts to look at, (N,) bool; all of them by default.
        """
        member_N = torch.ones_like(self.right_N) if counts_N is None else counts_N
        rows = ("right", member_N & self.right_N), ("wrong", member_N & ~self.right_N)
        return {f"{name}_{verdict}": value_NT[self.mask_NT & of_N[:, None]].mean().item() for verdict, of_N in rows}

    def select(self, keep_N: Tensor) -> "Rollouts":
        """The rollouts where keep_N, (N,) bool, is true; all of them are these very tensors."""
        if keep_N.all():
            return self
        names = [f.name for f in fields(self) if f.name not in ("step", "context_logp")]
        tensors = {name: getattr(self, name)[keep_N] for name in names}
        contexts = {name: logp_NT[keep_N] for name, logp_NT in self.context_logp.items()}
        return Rollouts(**tensors, step=self.step, context_logp=contexts)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One rollout as text, for algorithms that show it, or what is known of its problem, under another context.

    Example: Attempt(Problem(id="train-7", prompt="1+1?", answer="2"), "... \\boxed{3}", extracted="3", route="wrong")
    """

    problem: Problem
    response: str
    extracted: str | None
    """The answer that the verifier found in the response."""
    route: Route
    """right, wrong, or drop: nobody knows, or it must not count."""
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """What `Algorithm.weigh` makes of Rollouts: all that the loss will need. Path -1: on no path, trains nothing."""

    advantage_NT: Tensor
    weight_N: Tensor
    path_N: Tensor
    """int, index into Algorithm.paths, or -1."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What the algorithm wants to see in metrics.jsonl, for instance where its schedule stands."""


@dataclass(frozen=True, slots=True)
class TopK:
    """Log-probs of the teacher's K likeliest tokens at each position, and last of all others together (J = K + 1).

    NaN where not scored.
    """

    student_logp_NTJ: Tensor
    """With gradient to the student's params."""
    teacher_logp_NTJ: Tensor


@dataclass(frozen=True, slots=True)
class LossInput:
    """One micro-batch at the worker. Row i belongs to path_N[i]; weight_NT holds the path weight and the mask."""

    logp_NT: Tensor
    old_logp_NT: Tensor
    advantage_NT: Tensor
    weight_NT: Tensor
    path_N: Tensor
    topk: TopK | None = None
    """Only where the algorithm asks for a top k."""
