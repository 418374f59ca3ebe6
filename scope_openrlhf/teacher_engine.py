"""A Ray group of vLLM teacher engines: N named actors, watched, started again where they die or hang."""

import os
import sys
import threading
import time

import numpy as np
import ray

from scope_openrlhf.config import TeacherConfig
from scope_openrlhf.teacher import Endpoint, Score, TeacherError
from scope_openrlhf.teacher_http import HttpEndpoint

GROUP = "scope-teacher"


def actor_name(replica: int, group: str = GROUP) -> str:
    return f"{group}-{replica}"


class EngineTemperature:
    """vLLM worker extension: divide the logits by a temperature wherever the model computes them.

    vLLM scores prompt tokens at temperature 1 whatever the request asks. Student and teacher must be compared at one
    temperature, so it is set here, in the model itself, once after start-up.
    """

    def set_temperature(self, temperature: float | str) -> dict[str, float]:
        temperature = float(temperature)  # over HTTP it comes as text
        model = self.model_runner.get_model()  # type: ignore[attr-defined]
        original = type(model).compute_logits

        def compute_logits(hidden_states, *args, **kwargs):
            logits = original(model, hidden_states, *args, **kwargs)
            return logits if logits is None else logits.float().div_(temperature)

        model.compute_logits = compute_logits
        return {"temperature": temperature}


class TeacherReplica:
    """One vLLM engine as an async Ray actor. Requests of many callers are batched by the engine."""

    async def __init__(self, config: TeacherConfig, max_model_len: int, temperature: float, seed: int) -> None:  # type: ignore[misc]  # Ray awaits it
        from vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams

        self.engine = AsyncLLMEngine.from_engine_args(
            AsyncEngineArgs(
                model=config.path, dtype=config.dtype, max_model_len=max_model_len, seed=seed,
                tensor_parallel_size=config.tensor_parallel_size,
                enforce_eager=config.enforce_eager, gpu_memory_utilization=config.gpu_memory_utilization,
                enable_prefix_caching=False,  # with it, prompt log-probs depend on the order of requests (vllm#42019)
                max_logprobs=-1,  # top-k scores may be of any width
                max_num_batched_tokens=config.max_num_batched_tokens,  # their logits are not in vLLM's memory profile (vllm#38830)
                worker_extension_cls="scope_openrlhf.teacher_engine.EngineTemperature",
            )
        )  # fmt: skip
        if temperature != 1.0:
            await self.engine.collective_rpc("set_temperature", args=(temperature,))
        self.sampling_params = SamplingParams
        self.outstanding = self.requests = 0
        self.progress = time.monotonic()

    def ready(self) -> bool:
        return True

    async def score(self, token_ids: list[int], top_k: int) -> Score:
        """The log-probs of token_ids[1:], unchecked, and of the top_k likeliest tokens at each of their positions."""
        from vllm.inputs import TokensPrompt
        from vllm.v1.engine.exceptions import EngineDeadError

        if self.outstanding == 0:
            self.progress = time.monotonic()
        self.outstanding += 1
        self.requests += 1
        try:
            request = TokensPrompt(prompt_token_ids=token_ids)
            params = self.sampling_params(max_tokens=1, temperature=0.0, prompt_logprobs=top_k, detokenize=False, flat_logprobs=True)
            outputs = [o async for o in self.engine.generate(request, params, request_id=f"score-{self.requests}")]
        except EngineDeadError as error:  # an actor without its engine is of no use: Ray starts another one
            print(f"the engine is dead ({error}); this replica ends, so that Ray starts it again", file=sys.stderr, flush=True)
            os._exit(1)
        finally:
            self.outstanding -= 1
        self.progress = time.monotonic()
        flat = outputs[-1].prompt_logprobs
        # each position holds the prompt's own token and then the top_k, which may name it again; position 0 holds none
        shape = (len(flat) - 1, 1 + top_k)
        ids, logprobs = np.array(flat.token_ids, np.int32).reshape(shape), np.array(flat.logprobs, np.float32).reshape(shape)
        return Score(ids[:, 0], logprobs[:, 0], ids[:, 1:], logprobs[:, 1:])

    async def stalled_seconds(self) -> float:
        """How long requests have been waiting without one being answered."""
        return time.monotonic() - self.progress if self.outstanding else 0.0


class RayEndpoint:
    """A replica of the group, reached by its actor's name. It stays the same one when Ray starts it again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.handle = ray.get_actor(self.name)

    async def score(self, token_ids: list[int], top_k: int) -> Score:
        try:
            return await self.handle.score.remote(token_ids, top_k)
        except ray.exceptions.RayError as error:
            raise TeacherError(f"{self.name} failed on {len(token_ids)} tokens: {str(error).strip().splitlines()[-1]}") from error

    async def open(self, text: str, token_ids: list[int], max_len: int) -> None:
        """Nothing to ask: its tokenizer and length were checked before it was started (checks.py)."""

    async def close(self) -> None:
        pass


class TeacherGroup:
    """The actors, started at once and watched from a thread of the process that owns the run. They live as long as this does.

    Ray starts one again that dies. One that is up but has not answered for config.hang_seconds is killed, so that Ray does.
    """

    def __init__(self, config: TeacherConfig, max_model_len: int, temperature: float, seed: int, name: str = GROUP) -> None:
        self.hang_seconds = config.hang_seconds
        self.names = [actor_name(i, name) for i in range(config.replicas)]
        self.handles = [
            ray.remote(TeacherReplica)
            .options(name=actor, num_gpus=config.tensor_parallel_size, num_cpus=1, max_restarts=-1)
            .remote(config, max_model_len, temperature, seed)
            for actor in self.names
        ]
        self.closed = threading.Event()
        self.watchers = [threading.Thread(target=self._watch, args=(i,), daemon=True) for i in range(config.replicas)]
        for watcher in self.watchers:
            watcher.start()

    def close(self) -> None:
        self.closed.set()
        for handle in self.handles:
            ray.kill(handle)

    def _watch(self, replica: int) -> None:
        handle = self.handles[replica]
        while not self.closed.wait(self.hang_seconds / 10):
            # not up yet, or being started again: that takes as long as it takes, and the callers have their own deadline
            if ray._private.state.actors(handle._actor_id.hex()).get("State") != "ALIVE":
                continue
            try:
                stalled = ray.get(handle.stalled_seconds.remote(), timeout=self.hang_seconds)
            except ray.exceptions.GetTimeoutError:
                stalled = self.hang_seconds
            except ray.exceptions.RayError:
                continue  # it died; Ray knows
            if stalled >= self.hang_seconds and not self.closed.is_set():
                print(f"{self.names[replica]} has not answered for {stalled:.0f} s: it is started again", file=sys.stderr, flush=True)
                ray.kill(handle, no_restart=False)


def connect(config: TeacherConfig) -> list[Endpoint]:
    """The replicas of this run's teacher, wherever they are; none in a replay. config.temperature is the one that they score at."""
    if config.replay:
        return []
    if config.urls:
        return [HttpEndpoint(url, config.temperature) for url in config.urls]
    return [RayEndpoint(actor_name(i)) for i in range(config.replicas)]


def wait_until_ready(replicas: int, deadline_seconds: float) -> None:
    """Of the Ray group. Raises TeacherError if a replica has not loaded its model by the deadline; an error while loading comes through as it is."""
    try:
        ray.get([ray.get_actor(actor_name(i)).ready.remote() for i in range(replicas)], timeout=deadline_seconds)
    except ray.exceptions.GetTimeoutError:
        raise TeacherError(f"the teacher did not load in {deadline_seconds} s; see its log, or raise teacher.deadline_seconds") from None
