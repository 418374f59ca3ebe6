"""The nouns that move between the stages. Axes: N rollouts of a step, T response positions.

Example, two prompts with two rollouts each (T = 3, the first rollout has only two tokens):
    Rollouts(student_logp_NT=[[-.1, -.2, 0], ...], teacher_logp_NT=[[nan, nan, nan], [-.3, -.1, -2.], ...],
             mask_NT=[[1, 1, 0], [1, 1, 1], ...], right_N=[1, 0, 0, 1], truncated_N=[0, 0, 1, 0], group_N=[0, 0, 1, 1])
"""

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scope_openrlhf.equations.routing import Route
from scope_openrlhf.equations.weights import masked_mean, require_finite


@dataclass(frozen=True)
class Rollouts:
    """What the driver knows of a step's rollouts before their loss weights."""

    student_logp_NT: Tensor
    """log p of each response token by the student that sampled it, at the contract's temperature."""
    teacher_logp_NT: Tensor
    """The same by the teacher; a whole row is NaN where the algorithm asked for no score."""
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
    """For each of the algorithm's contexts at this step, log p of each response token by whoever scores it, shown the hint after the
    problem: (N, T). A whole row is NaN where the algorithm gave no hint."""

    @cached_property
    def student_mean_N(self) -> Tensor:
        """Mean of student_logp_NT over each rollout's tokens, float64: -log PPL_S."""
        return masked_mean(self.student_logp_NT, self.mask_NT)

    @cached_property
    def teacher_mean_N(self) -> Tensor:
        """The same of the teacher, -log PPL_T; not finite where there is no whole score."""
        return masked_mean(self.teacher_logp_NT, self.mask_NT)

    def scored_under(self, context: str) -> Tensor:
        """(N,) bool, which rollouts have a score under this context. Raises ValueError naming those whose score has holes."""
        logp_NT = self.context_logp[context]
        scored_N = (self.mask_NT & ~logp_NT.isnan()).any(dim=1)
        require_finite(masked_mean(logp_NT, self.mask_NT), scored_N)
        return scored_N

    def by_verdict(self, name: str, value_NT: Tensor, counts_N: Tensor | None = None) -> dict[str, float]:
        """{name_right, name_wrong}: means of a value over the response tokens of right and of wrong rollouts; NaN where there are none.

        counts_N: the rollouts to look at, (N,) bool; all of them by default.
        """
        member_N = torch.ones_like(self.right_N) if counts_N is None else counts_N
        return {f"{name}_{verdict}": value_NT[self.mask_NT & (member_N & of_N)[:, None]].mean().item()
                for verdict, of_N in (("right", self.right_N), ("wrong", ~self.right_N))}  # fmt: skip

    def select(self, keep_N: Tensor) -> "Rollouts":
        """The rollouts where keep_N is true."""
        tensors = {
            f.name: getattr(self, f.name)[keep_N] for f in fields(self) if f.name not in ("step", "context_logp")
        }
        return Rollouts(
            **tensors, step=self.step, context_logp={name: logp[keep_N] for name, logp in self.context_logp.items()}
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One rollout as text, for algorithms that show it, or its gold answer, under another context.

    Example: Attempt(prompt="1+1?", answer="2", response="... \\boxed{3}", extracted="3", route="wrong")
    """

    prompt: Any
    """As the dataset has it: text, or chat messages."""
    answer: str
    """Gold."""
    response: str
    extracted: str | None
    """The answer that the verifier found in the response."""
    route: Route
    """right, wrong, or drop: nobody knows, or it must not count."""
    truncated: bool = False
    trace: str = ""
    """The data's worked solution, where the algorithm asks for it."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What `Algorithm.weigh` makes of them: all that the loss will need. A rollout on no path (path -1) trains nothing."""

    advantage_NT: Tensor
    weight_N: Tensor
    path_N: Tensor
    """int, index into Algorithm.paths, or -1."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What the algorithm wants to see in metrics.jsonl, for instance where its schedule stands."""


@dataclass(frozen=True, slots=True)
class LossInput:
    """One micro-batch at the worker. Row i belongs to path_N[i]; weight_NT already holds the path weight and the mask."""

    logp_NT: Tensor
    old_logp_NT: Tensor
    advantage_NT: Tensor
    weight_NT: Tensor
    path_N: Tensor
    topk: "TopK | None" = None
    """Only where the algorithm's top_k asks for it."""


@dataclass(frozen=True, slots=True)
class TopK:
    """Log-probs of the teacher's K likeliest tokens at each position, and last (J = K + 1) of all others together. NaN where not scored."""

    student_logp_NTJ: Tensor
    """With gradient to the student's params."""
    teacher_logp_NTJ: Tensor
