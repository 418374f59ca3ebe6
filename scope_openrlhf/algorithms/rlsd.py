"""RLSD (arXiv 2604.03128): GRPO whose advantage is spread over the tokens by what the student itself, told the answer, thinks of them.

    A_t = A_i * [(1 - lambda) + lambda * clip(w_t, 1 - eps_w, 1 + eps_w)],   w_t = exp(sign(A_i) * delta_t)
    delta_t = log P_T+(y_t) - log P_S(y_t),   P_T+ = the student shown the gold answer after the problem; no gradient through w
A_i is GRPO's advantage. lambda falls linearly from `mix` to 0 over `mix_steps` steps, after which it is GRPO.

The published code differs from the paper in two things: its lambda ends after 60 steps, not 50 (`mix_steps`), and its P_T+ is a copy of the
student that is renewed every 20 steps. Here it is the student of the moment, or with `context_scorer=initial` a copy that stays as it was.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from scope_openrlhf.algorithms.base import Contexts
from scope_openrlhf.algorithms.grpo import Grpo
from scope_openrlhf.equations import weights
from scope_openrlhf.equations.batch import Attempt, Rollouts, Signal


class Rlsd(Grpo):
    @dataclass(frozen=True, kw_only=True)
    class Config(Contexts, Grpo.Config):
        mix: float = 0.5
        """lambda at the first step."""
        mix_steps: int = 50
        """Steps until lambda is 0."""
        clip_weight: float = 0.2
        """eps_w: a token's advantage is multiplied by no less than 1 - eps_w and no more than 1 + eps_w."""
        hint: str = "\n\nThe correct answer is {answer}."
        """Put after the problem for P_T+; {answer} is the gold answer."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (0 <= self.mix <= 1 and self.mix_steps >= 1 and 0 < self.clip_weight < 1):
                raise ValueError(
                    "algorithm.mix and algorithm.clip_weight must lie between 0 and 1 and algorithm.mix_steps be at least 1, "
                    f"got {self.mix}, {self.clip_weight}, {self.mix_steps}"
                )
            if "{answer}" not in self.hint:
                raise ValueError(f"algorithm.hint must contain {{answer}}, got {self.hint!r}")

    contexts: ClassVar[tuple[str, ...]] = ("with_answer",)

    def lambda_at(self, step: int) -> float:
        """lambda after `step` rollout batches: a function of the step, which checkpoints hold."""
        c: Rlsd.Config = self.config  # type: ignore[assignment]
        return c.mix * max(0.0, 1 - step / c.mix_steps)

    def contexts_at(self, step: int) -> tuple[str, ...]:
        return self.contexts if self.lambda_at(step) else ()

    def hint(self, context: str, i: int, group: list[Attempt]) -> str | None:
        c: Rlsd.Config = self.config  # type: ignore[assignment]
        return c.hint.replace("{answer}", group[i].answer)

    def delta(self, rollouts: Rollouts) -> Tensor:
        """(N, T), read on response tokens alone. Raises ValueError where a log-prob is missing."""
        hinted_NT = rollouts.context_logp["with_answer"]
        weights.require_finite(weights.masked_mean(hinted_NT, rollouts.mask_NT), torch.ones_like(rollouts.right_N))
        return hinted_NT - rollouts.student_logp_NT

    def weigh(self, rollouts: Rollouts) -> Signal:
        c: Rlsd.Config = self.config  # type: ignore[assignment]
        grpo, mix = super().weigh(rollouts), self.lambda_at(rollouts.step)
        if not mix:
            return replace(grpo, metrics={"mix": 0.0})
        delta_NT = self.delta(rollouts).masked_fill(~rollouts.mask_NT, 0.0)
        weight_NT = (grpo.advantage_NT.sign() * delta_NT).exp().clamp(1 - c.clip_weight, 1 + c.clip_weight)
        # the paper's bracket, so ordered that w = 1 leaves the advantage as it is to the last bit
        advantage_NT = grpo.advantage_NT * (1 + mix * (weight_NT - 1))
        return replace(grpo, advantage_NT=advantage_NT, metrics={"mix": mix} | rollouts.by_verdict("delta", delta_NT))


ALGORITHM = Rlsd
