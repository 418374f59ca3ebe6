"""Functions that run in the grader's worker processes.

Only texts go in; a word and a truth value or a reason come out. sympy takes a second to import and only workers need
it, so it is imported inside the functions.
"""

import ctypes
import logging
import os
import resource
import signal
import sys
import time

from scope_openrlhf.verifier.compare import Rules


def limit(mib: int, parent: int) -> None:
    """Bound this process's memory to mib MiB, and let the kernel end it with its parent, a process id."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)  # the parent ended before that
    resource.setrlimit(resource.RLIMIT_AS, (mib * 2**20, mib * 2**20))
    sys.setrecursionlimit(3_000)
    # it warns of every call that has no time limit; the limit is ours
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    from scope_openrlhf.verifier import symbolic  # noqa: F401  a second, before the first pair's time begins


def decide(gold: str, answers: list[str], rules: Rules, seconds: float) -> tuple[str, bool | str, float]:
    """Compare with algebra: ("decided", whether they are the same) or ("undecided", why not), and the CPU seconds.

    The kernel ends this process when it has worked for so many seconds: on a loaded machine the clock says nothing, and
    no handler could interrupt a long multiplication.
    """
    from scope_openrlhf.verifier import symbolic  # a second, which the parent need not spend

    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    outcome: tuple[str, bool | str]
    try:
        outcome = "decided", symbolic.decide(gold, answers, rules)
    except (MemoryError, RecursionError) as error:
        outcome = "undecided", type(error).__name__
    except Exception as error:  # border to libraries that read untrusted text: an undecided pair is data, not a crash
        outcome = "undecided", f"{type(error).__name__}: {error}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return *outcome, time.process_time() - start
