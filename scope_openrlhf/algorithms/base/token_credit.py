"""Token credit: GRPO whose advantage is spread over the tokens by what a hinted student thinks of each of them.

    A_t = A_i * [(1 - lambda) + lambda * clip(w_t, 1 - eps_w, 1 + eps_w)],   w_t = exp(sign(A_i) * delta_t)
A_i is GRPO's advantage. lambda falls linearly from `mix` to 0 over `mix_steps` steps, after which it is GRPO; it may
rise from 0 before that (`mix_warmup`), or stay (`mix_steps: 0`). What RLSD (arXiv 2604.03128) and CEPO (arXiv
2605.19436) share; they differ in delta_t. No gradient goes through w.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Algorithm, Knobs, Scorer
from scope_openrlhf.algorithms.base.hints import check_hint
from scope_openrlhf.algorithms.base.policy_gradient import on_one_path, surrogate
from scope_openrlhf.equations import weights
from scope_openrlhf.equations.batch import LossInput, Rollouts, Signal
from scope_openrlhf.equations.losses import Loss
from scope_openrlhf.equations.metric_definitions import Metric
from scope_openrlhf.settings.ranges import CountOrZero, Inside, NotNegative, ShareOrZero


@dataclass(frozen=True, kw_only=True)
class TokenCreditKnobs(Knobs):
    """Knobs of RLSD and CEPO. Their papers differ in `mix_steps` and `clip_weight`; the values here are RLSD's."""

    preset: Literal["none", "released"] = "none"
    """released: short for what the published code sets; what is set beside it comes first. none: as each knob says."""
    eps: NotNegative = 1e-6
    """Added to the group's standard deviation."""
    context_scorer: Scorer = "student"
    """Who scores the hinted rollouts: the student as it is now, in its training engine; initial: a copy of it as it was
    at the start, in a teacher group; or the teacher."""
    mix: ShareOrZero = 0.5
    """lambda at its highest, where it begins to fall."""
    mix_steps: CountOrZero = 50
    """Steps in which lambda falls to 0. 0: it stays."""
    mix_warmup: CountOrZero = 0
    """Steps in which lambda rises from 0 before that."""
    mix_first_step: Literal[0, 1] = 0
    """Number of the first step in this schedule. 1: it starts one step on, as in RLSD's code."""
    clip_weight: Inside = 0.2
    """eps_w: a token's advantage is multiplied by no less than 1 - eps_w and no more than 1 + eps_w."""
    hint: str = "\n\nThe correct answer is {answer}."
    """Put after the problem for the student that is told an answer, which stands for {answer}."""

    FILLS: ClassVar[tuple[str, ...]] = ("answer",)
    """Placeholders that the hint may have."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_hint(self.hint, self.FILLS)


C = TypeVar("C", bound=TokenCreditKnobs)


class TokenCredit(Algorithm[C]):
    """Algorithms that ask for contexts and make of their log-probs what `delta` says."""

    paths = ("policy",)
    metrics = (
        Metric("mix", "lambda: how much of the advantage is spread by the token.", "value at the step"),
        Metric(
            "delta_<verdict>",
            "What the hint adds to the log-prob of a token (CEPO: the right answer instead of a wrong one). If right "
            "and wrong do not differ in the first step, the model does not read its hints.",
            "mean over the response tokens of right and of wrong rollouts",
        ),
    )

    @abstractmethod
    def delta(self, rollouts: Rollouts) -> Tensor:
        """(N, T), read on response tokens alone. Raises ValueError where a log-prob is missing."""

    def lambda_at(self, step: int) -> float:
        """lambda after `step` rollout batches: a function of the step, which checkpoints hold."""
        knobs, number = self.knobs, step + self.knobs.mix_first_step
        if number < knobs.mix_warmup:
            return knobs.mix * number / knobs.mix_warmup
        if not knobs.mix_steps:
            return knobs.mix
        return knobs.mix * max(0.0, 1 - (number - knobs.mix_warmup) / knobs.mix_steps)

    def contexts_at(self, step: int) -> tuple[str, ...]:
        return self.asks.contexts if self.lambda_at(step) else ()

    def weigh(self, rollouts: Rollouts) -> Signal:
        knobs, mix = self.knobs, self.lambda_at(rollouts.step)
        reward_N = rollouts.right_N.double()
        advantage_N1 = weights.group_standardized(reward_N, rollouts.group_N, knobs.eps)[:, None]
        if not mix:
            return replace(on_one_path(rollouts, advantage_N1), metrics={"mix": 0.0})
        delta_NT = self.delta(rollouts).masked_fill(~rollouts.mask_NT, 0.0)
        credit_NT = (advantage_N1.sign() * delta_NT).exp().clamp(1 - knobs.clip_weight, 1 + knobs.clip_weight)
        # the paper's bracket, so ordered that w = 1 leaves the advantage as it is to the last bit
        signal = on_one_path(rollouts, advantage_N1 * (1 + mix * (credit_NT - 1)))
        return replace(signal, metrics={"mix": mix} | rollouts.by_verdict("delta", delta_NT))

    def loss(self, batch: LossInput) -> dict[str, Loss]:
        return {"policy": surrogate(batch, batch.weight_NT, self.knobs)}


def hinted_logp(rollouts: Rollouts, context: str) -> Tensor:
    """Log-probs under a context that every rollout has: (N, T). Raises ValueError naming rows where one is missing."""
    logp_NT = rollouts.context_logp[context]
    weights.require_finite(weights.masked_mean(logp_NT, rollouts.mask_NT), torch.ones_like(rollouts.right_N))
    return logp_NT
