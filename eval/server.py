"""Sampling from a server that speaks OpenAI's protocol, for instance `vllm serve`."""

import asyncio
import os
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from scope_eval.sampler import Request, SamplingError
from scope_eval.store import Sample
from scope_openrlhf.settings import api_keys
from scope_openrlhf.settings.errors import ConfigError


class Server:
    """A server of OpenAI's completions. The API key is read from SCOPE_EVAL_API_KEY."""

    requests_at_once = 256

    def __init__(self, url: str, model: str) -> None:
        """Ask the server what it serves.

        model: as the server calls it; empty: the only one that it serves.
        Raises ConfigError if the server does not answer or has no such model.
        """
        from openai import OpenAI, OpenAIError  # half a second of start-up, also of runs with engines

        if api_keys.with_secret(url):
            raise ConfigError(
                "--base-url must be an address alone, for instance http://machine:8000: no user, no password, no "
                f"parameters. The API key is read from {api_keys.EVAL}"
            )
        url = url.rstrip("/")
        self.url = url if url.endswith("/v1") else f"{url}/v1"
        self.access: dict[str, Any] = {"base_url": self.url, "api_key": os.environ.get(api_keys.EVAL) or "none"}
        try:
            answered = OpenAI(**self.access, timeout=10.0, max_retries=1).models.list()
            served = {m.id: getattr(m, "root", None) for m in answered}
        except OpenAIError as error:
            said = api_keys.masked(str(error))
            raise ConfigError(
                f"--base-url {url} does not answer ({said}); is it up, and is {api_keys.EVAL} set if it wants a key?"
            ) from None
        if not model and len(served) == 1:
            (model,) = served
        if model not in served:
            raise ConfigError(
                f"--base-url {url} serves {', '.join(served)}, not {model!r}; name one with --served-model"
            )
        self.model = model
        self.identity = {"served": model, "root": str(served[model])}
        """Which model answers, as far as the server tells."""

    def sample(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Sample]]]:
        """(key, sample) of each request, as they finish. Raises SamplingError once one is refused or unanswered."""
        from openai import AsyncOpenAI, BadRequestError, OpenAIError  # as above

        loop = asyncio.new_event_loop()
        client = AsyncOpenAI(**self.access, max_retries=5, timeout=3600.0)
        pending = deque(requests)
        running: dict[asyncio.Task[Sample], int] = {}
        failure: OpenAIError | None = None
        try:
            while running or (pending and not failure):
                while pending and len(running) < self.requests_at_once and not failure:
                    request = pending.popleft()
                    running[loop.create_task(self._ask(client, request))] = request.key
                loop.run_until_complete(asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))
                loop.run_until_complete(asyncio.sleep(0.1))  # what ends at the same moment travels together
                finished = []
                for task in [t for t in running if t.done()]:
                    key = running.pop(task)
                    if isinstance(error := task.exception(), OpenAIError):
                        failure = error  # the others are waited for: what they cost is not lost
                    else:
                        finished.append((key, task.result()))
                yield finished
            if failure:
                refused = isinstance(failure, BadRequestError)
                again = "" if refused else "; run the same again, it continues where it was"
                raise SamplingError(api_keys.masked(f"{self.url}: {failure}{again}")) from None
        finally:
            for task in running:
                task.cancel()
            if running:
                loop.run_until_complete(asyncio.wait(running))
            loop.run_until_complete(client.close())
            loop.close()

    async def _ask(self, client: Any, request: Request) -> Sample:
        from openai import OpenAIError  # as above

        params = dict(request.params)
        # vLLM's, not OpenAI's; left out, a server would take the model's own
        own = {k: params.pop(k) for k in ("top_k", "min_p", "repetition_penalty") if k in params}
        answer = await client.completions.create(model=self.model, prompt=request.token_ids, extra_body=own, **params)
        said, used = answer.choices[0], answer.usage
        if used is None:
            raise OpenAIError("its answers do not count their tokens (usage)")
        tokens, reason = used.completion_tokens, str(said.finish_reason)
        return Sample(request.item, request.number, said.text, tokens, reason, params["seed"], self.url)

    def close(self) -> None:
        """Leave the server as it is."""
