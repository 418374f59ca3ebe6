"""RLSD (arXiv 2604.03128): GRPO whose advantage goes to the tokens that the student, told the answer, thinks likelier.

    delta_t = log P_T+(y_t) - log P_S(y_t),   P_T+ = the student shown the gold answer after the problem
base/token_credit.py holds the equation that reads delta_t.

A hint may show the worked solution instead, {trace}; where a problem has none, the answer stands in its place.

`preset: released` is the published script: clip_high 0.28 and EasyR1's dual clip; a lambda that ends after 60 steps,
not 50, and starts one step on; "Here is a reference solution" as the hint, in which the script shows the column of
answers (`data.trace_key`; the repository's config names one of whole trajectories). What stays different: its P_T+ is a
copy of the student that is renewed every 20 steps, here the student of the moment, or with `context_scorer=initial` a
copy that stays as it was; and its delta reads the student as it is in the update, here as it was when it sampled, which
is the same in the first update of a batch.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Asks
from scope_openrlhf.algorithms.base.hints import filled, placeholders
from scope_openrlhf.algorithms.base.token_credit import TokenCredit, TokenCreditKnobs, hinted_logp
from scope_openrlhf.equations.batch import Attempt, Rollouts


@dataclass(frozen=True, kw_only=True)
class RlsdKnobs(TokenCreditKnobs):
    hint: str = "\n\nThe correct answer is {answer}."
    """Put after the problem for the student that is told more; {answer} is the gold answer, {trace} the data's worked
    solution, or the answer where a problem has none."""

    FILLS: ClassVar[tuple[str, ...]] = ("answer", "trace")
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "released": {
            "clip_high": 0.28,
            "dual_clip": 3.0,
            "mix_steps": 60,
            "mix_first_step": 1,
            "hint": "\n\nHere is a reference solution:\n{trace}\n\nAfter understanding the reference solution, please "
            "try to solve this problem using your own approach below.",
        }
    }


class Rlsd(TokenCredit[RlsdKnobs]):
    Config = RlsdKnobs

    @property
    def asks(self) -> Asks:
        return Asks(
            contexts=("with_answer",),
            context_scorer=self.knobs.context_scorer,
            traces="trace" in placeholders(self.knobs.hint),
        )

    def hint(self, context: str, i: int, group: list[Attempt]) -> str | None:
        answer, trace = group[i].problem.answer, group[i].problem.trace
        return filled(self.knobs.hint, answer=answer, trace=trace or answer)

    def delta(self, rollouts: Rollouts) -> Tensor:
        return hinted_logp(rollouts, "with_answer") - rollouts.student_logp_NT


ALGORITHM = Rlsd
