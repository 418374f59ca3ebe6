"""(gold, response) -> right | wrong | failed. The one grader, of training and of evaluation.

extract.py finds the answer, spelling.py cleans it, forms.py reads it, compare.py compares forms and decides most pairs by itself. What only algebra can tell
goes to worker processes (symbolic.py) with a limit of time and of memory, which are killed and replaced when they exceed it.
"""

import functools
import os
import threading
import time
import weakref
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Literal

from scope_openrlhf.verifier.compare import Rules, same
from scope_openrlhf.verifier.extract import extract_answers
from scope_openrlhf.verifier.forms import TooDeep
from scope_openrlhf.verifier.spelling import MAX_ANSWER_CHARS, squeeze

__all__ = ["Grader", "GraderError", "Rules", "Verdict", "verify"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Example: Verdict("right", extracted="42", reason="same")."""

    verdict: Literal["right", "wrong", "failed"]
    """failed: the grader could not decide (time, memory, a gold answer that is no mathematics); a score counts it as wrong, and says so."""
    extracted: str | None
    reason: str

    @property
    def right(self) -> bool:
        return self.verdict == "right"


class GraderError(RuntimeError):
    """No worker can be started. A run must not go on without a grader."""


class Undecided(Exception):
    """Nobody knows, for this reason. Never remembered: the next try may have more time."""


class _NeedsAlgebra(Exception):
    pass


class Grader:
    """verify() with its own limits and its own workers, started when a pair first needs them. For any thread of one process."""

    def __init__(
        self, workers: int = min(2, os.cpu_count() or 1), seconds: float = 5.0, mib: int = 1024, memory: int = 20_000
    ) -> None:
        """seconds, mib: limits of one pair. memory: pairs of gold and answer whose verdict is remembered."""
        self.workers, self.seconds, self.mib = workers, seconds, mib
        self.pool: Any = None
        self.starting = threading.Lock()
        self.decide = functools.lru_cache(memory)(self._decide)

    def verify(self, gold: str, response: str, *, lenient: bool = False, significant: bool = False) -> Verdict:
        """Grade a response (without its prompt) against the gold answer.

        lenient: without a box, take what follows "the answer is", else the last number. significant: see compare.Rules.
        """
        answers = extract_answers(response, lenient)
        if not answers:
            return Verdict("wrong", None, "no complete \\boxed{}")
        shown = ", ".join(answers).encode("utf-8", "replace").decode()[:MAX_ANSWER_CHARS]
        if any(len(a) > MAX_ANSWER_CHARS for a in answers):
            return Verdict("wrong", shown[:100], f"an answer longer than {MAX_ANSWER_CHARS} characters")
        pair = _sound(gold), tuple(_sound(a) for a in answers), Rules(significant)
        try:  # long answers are not worth remembering
            right, reason = self.decide(*pair) if len(shown) <= 200 else self._decide(*pair)
        except Undecided as error:
            return Verdict("failed", shown, str(error))
        return Verdict("right" if right else "wrong", shown, reason)

    def _decide(self, gold: str, answers: tuple[str, ...], rules: Rules) -> tuple[bool, str]:
        if len(answers) == 1 and " ".join(answers[0].split()) == " ".join(gold.split()):
            return True, "same text"
        try:
            right = same(gold, list(answers), _without_algebra, rules)
            return right, "same" if right else "different"
        except _NeedsAlgebra:
            right = self._in_a_worker(gold, answers, rules)
            return right, "same by algebra" if right else "different by algebra"
        except TooDeep as error:
            return False, str(error)
        except (ValueError, ArithmeticError, RecursionError) as error:  # of numbers that no machine holds
            raise Undecided(f"{type(error).__name__}: {error}"[:200]) from None

    def _in_a_worker(self, gold: str, answers: tuple[str, ...], rules: Rules) -> bool:
        from pebble import ProcessExpired

        from scope_openrlhf.verifier.worker import decide

        for last_try in (False, True):
            pool = self._started()
            try:
                outcome, value = pool.schedule(decide, args=[gold, list(answers), rules], timeout=self.seconds).result()
                break
            except TimeoutError:
                raise Undecided(f"not decided in {self.seconds:g} s") from None
            except ProcessExpired:
                raise Undecided("the grader's worker died, of memory perhaps") from None
            except (
                RuntimeError,
                CancelledError,
            ) as error:  # the pool itself is broken, or was closed by a thread that found it so
                if last_try:
                    raise GraderError(
                        f"the grader's workers do not start with {self.mib} MiB each ({error}); give them more memory"
                    ) from error
                self.close(pool)
        if outcome == "undecided":
            raise Undecided(str(value))
        return bool(value)

    def _started(self):
        with self.starting:
            if self.pool is None:
                ready = threading.Event()
                threading.Thread(target=self._keep, args=(ready,), daemon=True).start()
                ready.wait()
            return self.pool

    def _keep(self, ready: threading.Event) -> None:
        """Start the pool in a thread of its own that lasts: the kernel ends workers with the thread that started them."""
        from loky.backend import get_context
        from pebble import ProcessPool

        from scope_openrlhf.verifier.worker import limit

        try:
            # loky's processes start afresh: neither a fork of threads nor a second run of the main script
            arguments = [self.mib, os.getpid()]
            self.pool = pool = ProcessPool(
                self.workers, max_tasks=2_000, initializer=limit, initargs=arguments, context=get_context("loky")
            )
            pool.schedule(os.getpid)  # the first task starts the workers
            weakref.finalize(self, _stop, pool)
        finally:
            ready.set()
        while pool.active:
            time.sleep(1)

    def close(self, only: object = None) -> None:
        """End the workers; the next pair that needs one starts them anew. only: leave another pool than this one as it is."""
        with self.starting:
            if self.pool is not None and only in (None, self.pool):
                _stop(self.pool)
                self.pool = None


def _stop(pool) -> None:
    pool.stop()
    pool.join()


def verify(gold: str, response: str, *, lenient: bool = False, significant: bool = False) -> Verdict:
    """`Grader.verify` with the default limits: 5 s and 1 GiB for a pair, two workers."""
    return _DEFAULT.verify(gold, response, lenient=lenient, significant=significant)


_DEFAULT = Grader()


def _without_algebra(gold: str, answer: str, kind: str) -> bool:
    if squeeze(gold) == squeeze(answer):
        return True
    raise _NeedsAlgebra


def _sound(text: str) -> str:
    """Without half surrogates and NULs, which no pipe and no parser takes."""
    return text.encode("utf-8", "replace").decode().replace("\0", "�")
