"""A replica of a teacher group as its callers reach it, through Ray."""

import asyncio
import itertools

import ray

from scope_openrlhf.platform.cluster import last_line
from scope_openrlhf.settings.sections import TeacherSettings
from scope_openrlhf.teacher.contract import Completion, Score, TeacherError

Waiting = tuple[list[int], int, asyncio.Future[Score]]
"""Token ids, top_k, and where the score is awaited."""


class RayEndpoint:
    """A replica of the group, reached by its actor's name. It stays the same one when Ray starts it again.

    What is asked for at the same moment goes in one call for each engine step that it fills: a call costs more than a
    short score.
    """

    def __init__(self, name: str, tokens_per_call: int = TeacherSettings.max_num_batched_tokens) -> None:
        self.name, self.tokens_per_call = name, tokens_per_call
        self.handle = ray.get_actor(self.name)
        self.waiting: list[Waiting] = []
        self.calls: set[asyncio.Task] = set()

    async def score(self, token_ids: list[int], top_k: int) -> Score:
        """Score a request, unchecked. Raises TeacherError if the replica gives no answer."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        if not self.waiting:
            loop.call_soon(self._send)
        self.waiting.append((token_ids, top_k, answer))
        return await answer

    async def generate(self, prompt_ids: list[int], max_tokens: int, seed: int) -> Completion:
        """Sample at the teacher's temperature. Raises TeacherError if the replica gives no answer."""
        try:
            return await self.handle.generate.remote(prompt_ids, max_tokens, seed)
        except Exception as error:  # border to Ray
            said = f"{self.name} failed on a prompt of {len(prompt_ids)} tokens: {last_line(error)}"
            raise TeacherError(said) from None

    async def open(self, text: str, token_ids: list[int], max_len: int) -> None:
        """Nothing to check: the run did that with tokenizer and length before it started the replica."""

    async def close(self) -> None:
        """Nothing to end: the actor's handle goes with this object."""

    def _send(self) -> None:
        waiting, self.waiting = self.waiting, []
        while waiting:
            tokens = itertools.accumulate(len(token_ids) for token_ids, *_ in waiting)
            num = max(1, sum(t <= self.tokens_per_call for t in tokens))
            call = asyncio.create_task(self._call(waiting[:num]))
            self.calls.add(call)  # the event loop itself keeps no task alive
            call.add_done_callback(self.calls.discard)
            waiting = waiting[num:]

    async def _call(self, batch: list[Waiting]) -> None:
        try:
            answers = await self.handle.score.remote([(token_ids, top_k) for token_ids, top_k, _ in batch])
        except Exception as error:  # border to Ray: whatever it is, nobody may be left waiting
            answers = [last_line(error)] * len(batch)
        for (token_ids, _, awaited), answer in zip(batch, answers, strict=True):
            if awaited.done():  # given up at the deadline
                continue
            if isinstance(answer, Score):
                awaited.set_result(answer)
            else:
                awaited.set_exception(TeacherError(f"{self.name} failed on {len(token_ids)} tokens: {answer}"))
