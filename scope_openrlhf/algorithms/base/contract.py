"""The contract: an algorithm's knobs, what it asks of whom, and the two places it computes in.

`weigh` runs once a step on the driver, without gradient, and sees whole prompt groups. `loss` runs for each micro-batch
on the training workers, with gradient. Both stand in one file, so a new algorithm is one file.
"""

import difflib
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, get_type_hints

from scope_openrlhf.equations.batch import Attempt, LossInput, Rollouts, Signal
from scope_openrlhf.equations.losses import Loss
from scope_openrlhf.equations.metric_definitions import Metric
from scope_openrlhf.settings.parse import convert
from scope_openrlhf.settings.ranges import BelowOne, DualClip, Inside, Positive, check_ranges

Scorer = Literal["student", "initial", "teacher"]
"""Who scores rollouts under a context: the student as it is now, in its training engine; a copy of the student as it
was at the start, in a teacher group; or the teacher."""


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """Knobs every algorithm has. Subclasses add theirs, a sentence under each, and check in __post_init__ what a
    range cannot say."""

    normalize: Literal["tokens", "sequences"] = "tokens"
    """A path's loss is its token sum over its tokens in the optimiser step (long responses count more), or the mean of
    per-sequence means over its sequences (every response counts alike, a token of a long one less)."""
    truncated: Literal["wrong", "drop", "mask_tail"] = "wrong"
    """What a rollout cut by the length limit trains; equations/routing.py argues for each."""
    masked_tail: Inside = 0.25
    """Under truncated=mask_tail: the share of such a response, from its end, that trains nothing."""
    clip_low: BelowOne = 0.2
    """PPO clip: the ratio of new to old probability counts no lower than 1 - clip_low."""
    clip_high: Positive = 0.2
    """PPO clip: the ratio counts no higher than 1 + clip_high."""
    dual_clip: DualClip = 0.0
    """Dual clip: where the advantage is negative the ratio counts no higher than this, which clip_high leaves open
    there. verl and EasyR1 have 3. 0: no bound."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}
    """Of algorithms with a knob `preset`: what each of its values sets other knobs to that are not set themselves."""

    def __post_init__(self) -> None:
        check_ranges(self, lambda knob: f"algorithm.{knob}")

    @classmethod
    def preset_of(cls, knobs: dict[str, Any]) -> dict[str, Any]:
        """What the preset among the knobs of a config's section stands for; empty for none, or for one there is not."""
        return cls.PRESETS.get(str(knobs.get("preset")), {})

    @classmethod
    def parse(cls, knobs: dict[str, Any]) -> Self:
        """The knobs of a config's section. Raises ValueError for an unknown one or a value that cannot work."""
        names = [f.name for f in fields(cls)]
        for knob in knobs:
            if knob not in names:
                near = difflib.get_close_matches(knob, names, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
                raise ValueError(f"unknown key algorithm.{knob}; {hint}")
        hints, knobs = get_type_hints(cls), cls.preset_of(knobs) | knobs
        return cls(**{knob: convert(hints[knob], value, f"algorithm.{knob}") for knob, value in knobs.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """What an algorithm needs beside the log-probs by the student that sampled a rollout, which always come with it.

    Example, SCOPE: Asks(teacher_scores=("wrong",)). CEPO: Asks(contexts=("with_right", "with_wrong"))
    """

    teacher_scores: tuple[Literal["right", "wrong"], ...] = ()
    """Routes whose rollouts the teacher scores on their own prompt, as soon as they are verified."""
    contexts: tuple[str, ...] = ()
    """Names of the contexts under which rollouts are scored again, once their groups are whole; `Algorithm.hint` says
    what is shown there."""
    context_scorer: Scorer = "student"
    top_k: int = 0
    """Number of the teacher's likeliest tokens that `loss` reads at each position, in LossInput.topk. The teacher gives
    them on the rollout's own prompt, or, where a teacher group scores contexts, under the last of `contexts`."""
    traces: bool = False
    """Whether the data's worked solutions (data.trace_key) are shown."""
    hinted_prompts: bool = False
    """Whether the rollouts' own prompts carry a hint; see `Algorithm.prompt_hint`."""

    @property
    def contexts_by_teacher(self) -> bool:
        """Whether a teacher group scores the contexts: one of the teacher, or of the student as it was at the start."""
        return self.context_scorer != "student"

    @property
    def teacher(self) -> bool:
        """Whether a teacher group is needed at all."""
        return bool(self.teacher_scores) or self.contexts_by_teacher


K = TypeVar("K", bound=Knobs)


class Algorithm(ABC, Generic[K]):
    """Subclasses name their paths, say what they ask for, and implement `weigh` and `loss`.

    Instances pickle and hold nothing but their knobs.
    """

    Config: ClassVar[type[Knobs]] = Knobs
    """The class of the knobs, the same as K."""
    paths: ClassVar[tuple[str, ...]]
    """Names of the paths of the loss. Each has its own denominator."""
    uses_groups: ClassVar[bool] = True
    """Whether it compares the rollouts of a prompt, so that it needs at least two of each."""
    metrics: ClassVar[tuple[Metric, ...]] = ()
    """Definitions of what it adds to a row of metrics.jsonl."""

    def __init__(self, knobs: K) -> None:
        self.knobs = knobs

    @property
    def asks(self) -> Asks:
        """What it needs, and of whom; may depend on the knobs."""
        return Asks()

    def prompt_hint(self, answer: str, trace: str | None) -> tuple[str, bool]:
        """What is put after a problem for the rollouts themselves, and whether that gives the answer away.

        answer: gold. trace: the worked solution; None or empty where there is none. The hint stays there for the loss;
        held-out problems never carry one.
        """
        return "", False

    def contexts_at(self, step: int) -> tuple[str, ...]:
        """Those of the contexts that `weigh` reads after `step` rollout batches: a schedule may have ended."""
        return self.asks.contexts

    def hint_room(self, context: str, max_response: int) -> int:
        """Tokens that a hint may have beyond what the data tell, because it holds what other rollouts say."""
        return 0

    def hint(self, context: str, i: int, group: list[Attempt]) -> str | None:
        """What is put after the problem of rollout i of a prompt's group under a context.

        None: rollout i is not scored under it, its row of Rollouts.context_logp stays NaN.
        """
        return None

    @abstractmethod
    def weigh(self, rollouts: Rollouts) -> Signal:
        """Advantages, weights and path of each rollout of a step. Dropped rollouts are not among them."""

    @abstractmethod
    def loss(self, batch: LossInput) -> dict[str, Loss]:
        """Path -> (its token sum, its metrics as token sums) of one micro-batch. The host divides by global counts."""
