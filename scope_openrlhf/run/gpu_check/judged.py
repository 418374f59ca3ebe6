"""The rule of all numeric checks: ours is as near to float64 on the CPU as the plain way of computing the same is."""

from dataclasses import dataclass

import torch
from torch import Tensor

FAR = 0.5
"""Of the largest value: so far off is no rounding, and the plain way is broken too."""
Numbers = dict[str, Tensor]
"""What a computation gave, by name, in float64 on the CPU."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found."""

    ok: bool
    said: str


def judge(exact: Numbers, plain: Numbers, ours: Numbers, dtype: torch.dtype) -> Found:
    """Whether ours is at most twice as far from the exact numbers as the plain way is, and four roundings more.

    All three hold the same names. plain and ours ran on the same device in the same type. A distance is the largest
    difference over the largest exact value. Beyond FAR it is never well, nor where it is not finite.
    """
    gaps = {name: (_distance(plain[name], value), _distance(ours[name], value)) for name, value in exact.items()}
    allowed = {name: min(2 * of_plain + 4 * torch.finfo(dtype).eps, FAR) for name, (of_plain, _) in gaps.items()}
    bad = [name for name, (_, of_ours) in gaps.items() if not of_ours <= allowed[name]]
    worst = bad[0] if bad else max(gaps, key=lambda name: gaps[name][1] / allowed[name])
    of_plain, of_ours = gaps[worst]
    told = f"{of_ours:.1e} from float64, the plain way {of_plain:.1e}"
    said = f"{spelled(dtype)}, {worst}: {told}" + (f"; the worst of {len(gaps)}" if len(gaps) > 1 else "")
    return Found(not bad, said + (f"; too far: {', '.join(bad)}" if bad else ""))


def _distance(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / (b.abs().max() or 1.0)).item()


def working_type(device: str) -> torch.dtype:
    """The type that models have on a device, in training and in engines."""
    return torch.float32 if device == "cpu" else torch.bfloat16


def spelled(dtype: torch.dtype) -> str:
    """A type as configs spell it."""
    return str(dtype).removeprefix("torch.")
