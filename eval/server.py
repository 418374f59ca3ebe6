"""Sampling from a server that speaks OpenAI's protocol, for instance `vllm serve`."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

from scope_eval.sampler import Request, SamplingError
from scope_eval.store import Sample
from scope_openrlhf.models.replies import CountedCompletion, ModelCard, ModelList
from scope_openrlhf.models.served import ModelServer, ServerError, room
from scope_openrlhf.settings import address, api_keys
from scope_openrlhf.settings.errors import ConfigError


class Server:
    """A server of OpenAI's completions. The API key is read from SCOPE_EVAL_API_KEY."""

    requests_at_once = 256
    attempts = 6
    """How often a request is asked; whoever stands behind the address may be another one the next time."""
    pause_seconds = 0.5
    """Before the second attempt; before each further one twice as long."""
    patience_seconds = 3600.0
    """Longest wait for one response, over all attempts."""

    def __init__(self, url: str, model: str) -> None:
        """Ask the server what it serves.

        model: as the server calls it; empty: the only one that it serves.
        Raises ConfigError if the server does not answer or has no such model.
        """
        if why := address.fault(url):
            raise ConfigError(f"--base-url {why}. The API key is read from {api_keys.EVAL}")
        self.address = url
        try:
            served = {card.id: card for card in asyncio.run(self._models())}
        except ServerError as error:
            key = f"; put the key that it wants into {api_keys.EVAL}" if error.status in (401, 403) else ""
            raise ConfigError(f"--base-url {url} gives no list of its models: {error}{key}") from None
        if not served:
            raise ConfigError(f"--base-url {url} serves no model")
        if not model and len(served) == 1:
            (model,) = served
        if model not in served:
            some = ", ".join(list(served)[:10]) + (", ..." if len(served) > 10 else "")
            asked = f", not {model!r}" if model else ""
            raise ConfigError(f"--base-url {url} serves {some}{asked}; name one with --served-model")
        self.model = model
        self.identity = {"served": model, "root": str(served[model].root)}
        """Which model answers, as far as the server tells."""
        self.answers_as: str | None = None
        """What its first answer called the model, which every other one must."""

    def sample(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Sample]]]:
        """(key, sample) of each request, as they finish. Raises SamplingError once one is refused or unanswered."""
        loop = asyncio.new_event_loop()
        server = self._reached(self.patience_seconds)
        pending = deque(requests)
        running: dict[asyncio.Task[Sample], int] = {}
        failure: ServerError | None = None
        try:
            while running or (pending and not failure):
                while pending and len(running) < self.requests_at_once and not failure:
                    request = pending.popleft()
                    running[loop.create_task(self._ask(server, request))] = request.key
                loop.run_until_complete(asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))
                loop.run_until_complete(asyncio.sleep(0.1))  # what ends at the same moment travels together
                finished = []
                for task in [t for t in running if t.done()]:
                    key = running.pop(task)
                    if isinstance(error := task.exception(), ServerError):
                        failure = error  # the others are waited for: what they cost is not lost
                    else:
                        finished.append((key, task.result()))
                yield finished
            if failure:
                again = "" if failure.refused else "; run the same again, it continues where it was"
                raise SamplingError(f"{failure}{again}")
        finally:
            for task in running:
                task.cancel()
            if running:
                loop.run_until_complete(asyncio.wait(running))
            loop.run_until_complete(server.close())
            loop.close()

    async def _ask(self, server: ModelServer, request: Request) -> Sample:
        """Ask until there is a sample, or neither an attempt nor time is left. Raises ServerError."""
        now = asyncio.get_running_loop().time
        give_up, attempt, pause, before = now() + self.patience_seconds, 1, self.pause_seconds, ""
        while True:
            try:
                async with asyncio.timeout_at(give_up):
                    return await self._ask_once(server, request)
            except TimeoutError:  # earlier attempts left it less than its own patience
                raise ServerError(f"{server.root} gave no sample within {self.patience_seconds:g} s{before}") from None
            except ServerError as error:
                if error.refused or attempt == self.attempts or now() + pause >= give_up:
                    raise
                before = f"; before that: {error}"
            await asyncio.sleep(pause)
            attempt, pause = attempt + 1, 2 * pause

    async def _ask_once(self, server: ModelServer, request: Request) -> Sample:
        most_tokens, seed = request.params.get("max_tokens", 16), request.params["seed"]  # 16: the protocol's default
        body = {"model": self.model, "prompt": request.token_ids, **request.params}
        most_bytes = room(len(request.token_ids) + most_tokens)
        answer = await server.ask(CountedCompletion, "POST", "/v1/completions", body, most_bytes)
        self.answers_as = self.answers_as or answer.model
        if answer.model != self.answers_as:
            raise ServerError(f"{server.root} answered by the model {answer.model}, and before by {self.answers_as}")
        said, tokens = answer.choices[0], answer.usage.completion_tokens
        if tokens > most_tokens:
            raise ServerError(f"{server.root} counts {tokens} tokens where {most_tokens} were asked for")
        return Sample(request.item, request.number, said.text, tokens, said.finish_reason, seed, f"{server.root}/v1")

    async def _models(self) -> list[ModelCard]:
        """Cards of all models that are served. Raises ServerError."""
        server = self._reached(patience_seconds=10.0)
        try:
            return (await server.ask(ModelList, "GET", "/v1/models")).data
        finally:
            await server.close()

    def _reached(self, patience_seconds: float) -> ModelServer:
        return ModelServer(self.address, api_keys.EVAL, patience_seconds, through_proxy=True)

    def close(self) -> None:
        """Leave the server as it is."""
