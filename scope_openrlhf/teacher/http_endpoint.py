"""Teachers that somebody else serves with `vllm serve`: token ids over HTTP, with the checks that a Ray group gets."""

import asyncio
import os
from typing import Any

import aiohttp
import numpy as np

from scope_openrlhf.settings import api_keys
from scope_openrlhf.teacher.contract import Completion, Score, TeacherError
from scope_openrlhf.teacher.replica import EXTENSION

SERVE = f"VLLM_SERVER_DEV_MODE=1 vllm serve ... --worker-extension-cls {EXTENSION} --no-enable-prefix-caching"
"""How a teacher is to be served, for messages."""


class HttpEndpoint:
    """One server, for instance http://10.0.0.7:8000.

    Before its first request it is asked for its model and set to the run's temperature.
    """

    def __init__(self, url: str, temperature: float) -> None:
        self.name = url.rstrip("/")
        self.temperature = temperature
        self.model: str | None = None
        self.since: list[float] = []
        """What its workers said when it was set up: since when their engines have run."""
        self.opening = asyncio.Lock()
        self.session: aiohttp.ClientSession | None = None

    async def open(self, text: str, token_ids: list[int], max_len: int) -> None:
        """Check that the server suits the run: `contract.Endpoint.open`."""
        card = await self._set_up()
        request = {"model": card["id"], "prompt": text, "add_special_tokens": False}
        read = (await self._call("POST", "/tokenize", request))["tokens"]
        if read != token_ids:
            raise TeacherError(
                f"{self.name} reads {text[:60]!r} as tokens {read[:8]}..., the student as {token_ids[:8]}...: "
                "token-level distillation needs one vocabulary; serve a teacher of the student's family"
            )
        if card.get("max_model_len", max_len + 1) <= max_len:
            raise TeacherError(
                f"{self.name} has --max-model-len {card['max_model_len']}, this run needs {max_len + 1}; serve it with "
                "that"
            )

    async def _set_up(self) -> dict[str, Any]:
        """Set the temperature, and return the server's model card.

        Raises TeacherError if the server does not answer, or cannot score at the temperature.
        """
        card = (await self._call("GET", "/v1/models"))["data"][0]
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
        self.model = card["id"]
        return card

    async def _temperature_since(self, method: str, *args: str) -> list[float]:
        """Times at which the workers' engines were started. Raises TeacherError if one is at another temperature."""
        answer = await self._call("POST", "/collective_rpc", {"method": method, "args": args})
        if any(worker["temperature"] != self.temperature for worker in answer["results"]):
            raise TeacherError(api_keys.masked(f"its workers answered {answer}"))
        return [worker["since"] for worker in answer["results"]]

    async def _require_untouched(self) -> None:
        """Raise TeacherError if the server scores at another temperature than 1.

        One that can be set may have been set by another run; one that cannot scores at 1.
        """
        try:
            answer = await self._call("POST", "/collective_rpc", {"method": "get_temperature", "args": []})
        except TeacherError:
            return
        if any(worker["temperature"] != 1.0 for worker in answer["results"]):
            said = f"{self.name} was set to another temperature than 1 by another run ({answer}); start it again"
            raise TeacherError(api_keys.masked(said))

    async def close(self) -> None:
        """End the connection; the server is somebody else's."""
        if self.session:
            await self.session.close()

    async def score(self, token_ids: list[int], top_k: int) -> Score:
        """Score a request, unchecked. Raises TeacherError if the server gives no answer."""
        body = {"prompt": token_ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": top_k}
        choice = await self._complete(body)
        if not (positions := choice.get("prompt_logprobs")):
            raise TeacherError(f"{self.name} answered without prompt_logprobs; it must be a vLLM server")
        return parse_positions(token_ids, positions[1:], top_k, self.name)

    async def generate(self, prompt_ids: list[int], max_tokens: int, seed: int) -> Completion:
        """Sample at the teacher's temperature. Raises TeacherError if the server gives no answer."""
        # the server has divided the logits already, so 1 here; what is left out it would take from the model's
        # generation_config
        plain = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
        body = {"prompt": prompt_ids, "max_tokens": max_tokens, "seed": seed, "return_token_ids": True}
        choice = await self._complete(body | plain)
        if (token_ids := choice.get("token_ids")) is None:
            raise TeacherError(f"{self.name} answered without token_ids; it must be a vLLM server of 0.10.2 or later")
        return Completion(token_ids, truncated=choice["finish_reason"] != "stop")

    async def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The first choice of /v1/completions, made at this endpoint's temperature. Raises TeacherError."""
        async with self.opening:
            if self.model is None:
                await self._set_up()
        since = self.since
        try:
            answer = await self._call("POST", "/v1/completions", {"model": self.model, **body})
            # asked after each answer: a server that was started again unseen is back at 1, until somebody sets it
            if self.temperature != 1.0 and await self._temperature_since("get_temperature") != since:
                raise TeacherError(f"{self.name} was started again while it answered; it is asked again")
        except TeacherError:
            self.model = None  # it is opened anew before it is believed again
            raise
        return answer["choices"][0]

    async def _call(self, verb: str, path: str, body: dict | None = None) -> dict[str, Any]:
        """The JSON that the server answers. path: of the URL. Raises TeacherError."""
        if self.session is None:
            key = os.environ.get(api_keys.TEACHER)
            self.session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=aiohttp.ClientTimeout()
            )
        try:
            async with self.session.request(verb, self.name + path, json=body, allow_redirects=False) as response:
                if response.status != 200:
                    said = api_keys.masked(await response.text())[:200]
                    raise TeacherError(f"{self.name}{path} answered {response.status}: {said}")
                return await response.json()
        except (aiohttp.ClientError, ValueError) as error:
            raise TeacherError(api_keys.masked(f"{self.name}{path}: {type(error).__name__}: {error}")) from None


def parse_positions(token_ids: list[int], positions: list[dict | None], top_k: int, name: str) -> Score:
    """The prompt_logprobs of a vLLM server as a Score.

    positions: of tokens 1 to L - 1, each {token id: {"logprob", "rank"}}; their number is not checked here. name: of
    the server. Raises TeacherError for a position that lacks the token sent or one of the top_k likeliest.
    """
    num = len(positions)
    ids, logprobs = np.zeros(num, np.int32), np.zeros(num, np.float32)
    topk_ids, topk_logprobs = np.zeros((num, top_k), np.int32), np.zeros((num, top_k), np.float32)
    for i, (position, sent) in enumerate(zip(positions, token_ids[1:], strict=False)):
        entry = (position or {}).get(str(sent))
        if position is None or entry is None:
            raise TeacherError(f"{name}: position {i + 1} holds no log-prob of token {sent}, which was sent")
        ids[i], logprobs[i] = sent, number(entry)
        ranked = sorted(position.items(), key=lambda item: item[1]["rank"])[:top_k]
        if [e["rank"] for _, e in ranked] != list(range(1, top_k + 1)):
            raise TeacherError(f"{name}: position {i + 1} lacks some of the {top_k} likeliest tokens")
        topk_ids[i], topk_logprobs[i] = [int(t) for t, _ in ranked], [number(e) for _, e in ranked]
    return Score(ids, logprobs, topk_ids, topk_logprobs)


def number(entry: dict) -> float:
    """The log-prob of a token, in nats. NaN for the null that vLLM sends in place of an infinity, which JSON lacks."""
    return float("nan") if entry["logprob"] is None else float(entry["logprob"])
