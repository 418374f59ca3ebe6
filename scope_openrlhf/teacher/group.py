"""A Ray group of vLLM teacher engines: N named actors, watched, started again where they die or hang."""

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from scope_openrlhf.settings.sections import TeacherConfig
from scope_openrlhf.teacher.client import Endpoint, Response, Score, TeacherError
from scope_openrlhf.teacher.served import HttpEndpoint

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup


def actor_names(teacher: str, replicas: int) -> list[str]:
    """The Ray names of a teacher's replicas; teacher: its name in the config, empty for the one that has none."""
    return ["-".join(["scope-teacher", *filter(None, [teacher]), str(i)]) for i in range(replicas)]


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
        model.scope_temperature = temperature
        return self.get_temperature()

    def get_temperature(self) -> dict[str, float]:
        """And when this model was first asked for it: another number says that the engine was started again since."""
        model = self.model_runner.get_model()  # type: ignore[attr-defined]
        if not hasattr(model, "scope_since"):
            model.scope_since = time.time()
        return {"temperature": getattr(model, "scope_temperature", 1.0), "since": model.scope_since}


class TeacherReplica:
    """One vLLM engine as an async Ray actor. Requests of many callers are batched by the engine."""

    async def __init__(self, config: TeacherConfig, max_model_len: int, temperature: float, seed: int) -> None:  # type: ignore[misc]  # Ray awaits it
        from vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams

        self.engine = AsyncLLMEngine.from_engine_args(
            AsyncEngineArgs(
                model=config.path, revision=config.revision or None, tokenizer_revision=config.revision or None, dtype=config.dtype, max_model_len=max_model_len, seed=seed,
                tensor_parallel_size=config.tensor_parallel_size,
                enforce_eager=config.enforce_eager, enable_sleep_mode=config.sleep, gpu_memory_utilization=config.gpu_memory_utilization,
                enable_prefix_caching=False,  # with it, prompt log-probs depend on the order of requests (vllm#42019)
                max_logprobs=-1,  # top-k scores may be of any width
                max_num_batched_tokens=config.max_num_batched_tokens,  # their logits are not in vLLM's memory profile (vllm#38830)
                worker_extension_cls="scope_openrlhf.teacher.group.EngineTemperature",
            )
        )  # fmt: skip
        if temperature != 1.0:
            await self.engine.collective_rpc("set_temperature", args=(temperature,))
        self.sampling_params = SamplingParams
        self.outstanding = self.requests = 0
        self.progress = time.monotonic()
        self.asleep = False

    def ready(self) -> bool:
        return True

    async def sleep(self) -> None:
        """Move the params to RAM and give the GPU's memory back, until `wake`."""
        self.asleep = True
        await self.engine.sleep(level=1)

    async def wake(self) -> None:
        if self.asleep:  # one that was started again in the meantime is awake
            await self.engine.wake_up()
            self.asleep = False

    async def score(self, requests: list[tuple[list[int], int]]) -> list[Score | str]:
        """For each (token_ids, top_k), unchecked, the log-probs of token_ids[1:] and of the top_k likeliest tokens at their positions.

        Or what went wrong with that one alone.
        """
        answers = await asyncio.gather(*(self._score(*request) for request in requests), return_exceptions=True)
        return [a if isinstance(a, Score) else f"{type(a).__name__}: {a}" for a in answers]

    async def generate(self, prompt_ids: list[int], max_tokens: int, seed: int) -> Response:
        """A sample at the teacher's temperature: its engine has divided the logits already, so the request divides them by 1."""
        from vllm.sampling_params import RequestOutputKind

        ids: list[int] = []
        end = None
        params = {"max_tokens": max_tokens, "temperature": 1.0, "seed": seed, "output_kind": RequestOutputKind.DELTA}
        async for output in self._ask(prompt_ids, **params):
            (new,) = output.outputs
            ids.extend(new.token_ids)
            end = new.finish_reason
        return Response(ids, truncated=end != "stop")

    async def _score(self, token_ids: list[int], top_k: int) -> Score:
        params = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": top_k, "flat_logprobs": True}
        outputs = [o async for o in self._ask(token_ids, **params)]
        flat = outputs[-1].prompt_logprobs
        # each position holds the prompt's own token and then the top_k, which may name it again; position 0 holds none
        shape = (len(flat) - 1, 1 + top_k)
        ids, logprobs = (
            np.array(flat.token_ids, np.int32).reshape(shape),
            np.array(flat.logprobs, np.float32).reshape(shape),
        )
        return Score(ids[:, 0], logprobs[:, 0], ids[:, 1:], logprobs[:, 1:])

    async def _ask(self, token_ids: list[int], **params: Any) -> AsyncIterator[Any]:
        """vLLM's outputs for one request, as they come. Each counts as progress: a long response takes longer than hang_seconds, its next token does not."""
        from vllm.inputs import TokensPrompt
        from vllm.v1.engine.exceptions import EngineDeadError

        if self.asleep:
            raise RuntimeError("it is asleep: teachers with sleep score during generation only")
        if self.outstanding == 0:
            self.progress = time.monotonic()
        self.outstanding += 1
        self.requests += 1
        try:
            request, sampling = (
                TokensPrompt(prompt_token_ids=token_ids),
                self.sampling_params(detokenize=False, **params),
            )
            async for output in self.engine.generate(request, sampling, request_id=f"teacher-{self.requests}"):
                self.progress = time.monotonic()
                yield output
        except EngineDeadError as error:  # an actor without its engine is of no use: Ray starts another one
            print(
                f"the engine is dead ({error}); this replica ends, so that Ray starts it again",
                file=sys.stderr,
                flush=True,
            )
            os._exit(1)
        finally:
            self.outstanding -= 1

    async def stalled_seconds(self) -> float:
        """How long requests have been waiting without one moving on."""
        return time.monotonic() - self.progress if self.outstanding else 0.0


Waiting = tuple[list[int], int, asyncio.Future[Score]]
"""Token ids, top_k, and where the score is awaited."""


class RayEndpoint:
    """A replica of the group, reached by its actor's name. It stays the same one when Ray starts it again.

    What is asked for at the same moment goes in one call for each engine step that it fills: a call costs more than a short score.
    """

    def __init__(self, name: str, tokens_per_call: int = TeacherConfig.max_num_batched_tokens) -> None:
        self.name, self.tokens_per_call = name, tokens_per_call
        self.handle = ray.get_actor(self.name)
        self.waiting: list[Waiting] = []
        self.calls: set[asyncio.Task] = set()

    async def score(self, token_ids: list[int], top_k: int) -> Score:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        if not self.waiting:
            loop.call_soon(self._send)
        self.waiting.append((token_ids, top_k, answer))
        return await answer

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
            answers = [cause(error)] * len(batch)
        for (token_ids, _, awaited), answer in zip(batch, answers, strict=True):
            if awaited.done():  # given up at the deadline
                continue
            if isinstance(answer, Score):
                awaited.set_result(answer)
            else:
                awaited.set_exception(TeacherError(f"{self.name} failed on {len(token_ids)} tokens: {answer}"))

    async def generate(self, prompt_ids: list[int], max_tokens: int, seed: int) -> Response:
        try:
            return await self.handle.generate.remote(prompt_ids, max_tokens, seed)
        except Exception as error:  # border to Ray
            raise TeacherError(f"{self.name} failed on a prompt of {len(prompt_ids)} tokens: {cause(error)}") from None

    async def open(self, text: str, token_ids: list[int], max_len: int) -> None:
        """Nothing to ask: its tokenizer and length were checked before it was started (checks.py)."""

    async def close(self) -> None:
        pass


def cause(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def place(config: TeacherConfig, replica: int, shared: "PlacementGroup | None") -> dict[str, Any]:
    """Ray's options for a replica: what it reserves, and where."""
    gpus = config.gpus_per_replica
    if config.placement == "colocate" and shared is not None:
        where = PlacementGroupSchedulingStrategy(
            shared, replica % shared.bundle_count, placement_group_capture_child_tasks=True
        )
        return {
            "num_gpus": gpus,
            "num_cpus": gpus,
            "scheduling_strategy": where,
        }  # a bundle holds one CPU for all who share it
    # by default Ray fills a node before it takes the next one
    return {
        "num_gpus": gpus,
        "num_cpus": 1,
        "scheduling_strategy": "SPREAD" if config.placement == "spread" else "DEFAULT",
    }


class TeacherGroup:
    """The actors, started at once and watched from a thread of the process that owns the run. They live as long as this does.

    Ray starts one again that dies. One that is up but has not answered for config.hang_seconds is killed, so that Ray does.
    """

    def __init__(
        self,
        config: TeacherConfig,
        max_model_len: int,
        temperature: float,
        seed: int,
        name: str = "",
        shared: "PlacementGroup | None" = None,
        first: int = 0,
    ) -> None:
        """name: of the teacher in the config. shared: one bundle for each GPU of the student; colocated replicas are dealt onto them, from `first` on."""
        self.hang_seconds = config.hang_seconds
        self.names = actor_names(name, config.replicas)
        self.handles = [
            ray.remote(TeacherReplica)
            .options(name=actor, max_restarts=-1, **place(config, first + i, shared))
            .remote(config, max_model_len, temperature, seed)
            for i, actor in enumerate(self.names)
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
                print(
                    f"{self.names[replica]} has not answered for {stalled:.0f} s: it is started again",
                    file=sys.stderr,
                    flush=True,
                )
                ray.kill(handle, no_restart=False)


def connect(name: str, config: TeacherConfig) -> list[Endpoint]:
    """The replicas of one of the run's teachers, wherever they are; none in a replay. config.temperature is the one that they score at."""
    if config.replay:
        return []
    if config.urls:
        return [HttpEndpoint(url, config.temperature) for url in config.urls]
    return [RayEndpoint(actor, config.max_num_batched_tokens) for actor in actor_names(name, config.replicas)]


def wait_until_ready(name: str, config: TeacherConfig) -> None:
    """Of a Ray group. Raises TeacherError if a replica has not loaded its model by the deadline; an error while loading comes through as it is."""
    try:
        ray.get(
            [ray.get_actor(actor).ready.remote() for actor in actor_names(name, config.replicas)],
            timeout=config.deadline_seconds,
        )
    except ray.exceptions.GetTimeoutError:
        raise TeacherError(
            f"the teacher did not load in {config.deadline_seconds} s; see its log, or raise teacher.deadline_seconds"
        ) from None


@contextlib.contextmanager
def awake(sleepers: Iterable[str], patience_seconds: float) -> Iterator[None]:
    """Replicas by their Ray names, awake inside the block and asleep after it.

    One that does not obey takes nothing down: asleep it refuses to score and others are asked, awake it only takes memory.
    """
    handles = {name: ray.get_actor(name) for name in sleepers}

    def tell(what: str) -> None:
        refs = {getattr(handle, what).remote(): name for name, handle in handles.items()}
        done, waiting = ray.wait(list(refs), num_returns=len(refs), timeout=patience_seconds) if refs else ([], [])
        for ref in done:
            try:
                ray.get(ref)
            except ray.exceptions.RayError as error:
                print(f"{refs[ref]} could not be told to {what}: {error}", file=sys.stderr, flush=True)
        for ref in waiting:
            print(f"{refs[ref]} did not {what} in {patience_seconds:g} s", file=sys.stderr, flush=True)

    tell("wake")
    try:
        yield
    finally:
        tell("sleep")
