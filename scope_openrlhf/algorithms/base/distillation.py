"""Distillation of the student's own rollouts: from a teacher, or from the student itself, shown something more."""

from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Algorithm, Knobs, Scorer
from scope_openrlhf.algorithms.base.policy_gradient import surrogate
from scope_openrlhf.equations import losses
from scope_openrlhf.equations.batch import LossInput, Rollouts, Signal
from scope_openrlhf.equations.losses import Loss
from scope_openrlhf.equations.metric_definitions import Metric
from scope_openrlhf.settings.ranges import CountOrZero, NotNegative


@dataclass(frozen=True, kw_only=True)
class DistilKnobs(Knobs):
    """Knobs of algorithms that distil."""

    divergence: Literal["policy_gradient", "k2", "k3", "topk_reverse", "topk_forward", "topk_jsd"] = "policy_gradient"
    """policy_gradient: sampled reverse KL under the PPO clip (the paper). k2: its direct loss; k3: one whose gradient
    is that of the forward KL. topk_*: KL or Jensen-Shannon over the teacher's top_k tokens and a tail bucket. Only the
    first corrects for a student that has moved since it sampled, so the others want one optimiser step for each
    rollout batch."""
    top_k: CountOrZero = 0
    """Tokens of each position that the teacher returns; only with divergence topk_*."""
    kl_clamp: NotNegative = 0.0
    """With divergence k3: a token's estimate counts no more than this, and has no gradient beyond. verl has 10. 0: no
    bound."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence.startswith("topk") != (self.top_k > 0):
            raise ValueError(
                f"algorithm.top_k must be at least 1 with divergence topk_*, and 0 without; got {self.top_k}"
            )
        clip, unset = ((k.clip_low, k.clip_high, k.dual_clip) for k in (self, Knobs))
        if self.divergence != "policy_gradient" and clip != unset:
            raise ValueError(
                f"algorithm.clip_low, clip_high and dual_clip belong to divergence policy_gradient; {self.divergence} "
                "has no clip"
            )
        if self.kl_clamp and self.divergence != "k3":
            raise ValueError(f"algorithm.kl_clamp bounds divergence k3, not {self.divergence}; leave it out")

    @classmethod
    def parse(cls, knobs: dict[str, Any]) -> Self:
        """As `Knobs.parse`. Raises ValueError also for k1, and says why."""
        if knobs.get("divergence") == "k1":
            raise ValueError(
                "algorithm.divergence k1: its gradient as a loss does not depend on the teacher; "
                "use policy_gradient, k2 or k3"
            )
        return super().parse(knobs)


def distil(batch: LossInput, weight_NT: Tensor, knobs: DistilKnobs) -> Loss:
    """The distillation loss of rows whose advantage is log p_T - log p_S,old, by the divergence that the knobs name."""
    if knobs.divergence == "policy_gradient":
        return surrogate(batch, weight_NT, knobs)
    if knobs.divergence in ("k2", "k3"):
        teacher_logp_NT = batch.advantage_NT + batch.old_logp_NT
        return losses.reverse_kl(batch.logp_NT, teacher_logp_NT, weight_NT, knobs.divergence, knobs.kl_clamp)
    assert batch.topk is not None
    direction = knobs.divergence.removeprefix("topk_")
    return losses.topk_kl(batch.topk.student_logp_NTJ, batch.topk.teacher_logp_NTJ, weight_NT, direction)


D = TypeVar("D", bound=DistilKnobs)


class SelfDistillation(Algorithm[D]):
    """Algorithms that distil every rollout with a hint from whoever was shown it, all alike.

    A rollout without a hint trains nothing. Subclasses ask for the context "privileged".
    """

    paths = ("teacher",)
    metrics = (
        Metric("privileged", "Rollouts that were scored under a hint and so are distilled.", "count"),
        Metric(
            "gap_<verdict>",
            "What the hint adds to the log-prob of a token. If right and wrong do not differ in the first step, the "
            "model does not read its hints; later, and with another scorer than the student of the moment, it also "
            "holds how far the student has moved.",
            "mean over the response tokens of the right and of the wrong rollouts that have a hint",
        ),
    )

    def weigh(self, rollouts: Rollouts) -> Signal:
        scored_N = rollouts.scored_under("privileged")
        off_path_NT = ~(rollouts.mask_NT & scored_N[:, None])
        gap_NT = (rollouts.context_logp["privileged"] - rollouts.student_logp_NT).masked_fill(off_path_NT, 0.0)
        metrics = {"privileged": float(scored_N.sum())} | rollouts.by_verdict("gap", gap_NT, scored_N)
        return Signal(gap_NT, weight_N=scored_N.double(), path_N=scored_N.long() - 1, metrics=metrics)

    def loss(self, batch: LossInput) -> dict[str, Loss]:
        return {"teacher": distil(batch, batch.weight_NT, self.knobs)}


def check_top_k_scorer(scorer: Scorer, knobs: DistilKnobs) -> None:
    """Raise ValueError if the top k is asked of the training engine, which scores sampled tokens alone."""
    if knobs.top_k and scorer == "student":
        raise ValueError(
            f"algorithm.divergence {knobs.divergence} reads the top k of a teacher group, the training engine scores "
            "sampled tokens alone: set algorithm.context_scorer=initial for a copy of the student as it was at the "
            "start, or =teacher"
        )
