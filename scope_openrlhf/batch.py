"""The nouns that move between the stages. Axes: N rollouts of a step, T response positions.

Example, two prompts with two rollouts each (T = 3, the first rollout has only two tokens):
    Rollouts(student_logp_NT=[[-.1, -.2, 0], ...], teacher_logp_NT=[[nan, nan, nan], [-.3, -.1, -2.], ...],
             mask_NT=[[1, 1, 0], [1, 1, 1], ...], right_N=[1, 0, 0, 1], truncated_N=[0, 0, 1, 0], group_N=[0, 0, 1, 1])
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What the driver knows of a step's rollouts before their loss weights."""

    student_logp_NT: Tensor
    """log p of each response token by the student that sampled it, at the contract's temperature."""
    teacher_logp_NT: Tensor
    """The same by the teacher; a whole row is NaN where the algorithm asked for no score."""
    mask_NT: Tensor
    """bool, true on response tokens."""
    right_N: Tensor
    """bool, the verifier's verdict."""
    truncated_N: Tensor
    """bool, generation ended by length."""
    group_N: Tensor
    """int, the prompt of each rollout."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What `Algorithm.weigh` makes of them: all that the loss will need. A rollout on no path (path -1) trains nothing."""

    advantage_NT: Tensor
    weight_N: Tensor
    path_N: Tensor
    """int, index into Algorithm.paths, or -1."""


@dataclass(frozen=True, slots=True)
class LossInput:
    """One micro-batch at the worker. Row i belongs to path_N[i]; weight_NT already holds the path weight and the mask."""

    logp_NT: Tensor
    old_logp_NT: Tensor
    advantage_NT: Tensor
    weight_NT: Tensor
    path_N: Tensor
