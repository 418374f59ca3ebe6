"""The contract: what an algorithm declares, and the two places it computes in.

`weigh` runs once a step on the driver, without gradient, and sees whole prompt groups. `loss` runs per micro-batch on the
training workers, with gradient. Both stand in one file, so a new algorithm is one file.
"""

import difflib
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, get_type_hints

import torch
from torch import Tensor

from scope_openrlhf.equations import losses
from scope_openrlhf.equations.batch import Attempt, LossInput, Rollouts, Signal
from scope_openrlhf.equations.losses import Loss
from scope_openrlhf.settings.parse import convert


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """Knobs every algorithm has. Subclasses add theirs, one sentence under each, and check them in __post_init__."""

    normalize: Literal["tokens", "sequences"] = "tokens"
    """A path's loss is its token sum over its tokens in the optimiser step (long responses count more), or the mean of
    per-sequence means over its sequences (every response counts alike, a token of a long one less)."""
    truncated: Literal["wrong", "drop", "mask_tail"] = "wrong"
    """What a rollout cut by the length limit trains; routing.py argues for each."""
    masked_tail: float = 0.25
    """Under truncated=mask_tail: the share of such a response, from its end, that trains nothing."""

    def __post_init__(self) -> None:
        if not 0 < self.masked_tail < 1:
            raise ValueError(f"algorithm.masked_tail must lie between 0 and 1, got {self.masked_tail}")

    @classmethod
    def parse(cls, knobs: dict):
        names = [f.name for f in fields(cls)]
        for knob in knobs:
            if knob not in names:
                near = difflib.get_close_matches(knob, names, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
                raise ValueError(f"unknown key algorithm.{knob}; {hint}")
        hints = get_type_hints(cls)
        return cls(**{knob: convert(hints[knob], value, f"algorithm.{knob}") for knob, value in knobs.items()})


@dataclass(frozen=True, kw_only=True)
class Clip(Knobs):
    """Knobs of algorithms with a PPO clip."""

    clip_low: float = 0.2
    """The ratio of new to old probability counts no lower than 1 - clip_low."""
    clip_high: float = 0.2
    """The ratio counts no higher than 1 + clip_high."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.clip_low < 1 and self.clip_high > 0):
            raise ValueError(
                f"algorithm.clip_low must lie in (0, 1) and clip_high above 0, got {self.clip_low}, {self.clip_high}"
            )


@dataclass(frozen=True, kw_only=True)
class Contexts(Knobs):
    """Knobs of algorithms that have rollouts scored again under a context."""

    context_scorer: Literal["student", "initial", "teacher"] = "student"
    """Who scores: the student as it is now, in its training engine; a copy of it as it was at the start, in a teacher group; or the teacher."""


@dataclass(frozen=True, kw_only=True)
class Distil(Clip):
    """Knobs of algorithms that distil from the teacher."""

    divergence: Literal["policy_gradient", "k2", "k3", "topk_reverse", "topk_forward", "topk_jsd"] = "policy_gradient"
    """policy_gradient: sampled reverse KL under the PPO clip (the paper). k2: its direct loss; k3: one whose gradient is that of the
    forward KL. topk_*: KL or Jensen-Shannon over the teacher's top_k tokens and a tail bucket. Only the first corrects for a student that has moved
    since it sampled, so the others want one optimiser step per rollout batch."""
    top_k: int = 0
    """Tokens per position that the teacher returns; only with divergence topk_*."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence.startswith("topk") != (self.top_k > 0):
            raise ValueError(
                f"algorithm.top_k must be at least 1 with divergence topk_*, and 0 without; got {self.top_k}"
            )
        if self.divergence != "policy_gradient" and (self.clip_low, self.clip_high) != (Clip.clip_low, Clip.clip_high):
            raise ValueError(
                f"algorithm.clip_low and clip_high belong to divergence policy_gradient; {self.divergence} has no clip"
            )

    @classmethod
    def parse(cls, knobs: dict):
        if knobs.get("divergence") == "k1":
            raise ValueError(
                "algorithm.divergence k1: its gradient as a loss does not depend on the teacher; use policy_gradient, k2 or k3"
            )
        return super().parse(knobs)


class Algorithm(ABC):
    """Subclasses name their paths and implement `weigh` and `loss`. Instances pickle and hold nothing but their knobs.

    Log-probs by the student that sampled a rollout always come with it. What else an algorithm needs, and from whom, it declares:
    `needs_teacher` and `top_k`: of the teacher, on the rollout's own prompt, asked as soon as the rollout is verified;
    `contexts` and `hint`: of the student itself or of the teacher, shown something more, asked once the groups are whole.
    """

    Config: ClassVar[type[Knobs]] = Knobs
    paths: ClassVar[tuple[str, ...]]
    """Each path of the loss has its own denominator."""
    uses_groups: ClassVar[bool] = True
    """Compares the rollouts of a prompt, so it needs at least two of each."""

    contexts: ClassVar[tuple[str, ...]] = ()
    """Names of the contexts under which rollouts are scored again; `hint` says what is shown there."""

    def __init__(self, config: Knobs) -> None:
        self.config = config

    @property
    def uses_teacher(self) -> bool:
        return self.teacher_scores_contexts

    @property
    def context_scorer(self) -> str:
        return self.config.context_scorer if isinstance(self.config, Contexts) else "student"

    @property
    def teacher_scores_contexts(self) -> bool:
        """Whether a teacher group does: one of the teacher, or of the student as it was at the start."""
        return self.context_scorer != "student"

    @property
    def top_k(self) -> int:
        """How many of the teacher's likeliest tokens `loss` reads at each position, in LossInput.topk: on the rollout's own prompt, or
        under the last of the contexts where the teacher scores those."""
        return 0

    @property
    def hints_prompts(self) -> bool:
        """Whether the rollouts' own prompts carry a hint; see `prompt_hint`."""
        return False

    @property
    def uses_trace(self) -> bool:
        """Whether it shows the data's worked solutions (data.trace_key)."""
        return False

    def needs_teacher(self, right: bool) -> bool:
        """Whether a verified rollout must be scored by the teacher before `weigh`."""
        return False

    def prompt_hint(self, answer: str, trace: str) -> tuple[str, bool]:
        """What is put after a problem for the rollouts themselves, from its gold answer and worked solution, and whether it gives the answer away.

        It stays there for the loss; held-out problems never carry it.
        """
        return "", False

    def contexts_at(self, step: int) -> tuple[str, ...]:
        """Those of `contexts` that `weigh` reads after `step` rollout batches: a schedule may have ended."""
        return self.contexts

    def hint_room(self, context: str, max_response: int) -> int:
        """Tokens that a hint may have beyond what the data tell, because it holds what other rollouts say."""
        return 0

    def hint(self, context: str, i: int, group: list[Attempt]) -> str | None:
        """What is put after the problem of rollout i of a prompt's group under this context; None: not scored, its row stays NaN."""
        return None

    @abstractmethod
    def weigh(self, rollouts: Rollouts) -> Signal:
        """Advantages, weights and path of each rollout of a step. Dropped rollouts (routing.py) are not among them."""

    @abstractmethod
    def loss(self, batch: LossInput) -> dict[str, Loss]:
        """Path -> (its token sum, its metrics as token sums) of one micro-batch. The trainer divides by global counts."""


class PolicyGradient(Algorithm):
    """One path; its loss is the clipped surrogate of the advantage that `advantages` gives. What GRPO, RLOO and their kin share."""

    Config = Clip
    paths = ("policy",)

    @abstractmethod
    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(N,), the same for every token of a rollout, or (N, T)."""

    def weigh(self, rollouts: Rollouts) -> Signal:
        advantage = self.advantages(rollouts)
        advantage_NT = advantage[:, None] if advantage.dim() == 1 else advantage
        num = len(rollouts.right_N)
        return Signal(
            advantage_NT=torch.where(rollouts.mask_NT, advantage_NT, 0.0),
            weight_N=torch.ones(num, dtype=torch.float64),
            path_N=torch.zeros(num, dtype=torch.long),
        )

    def loss(self, batch: LossInput) -> dict[str, Loss]:
        c: Clip = self.config  # type: ignore[assignment]
        loss = losses.clipped_surrogate(
            batch.logp_NT, batch.old_logp_NT, batch.advantage_NT, batch.weight_NT, c.clip_low, c.clip_high
        )
        return {self.paths[0]: loss}


class Distillation(Algorithm):
    """What SCOPE, OPD and self-distillation share: the distillation loss of the rows that carry the advantage log p_T - log p_S,old."""

    Config = Distil

    @property
    def uses_teacher(self) -> bool:
        return True

    @property
    def top_k(self) -> int:
        return self.config.top_k  # type: ignore[attr-defined]

    def distil(self, batch: LossInput, weight_NT: Tensor) -> Loss:
        c: Distil = self.config  # type: ignore[assignment]
        if c.divergence == "policy_gradient":
            return losses.clipped_surrogate(
                batch.logp_NT, batch.old_logp_NT, batch.advantage_NT, weight_NT, c.clip_low, c.clip_high
            )
        if c.divergence in ("k2", "k3"):
            return losses.reverse_kl(batch.logp_NT, batch.advantage_NT + batch.old_logp_NT, weight_NT, c.divergence)
        assert batch.topk is not None
        return losses.topk_kl(
            batch.topk.student_logp_NTJ, batch.topk.teacher_logp_NTJ, weight_NT, c.divergence.removeprefix("topk_")
        )


@dataclass(frozen=True, kw_only=True)
class SelfDistil(Contexts, Distil):
    """Knobs of algorithms whose teacher is the student itself, shown something more."""

    context_scorer: Literal["student", "initial", "teacher"] = "initial"
    """As above. The student of the moment as its own teacher drifts with it; on the embedded default it ends near 0 after 40 steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k and self.context_scorer == "student":
            raise ValueError(
                f"algorithm.divergence {self.divergence} reads the top k of a teacher group, the training engine scores sampled tokens alone: "
                "set algorithm.context_scorer=initial for a copy of the student as it was at the start, or =teacher"
            )


class SelfDistillation(Distillation):
    """What OPSD and SDPO share: every rollout with a hint is distilled alike from whoever was shown it; one without trains nothing."""

    Config = SelfDistil
    paths = ("teacher",)
    contexts = ("privileged",)

    @property
    def uses_teacher(self) -> bool:
        return self.teacher_scores_contexts

    def weigh(self, rollouts: Rollouts) -> Signal:
        scored_N = rollouts.scored_under("privileged")
        off_path_NT = ~(rollouts.mask_NT & scored_N[:, None])
        gap_NT = (rollouts.context_logp["privileged"] - rollouts.student_logp_NT).masked_fill(off_path_NT, 0.0)
        metrics = {"privileged": float(scored_N.sum())} | rollouts.by_verdict("gap", gap_NT, scored_N)
        return Signal(gap_NT, weight_N=scored_N.double(), path_N=scored_N.long() - 1, metrics=metrics)

    def loss(self, batch: LossInput) -> dict[str, Loss]:
        return {"teacher": self.distil(batch, batch.weight_NT)}
