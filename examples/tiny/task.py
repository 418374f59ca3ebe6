"""The embedded task: signed one-digit sums modulo 100, solved step by step, ending in \\boxed{}.

A problem is a start number and K signed digits, `59-2-9-6?`; its answer is (start + sum) mod 100 in two digits. A trace
writes every running value: `59-2=57;57-9=48;48-6=42;\\boxed{42}`. Two right traces exist per problem (terms left to
right, or reversed). The gap between student and teacher is made of habits: when a trace for supervised fine-tuning is
written, a step may go wrong and the trace goes on consistently from the wrong value.
"""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Habits:
    """Probability that a step of a trace goes wrong, by kind of step."""

    carry: float = 0.0  # the units exceed 9 and the carry is dropped: 10 too small
    borrow: float = 0.0  # the units go below 0 and the borrow is dropped: 10 too large
    slip: float = 0.0  # neither carry nor borrow, one off


CLEAN = Habits()
STUDENT = Habits(carry=0.35, borrow=0.65, slip=0.03)  # borrow over one half: sharpening alone cannot repair it


@dataclass(frozen=True)
class Problem:
    """Example: Problem(start=59, terms=(-2, -9, -6)).text == "59-2-9-6?" and .answer == "42"."""

    start: int
    terms: tuple[int, ...]

    @property
    def text(self) -> str:
        return f"{self.start:02d}" + "".join(f"{t:+d}" for t in self.terms) + "?"

    @property
    def answer(self) -> str:
        return f"{(self.start + sum(self.terms)) % 100:02d}"


def draw_problem(rng: random.Random, num_terms: int) -> Problem:
    return Problem(rng.randint(10, 99), tuple(rng.choice((-1, 1)) * rng.randint(2, 9) for _ in range(num_terms)))


def write_trace(problem: Problem, rng: random.Random, habits: Habits = CLEAN) -> str:
    """One chain of thought: left to right in 2 of 3 traces, reversed order of the terms in 1 of 3."""
    terms = problem.terms if rng.random() < 2 / 3 else problem.terms[::-1]
    value, steps = problem.start, []
    for term in terms:
        after = (value + term + _error(value % 10 + term, rng, habits)) % 100
        steps.append(f"{value:02d}{term:+d}={after:02d};")
        value = after
    return "".join(steps) + f"\\boxed{{{value:02d}}}"


def _error(units: int, rng: random.Random, habits: Habits) -> int:
    if units > 9:
        return -10 if rng.random() < habits.carry else 0
    if units < 0:
        return 10 if rng.random() < habits.borrow else 0
    return rng.choice((-1, 1)) if rng.random() < habits.slip else 0
