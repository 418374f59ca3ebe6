"""CEPO (arXiv 2605.19436): as RLSD, but a student shown the right answer is held against one shown a wrong answer.

    delta_t = log P_T+(y_t) - log P_T-(y_t),   P_T+ = the student shown the gold answer r+, P_T- = shown a wrong one r-
base/token_credit.py holds the equation that reads delta_t. r- is the answer of the first rejected rollout of the group
that ended with one, so it costs no sampling; all rollouts of a group are shown the same.

The paper and its code disagree: eps_w is 0.5 in the paper's table and 0.2 in the script (`clip_weight`); without a
rejected rollout the text falls back to RLSD and the code to weight 1, which is GRPO (`no_wrong`). `preset: released` is
the code, with its clip_high 0.28 and EasyR1's dual clip. What stays different: the code shows the answer alone, after
the generation prompt, here it stands after the problem, in words that `hint` holds; and it takes the first rejected
rollout's first 50 characters where that boxed nothing.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Asks
from scope_openrlhf.algorithms.base.hints import filled
from scope_openrlhf.algorithms.base.token_credit import TokenCredit, TokenCreditKnobs, hinted_logp
from scope_openrlhf.equations.batch import Attempt, Rollouts
from scope_openrlhf.settings.ranges import CountOrZero, Inside


@dataclass(frozen=True, kw_only=True)
class CepoKnobs(TokenCreditKnobs):
    mix_steps: CountOrZero = 25
    """Steps in which lambda falls to 0. 0: it stays."""
    clip_weight: Inside = 0.5
    """eps_w: a token's advantage is multiplied by no less than 1 - eps_w and no more than 1 + eps_w."""
    no_wrong: Literal["rlsd", "grpo"] = "rlsd"
    """What a group without a rejected answer gets: RLSD's delta (the paper), or none, which leaves GRPO (the code)."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "released": {"clip_high": 0.28, "dual_clip": 3.0, "clip_weight": 0.2, "no_wrong": "grpo"}
    }


class Cepo(TokenCredit[CepoKnobs]):
    Config = CepoKnobs

    @property
    def asks(self) -> Asks:
        return Asks(contexts=("with_right", "with_wrong"), context_scorer=self.knobs.context_scorer)

    def hint(self, context: str, i: int, group: list[Attempt]) -> str | None:
        answer = group[i].problem.answer if context == "with_right" else wrong_answer(group)
        return None if answer is None else filled(self.knobs.hint, answer=answer)

    def hint_room(self, context: str, max_response: int) -> int:
        # for a wrong answer that is longer than the gold one; where that does not do, `no_wrong` decides
        return 64 if context == "with_wrong" else 0

    def delta(self, rollouts: Rollouts) -> Tensor:
        right_NT = hinted_logp(rollouts, "with_right")
        wrong_N, wrong_NT = rollouts.scored_under("with_wrong"), rollouts.context_logp["with_wrong"]
        otherwise_NT = rollouts.student_logp_NT if self.knobs.no_wrong == "rlsd" else right_NT
        return right_NT - torch.where(wrong_N[:, None], wrong_NT, otherwise_NT)


def wrong_answer(group: list[Attempt]) -> str | None:
    """The answer of the first rollout that ended with a wrong one; None where there is none.

    A truncated rollout counts as wrong, but what it boxed may be right, so it is passed over.
    """
    return next((a.extracted for a in group if a.route == "wrong" and not a.truncated and a.extracted), None)


ALGORITHM = Cepo
