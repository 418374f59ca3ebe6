"""OPSD, on-policy self-distillation (arXiv 2601.18734): the student that is shown the solution teaches itself.

    loss = sum_i D(p_S(. | x, y_<t) || p_T(. | x, s, y_<t)) over the tokens of the student's own rollouts
s is the worked solution of x. p_T is the student as it was at the start, in a teacher group of its own
(`context_scorer`); no gradient goes through it. D is by default the sampled reverse KL as a policy gradient, the
paper's variant on sampled tokens. The reward is not read and one rollout of a problem is enough. A problem without a
solution trains nothing.

The paper's main setting is a divergence of whole distributions, Jensen-Shannon in the published code:
divergence=topk_jsd, top_k=100 and a bucket for the rest come near it.
"""

from dataclasses import dataclass

from scope_openrlhf.algorithms.base.contract import Asks, Scorer
from scope_openrlhf.algorithms.base.distillation import DistilKnobs, SelfDistillation, check_top_k_scorer
from scope_openrlhf.algorithms.base.hints import check_hint, filled, placeholders
from scope_openrlhf.equations.batch import Attempt


@dataclass(frozen=True, kw_only=True)
class OpsdKnobs(DistilKnobs):
    context_scorer: Scorer = "initial"
    """Who is p_T: a copy of the student as it was at the start, in a teacher group; student: the student as it is now;
    or the teacher. The student of the moment as its own teacher drifts with it; on the embedded default it ends near 0
    after 40 steps."""
    hint: str = (
        "\n\nThis is a worked solution:\n\n{trace}\n\nHaving understood it, solve the problem in your own words."
    )
    """Put after the problem for p_T; {trace} is the data's worked solution, {answer} the gold answer. It holds one of
    them at least."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_top_k_scorer(self.context_scorer, self)
        check_hint(self.hint, ("trace", "answer"))

    @property
    def shows_trace(self) -> bool:
        """Whether the hint holds the worked solution."""
        return "trace" in placeholders(self.hint)


class Opsd(SelfDistillation[OpsdKnobs]):
    Config = OpsdKnobs
    uses_groups = False

    @property
    def asks(self) -> Asks:
        knobs = self.knobs
        return Asks(
            contexts=("privileged",),
            context_scorer=knobs.context_scorer,
            top_k=knobs.top_k,
            traces=knobs.shows_trace,
        )

    def hint(self, context: str, i: int, group: list[Attempt]) -> str | None:
        answer, trace = group[i].problem.answer, group[i].problem.trace or ""
        if self.knobs.shows_trace and not trace:
            return None
        return filled(self.knobs.hint, answer=answer, trace=trace)


ALGORITHM = Opsd
