"""The numbers that a key may hold: a range stands beside its type, and one kind of sentence tells what is outside."""

import dataclasses
import math
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from scope_openrlhf.settings.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number. One that is None holds nothing back.

    Example: Range(above=0, most=1) holds 0.5 and 1, not 0.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    off: float | None = None
    """A number outside the bounds that has a meaning of its own, often "none"."""
    infinite: bool = False
    """Whether infinity is a number here."""

    def __contains__(self, value: float) -> bool:
        return value == self.off or (
            (math.isfinite(value) or (self.infinite and not math.isnan(value)))
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """Example: "above 0 and at most 1"."""
        bounds = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        told = " and ".join(f"{name} {bound}" for name, bound in bounds.items() if bound is not None) or "finite"
        return told if self.off is None else f"{told}, or {self.off}"

    def check(self, value: float, key: str) -> None:
        """Raise ConfigError naming the key unless the value is inside."""
        if value not in self:
            finite = "" if math.isfinite(value) or str(self) == "finite" else "finite and "
            raise ConfigError(f"{key} must be {finite}{self}, got {value}")


Count = Annotated[int, Range(least=1)]
CountOrZero = Annotated[int, Range(least=0)]
Seed = Annotated[int, Range(least=0, most=2**32 - 1)]
"""numpy takes no other."""
Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(least=0)]
Share = Annotated[float, Range(above=0, most=1)]
"""A part of something, not none of it."""
ShareOrZero = Annotated[float, Range(least=0, most=1)]
Inside = Annotated[float, Range(above=0, below=1)]
"""A part of something, neither none nor all of it."""
DualClip = Annotated[float, Range(above=1, off=0)]
"""A bound on how many times harder a token may pull; 0: none."""
BelowOne = Annotated[float, Range(least=0, below=1)]
"""A part of something, maybe none but not all of it."""
TopK = Annotated[int, Range(least=-1)]
"""Number of tokens that samples come from; -1 and 0 are all."""


def range_of(hint: Any) -> Range | None:
    """The range in the type of a field, also in `Count | None`; None where there is none."""
    of_type = [r for r in getattr(hint, "__metadata__", ()) if isinstance(r, Range)]
    inner = typing.get_args(hint) if typing.get_origin(hint) is not Annotated else ()
    return next((r for r in (*of_type, *map(range_of, inner)) if r), None)


def check_ranges(section: Any, spelled: Callable[[str], str]) -> None:
    """Raise ConfigError for a number of a section outside its range.

    section: an instance of a dataclass. spelled: the name of a field -> its key.
    """
    hints = typing.get_type_hints(type(section), include_extras=True)
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if (within := range_of(hints[field.name])) and value is not None:
            within.check(value, spelled(field.name))
