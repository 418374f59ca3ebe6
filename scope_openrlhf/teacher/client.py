"""The teacher as a caller sees it: token ids in, checked log-probs of exactly those tokens out, whatever happens to single replicas.

Every answer is checked before it can reach a weight: a missing or broken number is a TeacherError, never a zero.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from scope_openrlhf.equations.batch import Attempt

T = TypeVar("T")

AT_ONCE = 128
"""Requests under way for each replica where thousands wait: enough to keep its engine busy, few enough that none waits past its deadline."""


class TeacherError(RuntimeError):
    """The teacher did not give a usable answer. The message says which replica, which request and what to do."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the teacher says of a request of L tokens: its log-probs in nats of tokens 1 to L - 1, each given those before it.

    Example, L = 3, top_k = 2: Score(token_ids=[7, 9], logprobs=[-0.1, -2.3], topk_ids=[[7, 4], [5, 9]], topk_logprobs=[[-.1, -3.], [-.2, -2.3]])
    """

    token_ids: np.ndarray
    """(L - 1,) int, the tokens scored, as the engine names them."""
    logprobs: np.ndarray
    """(L - 1,) float32."""
    topk_ids: np.ndarray
    """(L - 1, K) int32, the likeliest tokens at each position; K = 0 where none were asked for."""
    topk_logprobs: np.ndarray
    """(L - 1, K) float32."""


@dataclass(frozen=True, slots=True)
class Response:
    """What the teacher wrote after a prompt. Example: Response(token_ids=[7, 9, 1], truncated=False)."""

    token_ids: list[int]
    truncated: bool
    """Cut off by its length, rather than ended by the teacher itself."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a rollout brings along beside its tokens.

    Not in rollout.py, which OpenRLHF loads under a name that no other process can import: a class of it would travel by value, in seconds.
    """

    attempt: Attempt
    score: Score | TeacherError | None
    """None where the algorithm asked for none."""
    asked: float
    answered: float
    """Seconds since the epoch; the time that the teacher took, also in its queue, lies between."""


class Endpoint(Protocol):
    """One replica, however it is reached: teacher_engine.RayEndpoint, teacher_http.HttpEndpoint."""

    name: str

    async def score(self, token_ids: list[int], top_k: int) -> Score:
        """Unchecked. Raises TeacherError if the replica gives no answer; it may be asked again."""
        ...

    async def generate(self, prompt_ids: list[int], max_tokens: int, seed: int) -> Response:
        """Sampled at the teacher's temperature. Raises TeacherError as `score` does."""
        ...

    async def open(self, text: str, token_ids: list[int], max_len: int) -> None:
        """Raises TeacherError if it reads text as other tokens than the student, or takes no request of max_len tokens."""
        ...

    async def close(self) -> None: ...


class Log(Protocol):
    """score_log.ScoreLog."""

    def get(self, token_ids: list[int], top_k: int) -> Score | None: ...
    def put(self, token_ids: list[int], top_k: int, score: Score) -> None: ...


class TeacherClient:
    """Sends each request to the replica with the fewest outstanding tokens, checks the answer, and asks another one where it fails.

    One per rollout worker, used from one event loop.
    """

    def __init__(
        self, endpoints: list[Endpoint], deadline_seconds: float, pause_seconds: float = 1.0, log: "Log | None" = None
    ) -> None:
        """log: where scores are looked up first and kept. Without endpoints it is all there is."""
        self.endpoints, self.log = endpoints, log
        self.deadline_seconds, self.pause_seconds = deadline_seconds, pause_seconds
        self.load = {e.name: 0 for e in endpoints}
        self.resting_until = {e.name: 0.0 for e in endpoints}

    async def score(self, token_ids: list[int], top_k: int = 0) -> Score:
        """Log-probs of token_ids[1:]. Raises TeacherError, naming each failure, if no replica gave a sound answer by the deadline."""
        if self.log is None:
            return await self._score(token_ids, top_k)
        score = await asyncio.to_thread(self.log.get, token_ids, top_k)
        if score is not None:
            check_score(token_ids, score, top_k, "the score log")
            return score
        if not self.endpoints:
            raise TeacherError(
                f"the score log holds no score of a request of {len(token_ids)} tokens by this teacher at top_k {top_k}; "
                "unset teacher.replay, or replay the run that wrote it with the same config"
            )
        score = await self._score(token_ids, top_k)
        await asyncio.to_thread(self.log.put, token_ids, top_k, score)
        return score

    async def generate(self, prompt_ids: list[int], max_tokens: int, seed: int) -> Response:
        """A sample of at most max_tokens after the prompt. Raises TeacherError, naming each failure, if no replica gave one by the deadline."""
        return await self._ask(
            "continued", len(prompt_ids) + max_tokens, lambda replica: replica.generate(prompt_ids, max_tokens, seed)
        )

    async def _score(self, token_ids: list[int], top_k: int) -> Score:
        async def checked(replica: Endpoint) -> Score:
            score = await replica.score(token_ids, top_k)
            check_score(token_ids, score, top_k, replica.name)
            return score

        return await self._ask("scored", len(token_ids), checked)

    async def _ask(self, done: str, num_tokens: int, ask: Callable[[Endpoint], Awaitable[T]]) -> T:
        """done: what a replica did to a request that it answered, for the error."""
        give_up = time.monotonic() + self.deadline_seconds
        failures: list[str] = []
        while (left := give_up - time.monotonic()) > 0:
            now = time.monotonic()
            # a replica that failed rests while others can answer; where all rest, the one that rests the shortest is asked
            endpoint = min(
                self.endpoints, key=lambda e: (max(self.resting_until[e.name] - now, 0.0), self.load[e.name])
            )
            self.load[endpoint.name] += num_tokens
            try:
                await asyncio.sleep(min(max(self.resting_until[endpoint.name] - now, 0.0), left))
                return await asyncio.wait_for(ask(endpoint), give_up - time.monotonic())
            except TimeoutError:
                failures.append(f"{endpoint.name} was still silent at the deadline")
            except TeacherError as error:
                failures.append(str(error))
                self.resting_until[endpoint.name] = time.monotonic() + self.pause_seconds
            finally:
                self.load[endpoint.name] -= num_tokens
        raise TeacherError(
            f"no replica {done} a request of {num_tokens} tokens within teacher.deadline_seconds {self.deadline_seconds:g}: "
            f"{'; '.join(dict.fromkeys(failures[-5:]))}. Look at the teacher's log, raise the deadline, or add teacher.replicas"
        )


def check_score(token_ids: list[int], score: Score, top_k: int, replica: str) -> None:
    """Raise TeacherError unless its log-probs are finite log-probs of exactly token_ids[1:], not all zero, and so are its top_k."""
    wanted = f"{replica}, request of {len(token_ids)} tokens"
    due = len(token_ids) - 1
    if len(score.logprobs) != due:
        raise TeacherError(f"{wanted}: {len(score.logprobs)} log-probs came back, {due} were due")
    other = np.flatnonzero(score.token_ids != np.array(token_ids[1:]))
    if len(other):
        at = other[0]
        raise TeacherError(
            f"{wanted}: position {at + 1} was scored as token {score.token_ids[at]}, sent was {token_ids[at + 1]}"
        )
    if score.topk_ids.shape != (due, top_k) or score.topk_logprobs.shape != (due, top_k):
        raise TeacherError(
            f"{wanted}: its top-k has the shapes {score.topk_ids.shape}, {score.topk_logprobs.shape}, due was {(due, top_k)}"
        )
    for logprobs in (score.logprobs, *score.topk_logprobs.T):
        bad = np.flatnonzero(~(np.isfinite(logprobs) & (logprobs <= 1e-6)))
        if len(bad):
            raise TeacherError(
                f"{wanted}: log-prob {logprobs[bad[0]]} at position {bad[0] + 1} is not a finite number <= 0; are the teacher's params sound?"
            )
    if due > 1 and not score.logprobs.any():
        raise TeacherError(f"{wanted}: every log-prob is exactly 0, which no model says of a whole sequence")
