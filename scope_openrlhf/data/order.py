"""What the seed of a run decides: the order of its problems, and one seed for each sample that is drawn."""

import hashlib
import random
from typing import TypeVar

from scope_openrlhf.settings.errors import ConfigError

T = TypeVar("T")
"""A problem, or one with its prompt."""


def order_problems(problems: list[T], batch_size: int, steps: int, seed: int) -> list[T]:
    """The problems of a whole run, steps * batch_size of them: each pass over the data is shuffled by the seed.

    steps: 0 for one pass. Raises ConfigError if the data do not fill one batch.
    """
    rng = random.Random(seed)
    if steps == 0:
        steps = len(problems) // batch_size
    if steps == 0:
        raise ConfigError(f"the data have {len(problems)} rows, fewer than openrlhf.rollout.batch_size {batch_size}")
    ordered: list[T] = []
    while len(ordered) < steps * batch_size:
        ordered += rng.sample(problems, len(problems))
    return ordered[: steps * batch_size]


def sample_seed(run_seed: int, *draw: str | int) -> int:
    """One seed for each draw, for instance of (row, number of the sample).

    So sampling depends neither on batching nor on engines or order. Below 2^48.
    """
    digest = hashlib.sha256("/".join(map(str, (run_seed, *draw))).encode()).digest()
    return int.from_bytes(digest[:6], "big")
