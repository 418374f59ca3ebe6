"""The contract: what an algorithm declares, and the two places it computes in.

`weigh` runs once a step on the driver, without gradient, and sees whole prompt groups. `loss` runs per micro-batch on the
training workers, with gradient. Both stand in one file, so a new algorithm is one file.
"""

import difflib
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from torch import Tensor

from scope_openrlhf import losses
from scope_openrlhf.batch import LossInput, Rollouts, Signal


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """Knobs every algorithm has. Subclasses add theirs, one sentence under each, and check them in __post_init__."""

    normalize: Literal["tokens", "sequences"] = "tokens"
    """A path's loss is its token sum over its tokens in the optimiser step, or the mean of per-sequence means over its sequences."""

    def __post_init__(self) -> None:
        if self.normalize not in ("tokens", "sequences"):
            raise ValueError(f"algorithm.normalize must be tokens or sequences, got {self.normalize!r}")

    @classmethod
    def parse(cls, knobs: dict):
        names = [f.name for f in fields(cls)]
        for knob in knobs:
            if knob not in names:
                near = difflib.get_close_matches(knob, names, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
                raise ValueError(f"unknown key algorithm.{knob}; {hint}")
        return cls(**knobs)


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
            raise ValueError(f"algorithm.clip_low must lie in (0, 1) and clip_high above 0, got {self.clip_low}, {self.clip_high}")


class Algorithm(ABC):
    """Subclasses name their paths and implement `weigh` and `loss`. Instances pickle and hold nothing but their knobs."""

    Config: ClassVar[type[Knobs]] = Knobs
    paths: ClassVar[tuple[str, ...]]
    """Each path of the loss has its own denominator."""
    uses_teacher: ClassVar[bool] = False
    uses_groups: ClassVar[bool] = True
    """Normalises inside a prompt's group, so it needs at least two rollouts of each prompt."""

    def __init__(self, config: Knobs) -> None:
        self.config = config

    def needs_teacher(self, right: bool) -> bool:
        """Whether a verified rollout must be scored by the teacher before `weigh`."""
        return False

    @abstractmethod
    def weigh(self, rollouts: Rollouts) -> Signal:
        """Advantages, weights and path of each rollout of a step."""

    @abstractmethod
    def loss(self, batch: LossInput) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(token sum of each path, metrics as sums over tokens) of one micro-batch. The trainer divides by global counts."""


class PolicyGradient(Algorithm):
    """One path; its loss is the clipped surrogate of the advantages that `weigh` gives. What GRPO, OPD and their kin share."""

    Config = Clip

    def loss(self, batch: LossInput) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        c: Clip = self.config  # type: ignore[assignment]
        loss, clipped = losses.clipped_surrogate(
            batch.logp_NT, batch.old_logp_NT, batch.advantage_NT, batch.weight_NT, c.clip_low, c.clip_high
        )
        return {self.paths[0]: loss}, {"clipped_tokens": clipped}
