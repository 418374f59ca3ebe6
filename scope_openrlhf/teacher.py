"""A Ray group of vLLM teacher engines: token ids in, log-probs of exactly those tokens out.

Every answer is checked before it can reach a weight: a missing or broken number is a TeacherError, never a zero.
"""

import asyncio
import time
from dataclasses import dataclass

import numpy as np
import ray

from scope_openrlhf.config import TeacherConfig


class TeacherError(RuntimeError):
    """The teacher did not give a usable score. The message says which replica, which request and what to do."""


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


def actor_name(replica: int) -> str:
    return f"scope-teacher-{replica}"


class EngineTemperature:
    """vLLM worker extension: divide the logits by a temperature wherever the model computes them.

    vLLM scores prompt tokens at temperature 1 whatever the request asks. Student and teacher must be compared at one
    temperature, so it is set here, in the model itself, once after start-up.
    """

    def set_temperature(self, temperature: float) -> None:
        model = self.model_runner.get_model()  # type: ignore[attr-defined]
        original = type(model).compute_logits

        def compute_logits(hidden_states, *args, **kwargs):
            logits = original(model, hidden_states, *args, **kwargs)
            return logits if logits is None else logits.float().div_(temperature)

        model.compute_logits = compute_logits


class TeacherReplica:
    """One vLLM engine as an async Ray actor. Requests of many callers are batched by the engine."""

    async def __init__(self, config: TeacherConfig, max_model_len: int, temperature: float, seed: int) -> None:  # type: ignore[misc]  # Ray awaits it
        from vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams

        self.engine = AsyncLLMEngine.from_engine_args(
            AsyncEngineArgs(
                model=config.path, dtype=config.dtype, max_model_len=max_model_len, seed=seed,
                enforce_eager=config.enforce_eager, gpu_memory_utilization=config.gpu_memory_utilization,
                enable_prefix_caching=False,  # with it, prompt log-probs depend on the order of requests (vllm#42019)
                max_logprobs=-1,  # top-k scores may be of any width
                max_num_batched_tokens=config.max_num_batched_tokens,  # their logits are not in vLLM's memory profile (vllm#38830)
                worker_extension_cls="scope_openrlhf.teacher.EngineTemperature",
            )
        )  # fmt: skip
        if temperature != 1.0:
            await self.engine.collective_rpc("set_temperature", args=(temperature,))
        self.sampling_params = SamplingParams
        self.scored = self.outstanding = self.requests = 0
        self.busy_seconds = self.busy_since = 0.0

    def ready(self) -> bool:
        return True

    async def score(self, token_ids: list[int], top_k: int) -> Score:
        """The log-probs of token_ids[1:], unchecked, and of the top_k likeliest tokens at each of their positions."""
        from vllm.inputs import TokensPrompt

        if self.outstanding == 0:
            self.busy_since = time.perf_counter()
        self.outstanding += 1
        self.requests += 1
        try:
            request = TokensPrompt(prompt_token_ids=token_ids)
            params = self.sampling_params(max_tokens=1, temperature=0.0, prompt_logprobs=top_k, detokenize=False, flat_logprobs=True)
            outputs = [o async for o in self.engine.generate(request, params, request_id=f"score-{self.requests}")]
        finally:
            self.outstanding -= 1
            if self.outstanding == 0:
                self.busy_seconds += time.perf_counter() - self.busy_since
        self.scored += 1
        flat = outputs[-1].prompt_logprobs
        # each position holds the prompt's own token and then the top_k, which may name it again; position 0 holds none
        shape = (len(flat) - 1, 1 + top_k)
        ids, logprobs = np.array(flat.token_ids, np.int32).reshape(shape), np.array(flat.logprobs, np.float32).reshape(shape)
        return Score(ids[:, 0], logprobs[:, 0], ids[:, 1:], logprobs[:, 1:])

    def take_stats(self) -> dict[str, float]:
        """Rollouts scored and seconds with at least one request in the engine, since the last call."""
        stats = {"scored": self.scored, "seconds": self.busy_seconds}
        self.scored, self.busy_seconds = 0, 0.0
        return stats


def start(config: TeacherConfig, max_model_len: int, temperature: float, seed: int) -> list:
    """Start config.replicas named actors, one logical GPU each, and return their handles at once (call `ready` to wait)."""
    replica = ray.remote(TeacherReplica)
    return [
        replica.options(name=actor_name(i), num_gpus=1, num_cpus=1).remote(config, max_model_len, temperature, seed)
        for i in range(config.replicas)
    ]


def wait_until_ready(replicas: list, deadline_seconds: float) -> None:
    """Raises TeacherError if a replica has not loaded its model by the deadline; an error while loading comes through as it is."""
    try:
        ray.get([r.ready.remote() for r in replicas], timeout=deadline_seconds)
    except ray.exceptions.GetTimeoutError:
        raise TeacherError(f"the teacher did not load in {deadline_seconds} s; see its log, or raise teacher.deadline_seconds") from None


class TeacherClient:
    """Sends a sequence to the replica with the fewest outstanding tokens and checks its answer. One per rollout worker."""

    def __init__(self, replicas: int, deadline_seconds: float) -> None:
        self.handles = [ray.get_actor(actor_name(i)) for i in range(replicas)]
        self.load = [0] * replicas
        self.deadline_seconds = deadline_seconds

    async def score(self, token_ids: list[int], top_k: int = 0) -> Score:
        """Log-probs of token_ids[1:]. Raises TeacherError if the answer is late, broken, or the replica died."""
        i = min(range(len(self.load)), key=self.load.__getitem__)
        self.load[i] += len(token_ids)
        try:
            score = await asyncio.wait_for(self.handles[i].score.remote(token_ids, top_k), self.deadline_seconds)
        except TimeoutError:
            raise TeacherError(
                f"{actor_name(i)} did not score {len(token_ids)} tokens in {self.deadline_seconds} s; "
                "raise teacher.deadline_seconds, add teacher.replicas, or look at its log"
            ) from None
        except ray.exceptions.RayError as error:
            raise TeacherError(f"{actor_name(i)} failed on {len(token_ids)} tokens: {error}") from error
        finally:
            self.load[i] -= len(token_ids)
        check_score(token_ids, score, top_k, actor_name(i))
        return score


def check_score(token_ids: list[int], score: Score, top_k: int, replica: str) -> None:
    """Raise TeacherError unless its log-probs are finite log-probs of exactly token_ids[1:], not all zero, and so are its top_k."""
    wanted = f"{replica}, request of {len(token_ids)} tokens"
    due = len(token_ids) - 1
    if len(score.logprobs) != due:
        raise TeacherError(f"{wanted}: {len(score.logprobs)} log-probs came back, {due} were due")
    other = np.flatnonzero(score.token_ids != np.array(token_ids[1:]))
    if len(other):
        at = other[0]
        raise TeacherError(f"{wanted}: position {at + 1} was scored as token {score.token_ids[at]}, sent was {token_ids[at + 1]}")
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
