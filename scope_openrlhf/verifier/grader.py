"""Verdict on a response: right, wrong, or failed where nobody could decide.

extract.py finds the answer, spelling.py cleans it, parse.py reads it as one of forms.py, compare.py compares two forms
and decides most pairs by itself. What only algebra can tell goes to worker processes (pool.py), where latex.py reads
and symbolic.py compares with sympy.
"""

import functools
import os
import time
from dataclasses import dataclass, field, replace
from typing import Literal

from scope_openrlhf.verifier.brackets import TooMuch
from scope_openrlhf.verifier.compare import Rules, same
from scope_openrlhf.verifier.extract import extract_answers
from scope_openrlhf.verifier.pool import Undecided, Workers
from scope_openrlhf.verifier.spelling import MAX_ANSWER_CHARS, squeeze

SECONDS = 5.0
"""CPU seconds that a pair may take, in training, in evaluation and on the command line alike."""
MIB = 1024
"""Memory that a worker may take."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of grading one response.

    Example: Verdict("right", extracted="42", reason="same")
    """

    verdict: Literal["right", "wrong", "failed"]
    """failed: the grader could not decide, for want of time or memory or because the gold answer is no mathematics.
    An evaluation counts it as wrong, and says so."""
    extracted: str | None
    """Answer that the response gives, None where it has no complete box."""
    reason: str
    seconds: float = field(default=0.0, compare=False)
    """CPU seconds that it took, here and in a worker; the wait for a worker is none of them."""

    @property
    def right(self) -> bool:
        """Whether the response is right."""
        return self.verdict == "right"


class _NeedsAlgebra(Exception):
    """A pair that its spelling does not decide."""


class Grader:
    """Grader with its own limits and its own workers, which start when a pair first needs them.

    Any thread of one process may use it.
    """

    def __init__(
        self,
        workers: int = min(2, os.cpu_count() or 1),
        seconds: float = SECONDS,
        mib: int = MIB,
        memory: int = 20_000,
    ) -> None:
        """Set the limits.

        workers: number of processes. seconds, mib: limits of one pair, of CPU time and of memory.
        memory: number of pairs of gold and answer whose verdict is remembered.
        """
        self.workers = Workers(workers, seconds, mib)
        self.decide = functools.lru_cache(memory)(self._decide)

    def verify(self, gold: str, response: str, *, lenient: bool = False, significant: bool = False) -> Verdict:
        """Grade a response (without its prompt) against the gold answer.

        lenient: without a box, take what follows "the answer is", else the last number.
        significant: see compare.Rules.
        Raises GraderError where no worker can be started.
        """
        start = time.thread_time()
        verdict = self._graded(gold, response, lenient, Rules(significant))
        return replace(verdict, seconds=verdict.seconds + time.thread_time() - start)

    def _graded(self, gold: str, response: str, lenient: bool, rules: Rules) -> Verdict:
        answers = extract_answers(response, lenient)
        if not answers:
            return Verdict("wrong", None, "no complete \\boxed{}")
        shown = ", ".join(answers).encode("utf-8", "replace").decode()[:MAX_ANSWER_CHARS]
        if not gold.strip():
            return Verdict("failed", shown, "the gold answer is empty")
        if len(answers) == 1 and answers[0].split() == gold.split():
            return Verdict("right", shown, "same text")
        if any(len(a) > MAX_ANSWER_CHARS for a in answers):
            return Verdict("wrong", shown[:100], f"an answer longer than {MAX_ANSWER_CHARS} characters")
        pair = _sound(gold), tuple(_sound(a) for a in answers), rules
        try:  # long answers are not worth remembering
            right, reason, spent = self.decide(*pair) if len(shown) <= 200 else self._decide(*pair)
        except Undecided as error:
            return Verdict("failed", shown, str(error), error.seconds)
        return Verdict("right" if right else "wrong", shown, reason, spent)

    def close(self) -> None:
        """End the workers; the next pair that needs one starts them anew."""
        self.workers.close()

    def _decide(self, gold: str, answers: tuple[str, ...], rules: Rules) -> tuple[bool, str, float]:
        """Whether the answers are the gold one, why, and CPU seconds of a worker. Raises Undecided."""
        try:
            right = same(gold, list(answers), _without_algebra, rules)
            return right, "same" if right else "different", 0.0
        except _NeedsAlgebra:
            right, spent = self.workers.decide(gold, answers, rules)
            return right, "same by algebra" if right else "different by algebra", spent
        except TooMuch as error:
            return False, str(error), 0.0
        except (ValueError, ArithmeticError, RecursionError) as error:  # of numbers that no machine holds
            raise Undecided(f"{type(error).__name__}: {error}"[:200]) from None


def verify(gold: str, response: str, *, lenient: bool = False, significant: bool = False) -> Verdict:
    """Grade as `Grader.verify` with the default limits: 5 s and 1 GiB for a pair, at most two workers."""
    return _DEFAULT.verify(gold, response, lenient=lenient, significant=significant)


_DEFAULT = Grader()


def _without_algebra(gold: str, answer: str, kind: str) -> bool:
    """Compare two leaves by their spelling. Raises _NeedsAlgebra where that does not decide."""
    if squeeze(gold) == squeeze(answer):
        return True
    raise _NeedsAlgebra


def _sound(text: str) -> str:
    """Take away half surrogates and NULs, which no pipe and no parser takes."""
    return text.encode("utf-8", "replace").decode().replace("\0", "�")
