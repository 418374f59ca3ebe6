"""Sampling from a Ray group of vLLM engines."""

import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scope_eval.sampler import Request, SamplingError
from scope_eval.store import Sample
from scope_openrlhf.platform import cpu
from scope_openrlhf.platform.cluster import join_or_start, last_line
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.resolved import RUN_VARIABLE

SILENT_SECONDS = 600.0
"""An engine that tells nothing for so long hangs: it reports every few seconds, even if nothing is finished."""
LOADING_SECONDS = 1800.0
"""Longest wait for all engines to load the model."""
OBJECT_STORE_MIB = 256
"""Size of the object store of a Ray that is started on a machine without CUDA: requests and samples are small."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """What all engines of a group have in common."""

    model: str
    """A folder in Hugging Face form, or a hub id."""
    revision: str = ""
    max_model_len: int
    """Tokens of the longest prompt with its response."""
    engines: int = 1
    tensor_parallel_size: int = 1
    """GPUs of one engine."""
    dtype: str = "bfloat16"
    """Number format of the engines."""
    gpu_memory_utilization: float = 0.9
    """Share of each GPU; on the CPU stack, of the machine's memory, at most 0.1."""
    seed: int = 1
    """Seed of the engines; each request has its own beside it."""
    ray_address: str = "local"
    """local: a Ray of its own; auto, or an address: one that runs."""


class Engine:
    """One vLLM engine as a Ray actor. A call hands it new requests and brings back what has finished since."""

    def __init__(self, settings: EngineSettings, name: str) -> None:
        # vLLM is loaded where engines are alone
        import vllm
        from vllm import EngineArgs, LLMEngine
        from vllm.usage.usage_lib import UsageContext

        on_cpu, share = cpu.active(), settings.gpu_memory_utilization
        args = EngineArgs(
            model=settings.model,
            revision=settings.revision or None,
            tokenizer_revision=settings.revision or None,
            dtype=settings.dtype,
            max_model_len=settings.max_model_len,
            tensor_parallel_size=settings.tensor_parallel_size,
            seed=settings.seed,
            enforce_eager=on_cpu,
            gpu_memory_utilization=min(share, 0.1) if on_cpu else share,
            enable_prefix_caching=False,  # a response must not depend on what was asked before
        )
        # batches of the size that offline sampling has
        self.engine = LLMEngine.from_engine_args(args, UsageContext.LLM_CLASS)
        self.name = f"vLLM {vllm.__version__} #{name}"
        self.waiting: dict[str, Request] = {}

    def capacity(self) -> int:
        """Number of requests that keep the engine busy until the next call."""
        return 2 * self.engine.vllm_config.scheduler_config.max_num_seqs

    def step(
        self, requests: list[Request], least_seconds: float = 0.25, most_seconds: float = 5.0
    ) -> list[tuple[int, Sample]]:
        """(key, sample) of what has finished, after least_seconds, or after most_seconds if nothing has."""
        from vllm import SamplingParams  # as above
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
                    tokens, reason, seed = len(said.token_ids), str(said.finish_reason), request.params["seed"]
                    sample = Sample(request.item, request.number, said.text, tokens, reason, seed, self.name)
                    finished.append((request.key, sample))
            if time.monotonic() - clock > (least_seconds if finished else most_seconds):
                break
        return finished


class EngineGroup:
    """The engines of one model. One that dies loses nothing: the others take over what it was asked for."""

    def __init__(self, settings: EngineSettings) -> None:
        """Start or join Ray and load the model into every engine.

        Raises ConfigError if there are too few free GPUs, SamplingError if an engine cannot load the model.
        """
        import ray  # a second of start-up, also of a server's clients

        self.ray = ray
        self.started_ray = not ray.is_initialized()
        try:
            if self.started_ray:
                connect(settings)
            self._check_gpus(settings)
            self._start(settings)
        except ray.exceptions.GetTimeoutError:
            self.close()
            raise SamplingError(f"the engines were not up after {LOADING_SECONDS:g} s; see the logs of Ray") from None
        except ray.exceptions.RayError as error:
            self.close()
            raise SamplingError(f"an engine could not load {settings.model}: {cause(error)}") from error
        except BaseException:  # a signal too
            self.close()
            raise

    def _start(self, settings: EngineSettings) -> None:
        """Start the engines and wait until all have loaded the model."""
        env = {RUN_VARIABLE: json.dumps({"for": "eval"}), **cpu.environment()}
        if cpu.active():
            env["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // settings.engines))
        actor = self.ray.remote(Engine).options(
            num_gpus=settings.tensor_parallel_size, num_cpus=1, runtime_env={"env_vars": env}
        )
        self.engines = {str(i): actor.remote(settings, str(i)) for i in range(settings.engines)}
        ready = [engine.capacity.remote() for engine in self.engines.values()]
        self.capacity = min(self.ray.get(ready, timeout=LOADING_SECONDS))

    def _check_gpus(self, settings: EngineSettings) -> None:
        """Raise ConfigError for GPUs that are not there: Ray would wait for them for ever."""
        gpus, wanted = settings.tensor_parallel_size, settings.tensor_parallel_size * settings.engines
        most = max((node["Resources"].get("GPU", 0) for node in self.ray.nodes() if node["Alive"]), default=0)
        if most < gpus:
            raise ConfigError(f"--tensor-parallel-size {gpus}: no node of this Ray has more than {most:g} GPUs")
        for patience in reversed(range(60)):  # actors that have just ended give theirs back in a moment
            if (free := self.ray.available_resources().get("GPU", 0)) >= wanted:
                return
            time.sleep(0.5 if patience else 0)
        raise ConfigError(
            f"{settings.engines} engines of {gpus} GPUs do not fit on the {free:g} that are free; "
            "lower --engines, or wait"
        )

    def sample(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Sample]]]:
        """(key, sample) of each request, as they finish.

        Raises SamplingError once the last engine has died, an engine refuses what it is asked, or all are silent.
        """
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
                    f"no engine has told anything for {SILENT_SECONDS:g} s; run the same again, it continues where it "
                    "was"
                )
            name = calls.pop(done[0])
            try:
                finished = self.ray.get(done[0])
            except self.ray.exceptions.RayTaskError as error:  # the engine lives and refuses: so would the others
                raise SamplingError(f"an engine failed: {cause(error)}") from error
            except self.ray.exceptions.RayError as error:
                pending.extendleft(asked.pop(name, {}).values())
                if not asked:
                    raise SamplingError(
                        f"the last engine died ({cause(error)}); run the same again, it continues where it was"
                    ) from error
                share = self.capacity
                continue
            for key, sample in finished:
                del asked[name][key, sample.item, sample.number]
            yield finished

    def close(self) -> None:
        """End the engines, and Ray if it was started for them."""
        for engine in getattr(self, "engines", {}).values():
            self.ray.kill(engine)
        if self.started_ray:
            self.ray.shutdown()


def connect(settings: EngineSettings) -> None:
    """Start Ray for the engines, or join one.

    Raises ConfigError if none answers at its address, OSError if it does not start.
    """
    gpus = settings.engines * settings.tensor_parallel_size
    try:
        join_or_start(settings.ray_address, gpus=gpus, cpus=settings.engines + 1, object_store_mib=OBJECT_STORE_MIB)
    except ConnectionError as error:
        raise ConfigError(
            f"--ray-address {settings.ray_address}: no Ray answers ({error}); start one (ray start --head) "
            "or leave it out"
        ) from None


def cause(error: Exception) -> str:
    """What an engine's error says, at most 300 characters."""
    return last_line(error)[:300]
