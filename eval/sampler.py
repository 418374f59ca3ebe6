"""The contract of those who sample: requests in, finished samples out, in any order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scope_eval.store import Sample


class SamplingError(RuntimeError):
    """Nobody is left to sample. What was finished before is kept."""


@dataclass(frozen=True, slots=True)
class Request:
    """One sample that is asked for.

    Example: Request(key=0, item="aime24-0", number=3, token_ids=[7, 9],
                     params={"temperature": 0.6, "max_tokens": 96, "seed": 5})
    """

    key: int
    """Number that the caller knows the request's benchmark by."""
    item: str
    """Id of the problem."""
    number: int
    """Number of the sample among those of its problem, counted from 0."""
    token_ids: list[int]
    """The prompt."""
    params: dict[str, Any]
    """Sampling parameters under vLLM's names."""


class Sampler(Protocol):
    """An engine group (engines.py) or a server (server.py)."""

    def sample(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Sample]]]:
        """(key, sample) of each request, as they finish. Raises SamplingError if nobody answers any more."""
        ...

    def close(self) -> None:
        """Free what was started for sampling."""
        ...
