"""Choice of the responses that a page shows: all of them, or some of each verdict, clipped to what has room."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scope_openrlhf.pages.page import CLIPPED, clip

TEXT_BUDGET = 6_000_000
"""Characters of responses that a page holds: a browser opens it at once, and a mail takes it."""
SHORTEST = 400
"""Characters that are kept of a clipped response at least."""
FEWEST = 2
"""Responses of a problem that are shown at least, one of each of two verdicts."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many responses of a problem a page shows, and how many characters of each."""

    samples: int | None
    """None: all of them."""
    characters: int | None
    """None: all of them."""

    def excerpt(self, text: str) -> str:
        """A response as it is shown."""
        return text if self.characters is None else clip(text, self.characters)

    def __str__(self) -> str:
        """The room in the words of the page."""
        if self.samples is None:
            return "all responses are in this page"
        of_each = f"{self.samples} of a model's responses to each problem"
        return f"at most {of_each} are in this page, {self.characters:,} characters of each"


def room(problems: int, samples: int, characters: int, budget: int = TEXT_BUDGET) -> Room:
    """The room for some responses of each problem.

    problems, samples, characters: how many there are, of all models and benchmarks of the page.
    """
    if characters <= budget:
        return Room(None, None)
    typical = min(CLIPPED, characters / samples)
    shown = max(FEWEST, int(budget / (problems * typical)))
    fits = shown * problems * typical <= budget
    return Room(shown, CLIPPED if fits else max(SHORTEST, budget // (shown * problems)))


def chosen(verdicts: Sequence[str], most: int | None) -> list[int]:
    """Numbers of the samples that are shown, at most so many: the first of each verdict, then the second, and so on."""
    times: Counter[str] = Counter()
    ranks = []
    for number, verdict in enumerate(verdicts):
        ranks.append((times[verdict], number))
        times[verdict] += 1
    return sorted(number for _, number in sorted(ranks)[:most])
