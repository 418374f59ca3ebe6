"""SDPO, self-distillation policy optimisation (arXiv 2601.20802): a success of its own group teaches the student.

    loss = sum_i D(p_S(. | x, y_<t) || p_T(. | x, c_i, y_<t)) over the tokens of y_i
p_T is the student that is shown c_i: the first right rollout of the group other than y_i, without what it thought in
<think>; where there is none, the verifier's feedback on y_i; where that has nothing to say, y_i trains nothing. No
gradient goes through p_T. D is by default the sampled reverse KL as a policy gradient.

The published code takes the Jensen-Shannon divergence over the student's 100 likeliest tokens and as p_T a moving
average of the student (0.05), which lies between the two that `context_scorer` offers: the student as it was at the
start (default), in a teacher group of its own, and that of the moment. divergence=topk_jsd, top_k=100 (the teacher's
likeliest) come near the rest.
"""

from dataclasses import dataclass

from scope_openrlhf.algorithms.base.contract import Asks, Scorer
from scope_openrlhf.algorithms.base.distillation import DistilKnobs, SelfDistillation, check_top_k_scorer
from scope_openrlhf.algorithms.base.hints import check_hint, filled
from scope_openrlhf.equations.batch import Attempt


@dataclass(frozen=True, kw_only=True)
class SdpoKnobs(DistilKnobs):
    context_scorer: Scorer = "initial"
    """Who is p_T: a copy of the student as it was at the start, in a teacher group; student: the student as it is now;
    or the teacher. The student of the moment as its own teacher drifts with it; on the embedded default it ends near 0
    after 40 steps."""
    hint: str = "\n\nThis is a correct solution:\n\n{solution}\n\nSolve the problem."
    """Put after the problem where the group has another right rollout; {solution} is its text."""
    truncated_feedback: str = "\n\nAn earlier attempt ran out of room before it came to an answer. Be brief."
    """Put after the problem instead, on a rollout that was cut. Empty: such a rollout trains nothing."""
    no_answer_feedback: str = "\n\nAn earlier attempt gave no final answer. Put the final answer into \\boxed{}."
    """Put after the problem instead, on a rollout that held no answer. Empty: such a rollout trains nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_top_k_scorer(self.context_scorer, self)
        check_hint(self.hint, ("solution",))


class Sdpo(SelfDistillation[SdpoKnobs]):
    Config = SdpoKnobs

    @property
    def asks(self) -> Asks:
        knobs = self.knobs
        return Asks(contexts=("privileged",), context_scorer=knobs.context_scorer, top_k=knobs.top_k)

    def hint_room(self, context: str, max_response: int) -> int:
        return max_response

    def hint(self, context: str, i: int, group: list[Attempt]) -> str | None:
        knobs, own = self.knobs, group[i]
        solution = next((a.response for j, a in enumerate(group) if a.route == "right" and j != i), None)
        if solution is not None:
            # many templates open <think> themselves, so that the response holds its end alone
            return filled(knobs.hint, solution=solution.rpartition("</think>")[2].lstrip())
        if own.truncated:
            return knobs.truncated_feedback or None
        return (knobs.no_answer_feedback or None) if own.extracted is None else None


ALGORITHM = Sdpo
