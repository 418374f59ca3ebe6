"""One engine of a teacher group: vLLM in a Ray actor, with its logits at the teacher's temperature."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from scope_openrlhf.settings.resolved import Teacher
from scope_openrlhf.teacher.contract import Completion, Score

EXTENSION = "scope_openrlhf.teacher.replica.EngineTemperature"
"""Name by which vLLM finds the class below, here and in `vllm serve --worker-extension-cls`."""


class EngineTemperature:
    """vLLM worker extension that divides the logits by a temperature wherever the model computes them.

    vLLM scores prompt tokens at temperature 1 whatever the request asks. Student and teacher must be compared at one
    temperature, so it is set here, in the model itself, once after start-up.
    """

    model_runner: Any
    parallel_config: Any
    """Of the vLLM worker that this class is mixed into, both."""

    def set_temperature(self, temperature: float | str) -> dict[str, float]:
        """Set it for all logits from now on. Returns what `get_temperature` does.

        Raises ValueError where vLLM computes logits in a way that passes it by.
        """
        temperature = float(temperature)  # over HTTP it comes as text
        if self.parallel_config.enable_batch_sharded_sampling:
            raise ValueError("start the server without --enable-batch-sharded-sampling: its logits have no temperature")
        model = self.model_runner.get_model()
        original = type(model).compute_logits

        def compute_logits(hidden_states, *args, **kwargs):
            logits = original(model, hidden_states, *args, **kwargs)
            return logits if logits is None else logits.float().div_(temperature)

        model.compute_logits = compute_logits
        model.scope_temperature = temperature
        return self.get_temperature()

    def get_temperature(self) -> dict[str, float]:
        """The model's temperature, and the time in seconds since the epoch at which it was first asked for.

        Another time than before says that the engine was started again since.
        """
        model = self.model_runner.get_model()
        if not hasattr(model, "scope_since"):
            model.scope_since = time.time()
        return {"temperature": getattr(model, "scope_temperature", 1.0), "since": model.scope_since}


class TeacherReplica:
    """One vLLM engine as an async Ray actor. The engine batches the requests of many callers."""

    async def __init__(self, teacher: Teacher, seed: int) -> None:  # type: ignore[misc]  # Ray awaits it
        from vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams  # seconds; only an actor needs it

        revision = teacher.revision or None
        self.engine = AsyncLLMEngine.from_engine_args(
            AsyncEngineArgs(
                model=teacher.path,
                revision=revision,
                tokenizer_revision=revision,
                dtype=teacher.dtype,
                quantization=teacher.quantization or None,
                max_model_len=teacher.max_model_len,
                seed=seed,
                tensor_parallel_size=teacher.tensor_parallel_size,
                enforce_eager=teacher.enforce_eager,
                enable_sleep_mode=teacher.sleep,
                gpu_memory_utilization=teacher.gpu_memory_utilization,
                enable_prefix_caching=False,  # with it, log-probs depend on the order of requests (vllm#42019)
                max_logprobs=-1,  # top-k scores may be of any width
                # the logits of prompts are not in vLLM's memory profile (vllm#38830)
                max_num_batched_tokens=teacher.max_num_batched_tokens,
                enable_batch_sharded_sampling=False,  # its logits pass the temperature by
                worker_extension_cls=EXTENSION,
            )
        )
        if teacher.temperature != 1.0:
            await self.engine.collective_rpc("set_temperature", args=(teacher.temperature,))
        self.sampling_params = SamplingParams
        self.outstanding = self.requests = 0
        self.progress = time.monotonic()
        self.asleep = False

    def ready(self) -> bool:
        """Answers once the model is loaded: Ray hands an actor no call before."""
        return True

    async def sleep(self) -> None:
        """Move the params to RAM and give the GPU's memory back, until `wake`."""
        self.asleep = True
        await self.engine.sleep(level=1)

    async def wake(self) -> None:
        """Bring the params back, unless the engine is awake: one that was started again in the meantime is."""
        if self.asleep:
            await self.engine.wake_up()
            self.asleep = False

    async def score(self, requests: list[tuple[list[int], int]]) -> list[Score | str]:
        """Score each request (token ids, top_k), unchecked; in place of a score what went wrong with that one alone."""
        answers = await asyncio.gather(*(self._score(*request) for request in requests), return_exceptions=True)
        return [a if isinstance(a, Score) else f"{type(a).__name__}: {a}" for a in answers]

    async def generate(self, prompt_ids: list[int], max_tokens: int, seed: int) -> Completion:
        """Sample at the teacher's temperature: the engine has divided the logits already, the request does it by 1."""
        from vllm.sampling_params import RequestOutputKind  # loaded with the engine

        ids: list[int] = []
        end = None
        params = {"max_tokens": max_tokens, "temperature": 1.0, "seed": seed, "output_kind": RequestOutputKind.DELTA}
        async for output in self._ask(prompt_ids, **params):
            (new,) = output.outputs
            ids.extend(new.token_ids)
            end = new.finish_reason
        if end not in ("stop", "length"):
            raise RuntimeError(f"the completion ended by {end}, which is no answer")
        return Completion(ids, truncated=end != "stop")

    async def stalled_seconds(self) -> float:
        """Seconds for which requests have been waiting without one moving on; 0 where none waits."""
        return time.monotonic() - self.progress if self.outstanding else 0.0

    async def _score(self, token_ids: list[int], top_k: int) -> Score:
        params = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": top_k, "flat_logprobs": True}
        outputs = [output async for output in self._ask(token_ids, **params)]
        flat = outputs[-1].prompt_logprobs
        # each position holds the prompt's own token and then the top_k, which may name it again; position 0 holds none
        shape = (len(flat) - 1, 1 + top_k)
        ids = np.array(flat.token_ids, np.int32).reshape(shape)
        logprobs = np.array(flat.logprobs, np.float32).reshape(shape)
        # whole arrays, for pickle copies a part of one into its stream instead of handing it on
        return Score(*map(np.ascontiguousarray, (ids[:, 0], logprobs[:, 0], ids[:, 1:], logprobs[:, 1:])))

    async def _ask(self, token_ids: list[int], **params: Any) -> AsyncIterator[Any]:
        """vLLM's outputs for one request, as they come.

        Each counts as progress: a long completion takes longer than hang_seconds, its next token does not.
        """
        from vllm.inputs import TokensPrompt  # loaded with the engine
        from vllm.v1.engine.exceptions import EngineDeadError

        if self.asleep:
            raise RuntimeError("it is asleep: teachers with sleep score during generation only")
        if self.outstanding == 0:
            self.progress = time.monotonic()
        self.outstanding += 1
        self.requests += 1
        prompt, sampling = TokensPrompt(prompt_token_ids=token_ids), self.sampling_params(detokenize=False, **params)
        try:
            async for output in self.engine.generate(prompt, sampling, request_id=f"teacher-{self.requests}"):
                self.progress = time.monotonic()
                yield output
        except EngineDeadError as error:  # an actor without its engine is of no use: Ray starts another one
            said = f"the engine is dead ({error}); this replica ends, so that Ray starts it again"
            print(said, file=sys.stderr, flush=True)
            os._exit(1)
        finally:
            self.outstanding -= 1
