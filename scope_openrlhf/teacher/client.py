"""The teacher as a caller sees it: token ids in, checked log-probs of exactly those tokens out.

That holds whatever happens to single replicas. Every answer is checked before it can reach a weight: a missing or
broken number is a TeacherError, never a zero.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from scope_openrlhf.settings.resolved import Teacher
from scope_openrlhf.teacher.connect import connect
from scope_openrlhf.teacher.contract import Completion, Endpoint, Score, TeacherError, check_completion, check_score
from scope_openrlhf.teacher.identity import teacher_identity
from scope_openrlhf.teacher.score_log import ScoreLog

T = TypeVar("T")

AT_ONCE = 128
"""Requests under way for each replica where thousands wait.

Enough to keep its engine busy, few enough that none waits in its queue past the deadline.
"""


class TeacherClient:
    """A teacher behind one door.

    It sends each request to the replica with the fewest outstanding tokens, checks the answer, and asks another one
    where it fails. One for each worker that asks, used from one event loop.
    """

    def __init__(
        self,
        endpoints: list[Endpoint],
        deadline_seconds: float,
        pause_seconds: float = 1.0,
        log: ScoreLog | None = None,
    ) -> None:
        """Make a client of these replicas.

        deadline_seconds: longest wait for one answer, over all replicas and attempts. pause_seconds: for which a
        replica rests that has failed; one that was silent rests as long as it was. log: where scores are looked up
        first and kept; without endpoints it is all there is.
        """
        self.endpoints, self.log = endpoints, log
        self.deadline_seconds, self.pause_seconds = deadline_seconds, pause_seconds
        self.load = {e.name: 0 for e in endpoints}
        self.resting_until = {e.name: 0.0 for e in endpoints}

    async def close(self) -> None:
        """End the connections and close the score log."""
        for endpoint in self.endpoints:
            await endpoint.close()
        if self.log:
            self.log.close()

    async def score(self, token_ids: list[int], top_k: int = 0) -> Score:
        """Checked log-probs of token_ids[1:], and of the top_k likeliest tokens at each of their positions.

        Raises TeacherError, naming each failure, if no replica gave a sound answer by the deadline.
        """
        if self.log is None:
            return await self._score(token_ids, top_k)
        score = await asyncio.to_thread(self.log.get, token_ids, top_k)
        if score is not None:
            check_score(token_ids, score, top_k, "the score log")
            return score
        if not self.endpoints:
            raise TeacherError(
                f"the score log holds no score of a request of {len(token_ids)} tokens by this teacher at top_k "
                f"{top_k}; unset teacher.replay, or replay the run that wrote it with the same config"
            )
        score = await self._score(token_ids, top_k)
        await asyncio.to_thread(self.log.put, token_ids, top_k, score)
        return score

    async def generate(self, prompt_ids: list[int], max_tokens: int, seed: int) -> Completion:
        """Sample at most max_tokens after the prompt.

        Raises TeacherError, naming each failure, if no replica gave a sample by the deadline.
        """

        async def checked(replica: Endpoint) -> Completion:
            completion = await replica.generate(prompt_ids, max_tokens, seed)
            check_completion(completion, max_tokens, replica.name)
            return completion

        return await self._ask("continued", len(prompt_ids) + max_tokens, checked)

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
        silent: set[str] = set()
        while (left := give_up - (now := time.monotonic())) > 0:
            # a replica that failed rests while others can answer; else the one that rests the shortest is asked soon
            resting = {name: max(until - now, 0.0) for name, until in self.resting_until.items()}
            endpoint = min(self.endpoints, key=lambda e: (resting[e.name], self.load[e.name]))
            # silence costs half of what is left while there is another that may speak, and all of it else
            patience = left / 2 if self.load.keys() - silent - {endpoint.name} else left
            pause = min(resting[endpoint.name], self.pause_seconds)
            if failures and pause >= left:  # it would not be asked any more, and so is not called silent
                break
            self.load[endpoint.name] += num_tokens
            try:
                await asyncio.sleep(pause)
                return await asyncio.wait_for(ask(endpoint), now + patience - time.monotonic())
            except TimeoutError:
                silent.add(endpoint.name)
                how_long = "still silent at the deadline" if patience == left else f"silent for {patience:.3g} s"
                failures.append(f"{endpoint.name} was {how_long}")
                self.resting_until[endpoint.name] = time.monotonic() + patience
            except TeacherError as error:
                failures.append(str(error))
                self.resting_until[endpoint.name] = time.monotonic() + self.pause_seconds
            finally:
                self.load[endpoint.name] -= num_tokens
        todo = ". Raise the deadline, or add teacher.replicas or teacher.urls" if silent else ""
        raise TeacherError(
            f"no replica {done} a request of {num_tokens} tokens within teacher.deadline_seconds "
            f"{self.deadline_seconds:g}: {'; '.join(dict.fromkeys(failures[-5:]))}{todo}"
        )


def client_of(teacher: Teacher) -> TeacherClient:
    """A client of all replicas of a teacher, with its score log where it has one. To be closed after use."""
    log = ScoreLog(teacher.score_log, teacher_identity(teacher)) if teacher.score_log else None
    return TeacherClient(connect(teacher), teacher.deadline_seconds, log=log)


def score_all(
    teacher: Teacher, requests: list[list[int]], top_k: int, goes_on: Callable[[], None]
) -> list[Score | TeacherError]:
    """Checked scores of many requests, each a list of token ids; in place of one that failed, its error.

    A request that is there twice is asked once. So many are under way at a time that none waits in a queue past its
    deadline; once more than teacher.drop_budget have failed the rest are not asked. goes_on is called after each
    answer.
    """
    with ThreadPoolExecutor(1) as thread:  # the caller's own may have an event loop already
        return thread.submit(asyncio.run, _score_all(teacher, requests, top_k, goes_on)).result()


async def _score_all(
    teacher: Teacher, requests: list[list[int]], top_k: int, goes_on: Callable[[], None]
) -> list[Score | TeacherError]:
    client = client_of(teacher)
    room = asyncio.Semaphore(AT_ONCE * max(len(client.endpoints), 1))
    failed: list[TeacherError] = []

    async def score(token_ids: tuple[int, ...]) -> Score | TeacherError:
        async with room:
            if len(failed) > teacher.drop_budget:
                return failed[0]
            try:
                return await client.score(list(token_ids), top_k)
            except TeacherError as error:
                failed.append(error)
                return error
            finally:
                goes_on()

    try:
        different = list(dict.fromkeys(map(tuple, requests)))
        scores = dict(zip(different, await asyncio.gather(*map(score, different)), strict=True))
        return [scores[tuple(request)] for request in requests]
    finally:
        await client.close()
