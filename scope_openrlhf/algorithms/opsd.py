"""OPSD, on-policy self-distillation (arXiv 2601.18734): the student that is shown the solution teaches itself without it.

    loss = sum_i D(p_S(. | x, y_<t) || p_T(. | x, s, y_<t)) over the tokens of the student's own rollouts, s = the worked solution of x
p_T is the student as it was at the start, in a teacher group of its own (`context_scorer`). D is by default the sampled reverse KL as a policy gradient, the paper's variant on sampled tokens. The reward is not
read and one rollout of a problem is enough. No gradient through p_T. A problem without a solution trains nothing.

The paper's main setting is a divergence of whole distributions, Jensen-Shannon in the published code: divergence=topk_jsd, top_k=100 and a
bucket for the rest come near it.
"""

from dataclasses import dataclass

from scope_openrlhf.algorithms.base import SelfDistil, SelfDistillation
from scope_openrlhf.equations.batch import Attempt


class Opsd(SelfDistillation):
    @dataclass(frozen=True, kw_only=True)
    class Config(SelfDistil):
        hint: str = (
            "\n\nThis is a worked solution:\n\n{trace}\n\nHaving understood it, solve the problem in your own words."
        )
        """Put after the problem for p_T; {trace} is the data's worked solution, {answer} the gold answer. It holds one of them at least."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if "{trace}" not in self.hint and "{answer}" not in self.hint:
                raise ValueError(f"algorithm.hint must contain {{trace}} or {{answer}}, got {self.hint!r}")

    uses_groups = False

    @property
    def uses_trace(self) -> bool:
        c: Opsd.Config = self.config  # type: ignore[assignment]
        return "{trace}" in c.hint

    def hint(self, context: str, i: int, group: list[Attempt]) -> str | None:
        c: Opsd.Config = self.config  # type: ignore[assignment]
        if self.uses_trace and not group[i].trace:
            return None
        # the answer first: a trace may hold the other's braces
        return c.hint.replace("{answer}", group[i].answer).replace("{trace}", group[i].trace)


ALGORITHM = Opsd
