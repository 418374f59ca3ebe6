"""Who samples: a Ray group of vLLM engines, or a server that speaks OpenAI's protocol. Requests in, finished samples out, in any order."""

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scope_eval.store import Sample
from scope_openrlhf.platform import cpu, loopback
from scope_openrlhf.settings import api_keys
from scope_openrlhf.settings.resolved import RUN_VARIABLE
from scope_openrlhf.settings.errors import ConfigError

SILENT_SECONDS = 600.0
"""An engine that tells nothing for so long hangs. It reports every few seconds, whether something is finished or not."""
LOADING_SECONDS = 1800.0
"""Longest wait for all engines to load the model."""


class SamplingError(RuntimeError):
    """Nobody is left to sample. What was finished before is kept."""


@dataclass(frozen=True, slots=True)
class Request:
    """Example: Request(key=0, item="aime24-0", number=3, token_ids=[7, 9], params={"temperature": 0.6, "max_tokens": 96, "seed": 5})."""

    key: int
    """Whose it is, for the caller."""
    item: str
    number: int
    token_ids: list[int]
    params: dict[str, Any]


class Sampler(Protocol):
    def sample(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Sample]]]:
        """(key, sample) of each request, as they finish. Raises SamplingError if nobody answers any more."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    path: str
    revision: str = ""
    max_model_len: int
    engines: int = 1
    tensor_parallel_size: int = 1
    dtype: str = "bfloat16"
    gpu_memory_utilization: float = 0.9
    seed: int = 1
    ray_address: str = "local"


class Engine:
    """One vLLM engine as a Ray actor. A call hands it new requests and brings back what has finished since the last one."""

    def __init__(self, settings: EngineSettings, name: str) -> None:
        import vllm
        from vllm import EngineArgs, LLMEngine
        from vllm.usage.usage_lib import UsageContext

        on_cpu = cpu.active()
        args = EngineArgs(
            model=settings.path, revision=settings.revision or None, tokenizer_revision=settings.revision or None, dtype=settings.dtype,
            max_model_len=settings.max_model_len, tensor_parallel_size=settings.tensor_parallel_size, seed=settings.seed, enforce_eager=on_cpu,
            gpu_memory_utilization=min(settings.gpu_memory_utilization, 0.1) if on_cpu else settings.gpu_memory_utilization,
            enable_prefix_caching=False,  # a response must not depend on what was asked before
        )  # fmt: skip
        self.engine = LLMEngine.from_engine_args(
            args, UsageContext.LLM_CLASS
        )  # batches of the size that offline sampling has
        self.name = f"vLLM {vllm.__version__} #{name}"
        self.waiting: dict[str, Request] = {}

    def capacity(self) -> int:
        """Requests that keep it busy until the next call."""
        return 2 * self.engine.vllm_config.scheduler_config.max_num_seqs

    def step(
        self, requests: list[Request], least_seconds: float = 0.25, most_seconds: float = 5.0
    ) -> list[tuple[int, Sample]]:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        for request in requests:
            params = SamplingParams(**request.params, output_kind=RequestOutputKind.FINAL_ONLY)
            name = f"{request.key}/{request.item}/{request.number}"
            self.engine.add_request(name, TokensPrompt(prompt_token_ids=request.token_ids), params)
            self.waiting[name] = request
        clock, finished = time.monotonic(), []
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():
                if output.finished:
                    request, said = self.waiting.pop(output.request_id), output.outputs[0]
                    sample = Sample(request.item, request.number, said.text, len(said.token_ids), str(said.finish_reason),
                                    request.params["seed"], self.name)  # fmt: skip
                    finished.append((request.key, sample))
            if time.monotonic() - clock > (least_seconds if finished else most_seconds):
                break
        return finished


class EngineGroup:
    """The actors. One that dies loses nothing: the others take over what it was asked for."""

    def __init__(self, settings: EngineSettings) -> None:
        """Raises ConfigError if there are too few free GPUs, SamplingError if an engine cannot load the model."""
        import ray

        self.ray = ray
        env = {RUN_VARIABLE: json.dumps({"for": "eval"}), **cpu.environment()}
        if cpu.active():
            env["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // settings.engines))
        self.started_ray = not ray.is_initialized()
        if self.started_ray:
            self._start_ray(settings)
        try:
            self._check_gpus(settings)
            actor = ray.remote(Engine).options(
                num_gpus=settings.tensor_parallel_size, num_cpus=1, runtime_env={"env_vars": env}
            )
            self.engines = {str(i): actor.remote(settings, str(i)) for i in range(settings.engines)}
            self.capacity = min(ray.get([e.capacity.remote() for e in self.engines.values()], timeout=LOADING_SECONDS))
        except ray.exceptions.GetTimeoutError:
            self.close()
            raise SamplingError(
                f"the engines were not up after {LOADING_SECONDS:g} s; see the logs of Ray, or ask for fewer --engines"
            ) from None
        except ray.exceptions.RayError as error:
            self.close()
            raise SamplingError(f"an engine could not load {settings.path}: {_cause(error)}") from error
        except ConfigError:
            self.close()
            raise

    def _check_gpus(self, settings: EngineSettings) -> None:
        """Ray would wait for ever for GPUs that are not there."""
        gpus, wanted = settings.tensor_parallel_size, settings.tensor_parallel_size * settings.engines
        most = max((node["Resources"].get("GPU", 0) for node in self.ray.nodes() if node["Alive"]), default=0)
        if most < gpus:
            raise ConfigError(f"--tensor-parallel-size {gpus}: no node of this Ray has more than {most:g} GPUs")
        for patience in reversed(range(60)):  # actors that have just ended give theirs back in a moment
            if (free := self.ray.available_resources().get("GPU", 0)) >= wanted:
                return
            time.sleep(0.5 if patience else 0)
        raise ConfigError(
            f"{settings.engines} engines of {gpus} GPUs do not fit on the {free:g} that are free; lower --engines, or wait"
        )

    def _start_ray(self, settings: EngineSettings) -> None:
        os.environ.setdefault(
            "RAY_prestart_worker_first_driver", "0"
        )  # idle workers would each import torch for nothing
        kwargs: dict[str, Any] = {"address": settings.ray_address}
        if settings.ray_address == "local":
            loopback.enter()
            kwargs |= {"num_cpus": max(os.cpu_count() or 1, settings.engines + 1), "include_dashboard": False}
            if cpu.active():
                kwargs |= {
                    "num_gpus": settings.engines * settings.tensor_parallel_size,
                    "object_store_memory": 256 * 2**20,
                }
        try:
            self.ray.init(log_to_driver=False, **kwargs)
        except ConnectionError as error:
            raise ConfigError(
                f"--ray-address {settings.ray_address}: no Ray answers ({error}); start one (ray start --head) or leave it out"
            ) from None

    def sample(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Sample]]]:
        pending = deque(requests)
        asked: dict[str, dict[tuple, Request]] = {name: {} for name in self.engines}
        calls: dict[Any, str] = {}
        share = min(self.capacity, -(-len(pending) // len(asked)))  # a short queue is dealt evenly
        while pending or any(asked.values()):
            for name in asked:
                # a second call waits at the engine while the first is answered here, so that it never stands idle
                while list(calls.values()).count(name) < 2 and (pending or asked[name]):
                    new = [pending.popleft() for _ in range(min(len(pending), max(0, share - len(asked[name]))))]
                    asked[name] |= {(r.key, r.item, r.number): r for r in new}
                    calls[self.engines[name].step.remote(new)] = name
            done, _ = self.ray.wait(list(calls), timeout=SILENT_SECONDS)
            if not done:
                raise SamplingError(
                    f"no engine has told anything for {SILENT_SECONDS:g} s; run the same again, it continues where it was"
                )
            name = calls.pop(done[0])
            try:
                finished = self.ray.get(done[0])
            except self.ray.exceptions.RayTaskError as error:  # the engine lives and refuses: so would the others
                raise SamplingError(f"an engine failed: {_cause(error)}") from error
            except self.ray.exceptions.RayError as error:
                pending.extendleft(asked.pop(name, {}).values())
                if not asked:
                    raise SamplingError(
                        f"the last engine died ({_cause(error)}); run the same again, it continues where it was"
                    ) from error
                share = self.capacity
                continue
            for key, sample in finished:
                del asked[name][key, sample.item, sample.number]
            yield finished

    def close(self) -> None:
        for engine in getattr(self, "engines", {}).values():
            self.ray.kill(engine)
        if self.started_ray:
            self.ray.shutdown()


def _cause(error: Exception) -> str:
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1][:300]


class Server:
    """A server of OpenAI's completions, for instance `vllm serve`. The API key is read from SCOPE_EVAL_API_KEY."""

    requests_at_once = 256

    def __init__(self, url: str, model: str) -> None:
        """model: as the server calls it; empty: the only one that it serves. Raises ConfigError if the server does not answer or has no such model."""
        from openai import OpenAI, OpenAIError

        if api_keys.with_secret(url):
            raise ConfigError(
                f"--base-url must be an address alone, for instance http://host:8000: no user, no password, no parameters. The API key is read from {api_keys.EVAL}"
            )
        url = url.rstrip("/")
        self.url = url if url.endswith("/v1") else f"{url}/v1"
        self.access = {"base_url": self.url, "api_key": os.environ.get(api_keys.EVAL) or "none"}
        try:
            served = {
                m.id: getattr(m, "root", None) for m in OpenAI(**self.access, timeout=10.0, max_retries=1).models.list()
            }
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
        from openai import AsyncOpenAI, BadRequestError, OpenAIError

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
                again = (
                    "" if isinstance(failure, BadRequestError) else "; run the same again, it continues where it was"
                )
                raise SamplingError(api_keys.masked(f"{self.url}: {failure}{again}")) from None
        finally:
            for task in running:
                task.cancel()
            if running:
                loop.run_until_complete(asyncio.wait(running))
            loop.run_until_complete(client.close())
            loop.close()

    async def _ask(self, client: Any, request: Request) -> Sample:
        from openai import OpenAIError

        params = dict(request.params)
        # vLLM's, not OpenAI's; left out, a server would take the model's own
        own = {k: params.pop(k) for k in ("top_k", "min_p", "repetition_penalty") if k in params}
        answer = await client.completions.create(model=self.model, prompt=request.token_ids, extra_body=own, **params)
        said, used = answer.choices[0], answer.usage
        if used is None:
            raise OpenAIError("its answers do not count their tokens (usage)")
        return Sample(
            request.item,
            request.number,
            said.text,
            used.completion_tokens,
            str(said.finish_reason),
            params["seed"],
            self.url,
        )

    def close(self) -> None:
        pass
