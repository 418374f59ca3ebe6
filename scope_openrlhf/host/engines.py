"""OpenRLHF's rollout engines, as large as a step's rollouts, and up before anybody else starts on their GPUs."""

from types import SimpleNamespace
from typing import Any

import ray
from openrlhf.trainer.ray import vllm_engine

from scope_openrlhf.host.gpus import decoded_at_once

PROMPT_TOKENS = 8192
"""Tokens of an engine's step: vLLM's own number for its server on large GPUs. With fewer the prompts of many rollouts
take many steps."""

Theirs: Any = vllm_engine.RolloutRayActor.__ray_metadata__.modified_class


def sized(args: SimpleNamespace) -> Any:
    """OpenRLHF's Ray actor for a rollout engine with what it does not pass on: vLLM's sizes.

    Left alone an engine decodes 128 sequences at a time, however many rollouts it has and however large its GPU is.
    """
    most = decoded_at_once(args)

    class RolloutRayActor(Theirs):  # the name by which it is known in `ps` and in logs
        async def __init__(self, *args, **kwargs) -> None:  # type: ignore[misc]  # Ray awaits it
            await super().__init__(*args, **kwargs, max_num_seqs=most, max_num_batched_tokens=PROMPT_TOKENS)

    return ray.remote(RolloutRayActor)


def started_alone(create: Any, colocated: bool) -> Any:
    """OpenRLHF's `create_vllm_engines`, which ends when engines on the student's GPUs are up.

    The student would load while they measure what is left, see `teacher.group.starts`.
    """

    def create_vllm_engines(*args: Any, **kwargs: Any) -> list[Any]:
        engines = create(*args, **kwargs)
        if colocated:
            ray.get([engine.get_num_unfinished_requests.remote() for engine in engines])
        return engines

    return create_vllm_engines
