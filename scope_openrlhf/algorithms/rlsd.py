"""RLSD (arXiv 2604.03128): GRPO whose advantage goes to the tokens that the student, told the answer, thinks likelier.

    delta_t = log P_T+(y_t) - log P_S(y_t),   P_T+ = the student shown the gold answer after the problem
base/token_credit.py holds the equation that reads delta_t.

The published code differs from the paper in two things: its lambda ends after 60 steps, not 50 (`mix_steps`), and its
P_T+ is a copy of the student that is renewed every 20 steps. Here it is the student of the moment, or with
`context_scorer=initial` a copy that stays as it was.
"""

from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Asks
from scope_openrlhf.algorithms.base.token_credit import TokenCredit, TokenCreditKnobs, hinted_logp
from scope_openrlhf.equations.batch import Attempt, Rollouts


class Rlsd(TokenCredit[TokenCreditKnobs]):
    Config = TokenCreditKnobs

    @property
    def asks(self) -> Asks:
        return Asks(contexts=("with_answer",), context_scorer=self.knobs.context_scorer)

    def hint(self, context: str, i: int, group: list[Attempt]) -> str | None:
        return self.knobs.hint.replace("{answer}", group[i].problem.answer)

    def delta(self, rollouts: Rollouts) -> Tensor:
        return hinted_logp(rollouts, "with_answer") - rollouts.student_logp_NT


ALGORITHM = Rlsd
