"""Teachers that somebody else serves with `vllm serve`: token ids over HTTP, with the checks that a Ray group gets."""

import asyncio
import math
from typing import Any

import numpy as np

from scope_openrlhf.models import replies
from scope_openrlhf.models.replies import ChoiceT, ModelCard, Position, Reply, ReplyT
from scope_openrlhf.models.served import MODEST_BYTES, ModelServer, ServerError, room
from scope_openrlhf.settings import api_keys
from scope_openrlhf.settings.sections import TeacherSettings
from scope_openrlhf.teacher.contract import Completion, OtherTeacher, Score, TeacherError
from scope_openrlhf.teacher.replica import EXTENSION

SERVE = f"VLLM_SERVER_DEV_MODE=1 vllm serve ... --worker-extension-cls {EXTENSION} --no-enable-prefix-caching"
"""How a teacher is to be served, for messages."""
KNOWN_SECONDS = 60.0
"""Longest wait for what a server knows without scoring: its model, its temperature, how it reads a text."""


class HttpEndpoint:
    """One server, for instance http://10.0.0.7:8000.

    Before its first request it is asked for its model and set to the run's temperature.
    """

    def __init__(
        self, url: str, temperature: float, deadline_seconds: float = TeacherSettings.deadline_seconds
    ) -> None:
        """deadline_seconds: longest wait for one reply."""
        self.server = ModelServer(url, api_keys.TEACHER, deadline_seconds)
        self.name = self.server.root
        self.temperature = temperature
        self.card: ModelCard | None = None
        """Of the model that it served at first, and must serve ever after."""
        self.believed = False
        """Whether nothing has gone wrong since it was set up."""
        self.since: list[float] = []
        """What its workers said when it was set up: since when their engines have run."""
        self.opening = asyncio.Lock()

    async def open(self, text: str, token_ids: list[int], max_len: int) -> None:
        """Check that the server suits the run: `contract.Endpoint.open`."""
        card = await self._set_up()
        request = {"model": card.id, "prompt": text, "add_special_tokens": False}
        read = (await self._call("POST", "/tokenize", request, replies.Tokens)).tokens
        if read != token_ids:
            raise OtherTeacher(
                f"{self.name} reads {text[:60]!r} as tokens {read[:8]}..., the student as {token_ids[:8]}...: "
                "token-level distillation needs one vocabulary; serve a teacher of the student's family"
            )
        if card.max_model_len is not None and card.max_model_len <= max_len:
            raise TeacherError(
                f"{self.name} has --max-model-len {card.max_model_len}, this run needs {max_len + 1}; serve it with "
                "that"
            )

    async def _set_up(self) -> ModelCard:
        """Set the temperature, and return the card of the server's model.

        Raises TeacherError if the server does not answer, serves another model than before, or cannot score at the
        temperature.
        """
        card = await self._served()
        if self.temperature == 1.0:
            await self._require_untouched()
        else:
            try:
                self.since = await self._temperature_since("set_temperature", str(self.temperature))
            except TeacherError as error:
                raise TeacherError(
                    f"{self.name} scores prompts at temperature 1 and cannot be set to {self.temperature:g} ({error}); "
                    f"start it as {SERVE}, or set teacher.temperature=1, which compares two temperatures"
                ) from None
        self.believed = True
        return card

    async def _served(self) -> ModelCard:
        """The card of the server's model. Raises TeacherError if it is another one than at first."""
        cards = (await self._call("GET", "/v1/models", None, replies.ModelList)).data
        if not cards:
            raise TeacherError(f"{self.name} serves no model")
        self.card = first = self.card or cards[0]
        if (cards[0].id, cards[0].root) != (first.id, first.root):
            raise TeacherError(
                f"{self.name} serves {cards[0].id} ({cards[0].root}) now, but {first.id} ({first.root}) before; serve "
                "that one again"
            )
        return cards[0]

    async def _temperature_since(self, method: str, *args: str) -> list[float]:
        """Times at which the workers' engines were started. Raises TeacherError if one is at another temperature."""
        request = {"method": method, "args": args}
        workers = (await self._call("POST", "/collective_rpc", request, replies.WorkerTemperatures)).results
        if any(worker.temperature != self.temperature for worker in workers):
            raise TeacherError(f"{self.name}: its workers are at temperatures {[w.temperature for w in workers]}")
        return [worker.since for worker in workers]

    async def _require_untouched(self) -> None:
        """Raise TeacherError if the server scores at another temperature than 1.

        One that can be set may have been set by another run; one that cannot scores at 1.
        """
        request = {"method": "get_temperature", "args": []}
        try:
            told = self.server.ask(
                replies.WorkerTemperatures, "POST", "/collective_rpc", request, most_seconds=KNOWN_SECONDS
            )
            workers = (await told).results
        except ServerError as error:
            if error.refused or error.status == 500:  # vLLM's word for a method that its workers lack
                return
            raise TeacherError(str(error)) from None
        if any(worker.temperature != 1.0 for worker in workers):
            raise TeacherError(
                f"{self.name} was set to another temperature than 1 by another run "
                f"({[w.temperature for w in workers]}); start it again"
            )

    async def close(self) -> None:
        """End the connection; the server is somebody else's."""
        await self.server.close()

    async def score(self, token_ids: list[int], top_k: int) -> Score:
        """Score a request, unchecked. Raises TeacherError if the server gives no answer."""
        body = {"prompt": token_ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": top_k}
        most_bytes = room(len(token_ids) * (1 + top_k))
        positions = (await self._complete(replies.Completion[replies.ScoredChoice], body, most_bytes)).prompt_logprobs
        if not positions:
            raise TeacherError(f"{self.name} answered without prompt_logprobs; it must be a vLLM server")
        if len(positions) != len(token_ids) or positions[0] is not None:
            raise TeacherError(
                f"{self.name} sent {len(positions)} prompt_logprobs, the first being {str(positions[0])[:60]}; due "
                f"were {len(token_ids)}, the first being null"
            )
        return parse_positions(token_ids, positions[1:], top_k, self.name)

    async def generate(self, prompt_ids: list[int], max_tokens: int, seed: int) -> Completion:
        """Sample at the teacher's temperature. Raises TeacherError if the server gives no answer."""
        # the server has divided the logits already, so 1 here; what is left out it would take from the model's
        # generation_config
        plain = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
        body = {"prompt": prompt_ids, "max_tokens": max_tokens, "seed": seed, "return_token_ids": True}
        most_bytes = room(len(prompt_ids) + max_tokens)
        choice = await self._complete(replies.Completion[replies.WrittenChoice], body | plain, most_bytes)
        if choice.token_ids is None:
            raise TeacherError(f"{self.name} answered without token_ids; it must be a vLLM server of 0.10.2 or later")
        return Completion(choice.token_ids, truncated=choice.finish_reason != "stop")

    async def _complete(
        self, reply: type[replies.Completion[ChoiceT]], body: dict[str, Any], most_bytes: int
    ) -> ChoiceT:
        """The choice of /v1/completions, made at this endpoint's temperature. Raises TeacherError."""
        async with self.opening:
            card = self.card if self.believed and self.card else await self._set_up()
        since = self.since
        try:
            request = {"model": card.id, **body}
            answer = await self._call("POST", "/v1/completions", request, reply, most_bytes, math.inf)
            if answer.model not in (None, card.id):
                raise TeacherError(f"{self.name} answered by the model {answer.model}, asked was {card.id}")
            # asked after each answer: a server that was started again unseen may serve another model, and is back at 1
            # until somebody sets it
            if self.temperature == 1.0:
                await self._served()
            elif await self._temperature_since("get_temperature") != since:
                raise TeacherError(f"{self.name} was started again while it answered; it is asked again")
        except TeacherError:
            self.believed = False
            raise
        return answer.choices[0]

    async def _call(
        self,
        verb: str,
        path: str,
        body: dict | None = None,
        reply: type[ReplyT] = Reply,  # type: ignore[assignment]  # mypy#3737
        most_bytes: int = MODEST_BYTES,
        most_seconds: float = KNOWN_SECONDS,
    ) -> ReplyT:
        """What the server answers. path: of the URL. Raises TeacherError."""
        try:
            return await self.server.ask(reply, verb, path, body, most_bytes, most_seconds)
        except ServerError as error:
            raise TeacherError(str(error)) from None


def parse_positions(token_ids: list[int], positions: list[Position | None], top_k: int, name: str) -> Score:
    """The prompt_logprobs of a vLLM server as a Score.

    positions: of tokens 1 to L - 1. name: of the server. Raises TeacherError for a position that holds other tokens
    than the one sent and the top_k likeliest.
    """
    num = len(positions)
    ids, logprobs = np.zeros(num, np.int32), np.zeros(num, np.float32)
    topk_ids, topk_logprobs = np.zeros((num, top_k), np.int32), np.zeros((num, top_k), np.float32)
    for i, (position, sent) in enumerate(zip(positions, token_ids[1:], strict=True)):
        said = position or {}
        ranked = sorted((entry.get("rank") or 0, token) for token, entry in said.items())
        top = [(rank, token) for rank, token in ranked if 1 <= rank <= top_k]
        wrong = ""
        if str(sent) not in said:
            wrong = f"holds no log-prob of token {sent}, which was sent"
        elif [rank for rank, _ in top] != list(range(1, top_k + 1)):
            wrong = f"lacks some of the {top_k} likeliest tokens"
        elif said.keys() - {token for _, token in top} - {str(sent)}:
            wrong = "holds more tokens than were asked for"
        if wrong:
            raise TeacherError(f"{name}: position {i + 1} {wrong}; it said: {str(position)[:200]}")
        ids[i], logprobs[i] = sent, said[str(sent)]["logprob"]
        topk_ids[i] = [int(token) for _, token in top]
        topk_logprobs[i] = [said[token]["logprob"] for _, token in top]
    return Score(ids, logprobs, topk_ids, topk_logprobs)
