"""Worker processes of a grader.

They start when a pair first needs algebra, are bounded in time and memory, and are replaced when they end.
"""

import os
import signal
import threading
import time
import weakref
from concurrent.futures import CancelledError

from loky.backend import get_context
from pebble import ProcessExpired, ProcessPool

from scope_openrlhf.verifier.compare import Rules
from scope_openrlhf.verifier.worker import decide, limit


class GraderError(RuntimeError):
    """A grader without workers: none can be started, and a run must not go on without a grader."""


class Undecided(Exception):
    """A pair that nobody could decide, for this reason. Never remembered: the next try may have more time."""

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        """Note the reason, and the CPU seconds that a worker spent."""
        super().__init__(reason)
        self.seconds = seconds


class Workers:
    """Pool of worker processes that compare with algebra, for any thread of one process."""

    def __init__(self, count: int, seconds: float, mib: int) -> None:
        """Note the limits of one pair, seconds of CPU time and MiB; no process starts yet."""
        self.count, self.seconds, self.mib = count, seconds, mib
        self.pool: ProcessPool | None = None
        self.starting = threading.Lock()

    def decide(self, gold: str, answers: tuple[str, ...], rules: Rules) -> tuple[bool, float]:
        """Whether the answers are the gold one, and the CPU seconds that this took.

        Raises Undecided, and GraderError where no worker starts.
        """
        for last_try in (False, True):
            pool = self._started()
            try:
                pair = [gold, list(answers), rules, self.seconds]
                # the clock is for a worker that waits for something, which none does
                task = pool.schedule(decide, args=pair, timeout=60 + 20 * self.seconds)
                outcome, value, spent = task.result()
                break
            except TimeoutError:
                raise Undecided("not decided in time: the grader's worker hung") from None
            except ProcessExpired as error:
                if error.exitcode == -signal.SIGPROF:
                    raise Undecided(f"not decided in {self.seconds:g} s of CPU time", self.seconds) from None
                raise Undecided(f"the grader's worker ended with exit code {error.exitcode}") from None
            except (
                RuntimeError,
                CancelledError,
            ) as error:  # the pool is broken, or a thread that found it so closed it
                if last_try:
                    raise GraderError(
                        f"the grader's workers do not start with {self.mib} MiB each ({error}); give them more memory"
                    ) from error
                self.close(pool)
        if outcome == "undecided":
            raise Undecided(str(value), spent)
        return bool(value), spent

    def close(self, only: ProcessPool | None = None) -> None:
        """End the processes; the next pair starts new ones. only: leave another pool than this one as it is."""
        with self.starting:
            if self.pool is not None and only in (None, self.pool):
                _stop(self.pool)
                self.pool = None

    def _started(self) -> ProcessPool:
        """Return the pool, started where none is up."""
        with self.starting:
            if self.pool is None:
                ready = threading.Event()
                threading.Thread(target=self._keep, args=(ready,), daemon=True).start()
                ready.wait()
            if self.pool is None:
                raise GraderError("the grader's pool of workers does not start")
            return self.pool

    def _keep(self, ready: threading.Event) -> None:
        """Start the pool in a thread that lasts, since the kernel ends workers with the thread that started them."""
        try:
            # loky's processes start afresh: neither a fork of threads nor a second run of the main script
            arguments = [self.mib, os.getpid()]
            self.pool = pool = ProcessPool(
                self.count, max_tasks=2_000, initializer=limit, initargs=arguments, context=get_context("loky")
            )
            pool.schedule(os.getpid)  # the first task starts the workers
            weakref.finalize(self, _stop, pool)
        finally:
            ready.set()
        while pool.active:
            time.sleep(1)


def _stop(pool: ProcessPool) -> None:
    """End a pool's processes and wait for them."""
    pool.stop()
    pool.join()
