"""CEPO (arXiv 2605.19436): as RLSD, but the student that is shown the right answer is held against the one that is shown a wrong one.

    A_t = A_i * [(1 - lambda) + lambda * clip(w_t, 1 - eps_w, 1 + eps_w)],   w_t = exp(sign(A_i) * delta_t)
    delta_t = log P_T+(y_t) - log P_T-(y_t),   P_T+ = the student shown the gold answer r+, P_T- = shown a wrong one r-
r- is the answer of the first rejected rollout of the group that ended with one, so it costs no sampling; all rollouts of a group are
shown the same. lambda falls linearly from `mix` to 0 over `mix_steps` steps.

The paper and its code disagree: eps_w is 0.5 in the paper's table and 0.2 in the script (`clip_weight`); without a rejected rollout the
text falls back to RLSD and the code to weight 1, which is GRPO (`no_wrong`). The code shows the answer alone, after the generation
prompt; here it stands after the problem, in words that `hint` holds.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scope_openrlhf.algorithms.rlsd import Rlsd
from scope_openrlhf.equations import weights
from scope_openrlhf.equations.batch import Attempt, Rollouts


class Cepo(Rlsd):
    @dataclass(frozen=True, kw_only=True)
    class Config(Rlsd.Config):
        mix_steps: int = 25
        clip_weight: float = 0.5
        no_wrong: Literal["rlsd", "grpo"] = "rlsd"
        """What a group without a rejected answer gets: RLSD's delta (the paper), or none, which leaves GRPO (the published code)."""

    contexts = ("with_right", "with_wrong")

    def hint(self, context: str, i: int, group: list[Attempt]) -> str | None:
        c: Cepo.Config = self.config  # type: ignore[assignment]
        answer = group[i].answer if context == "with_right" else wrong_answer(group)
        return None if answer is None else c.hint.replace("{answer}", answer)

    def hint_room(self, context: str, max_response: int) -> int:
        return (
            64 if context == "with_wrong" else 0
        )  # a wrong answer longer than the gold one; beyond that `no_wrong` decides

    def delta(self, rollouts: Rollouts) -> Tensor:
        c: Cepo.Config = self.config  # type: ignore[assignment]
        right_NT, wrong_NT = (rollouts.context_logp[context] for context in self.contexts)
        weights.require_finite(weights.masked_mean(right_NT, rollouts.mask_NT), torch.ones_like(rollouts.right_N))
        wrong_N = rollouts.scored_under("with_wrong")
        otherwise_NT = rollouts.student_logp_NT if c.no_wrong == "rlsd" else right_NT
        return right_NT - torch.where(wrong_N[:, None], wrong_NT, otherwise_NT)


def wrong_answer(group: list[Attempt]) -> str | None:
    """Of the first rollout that ended with a wrong one. A truncated rollout counts as wrong, but what it boxed may be right."""
    return next((a.extracted for a in group if a.route == "wrong" and not a.truncated and a.extracted), None)


ALGORITHM = Cepo
