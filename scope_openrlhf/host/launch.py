"""The start of OpenRLHF's training with our classes in the names that it reads."""

from types import SimpleNamespace

import openrlhf.trainer.ppo_trainer as ppo_trainer
import openrlhf.trainer.ppo_trainer_async as ppo_trainer_async
import ray
from openrlhf.cli import train_ppo_ray
from openrlhf.trainer.ray import vllm_engine
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scope_openrlhf.host.engines import sized, started_alone
from scope_openrlhf.host.gpus import is_colocated
from scope_openrlhf.host.policy_actor import ScopePolicyActor
from scope_openrlhf.host.trainer import ScopeAsyncTrainer, ScopeTrainer


def launch(args: SimpleNamespace, shared: PlacementGroup | None = None) -> None:
    """Run OpenRLHF's train() and wait for its end. The trainer sits on this node, beside the run's folder.

    shared: what `gpus.student_gpus` made, for it to use instead of its own.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    on_this_node = ray.remote(num_cpus=0, scheduling_strategy=here)
    ours = [
        (ppo_trainer, "PPOTrainer", on_this_node(ScopeTrainer)),
        (ppo_trainer_async, "PPOTrainerAsync", on_this_node(ScopeAsyncTrainer)),
        (train_ppo_ray, "PolicyModelActor", ray.remote(num_gpus=1)(ScopePolicyActor)),
        (vllm_engine, "RolloutRayActor", sized(args)),
        (train_ppo_ray, "create_vllm_engines", started_alone(vllm_engine.create_vllm_engines, is_colocated(args))),
    ]
    if shared is not None:  # it makes one at most: there is neither a critic nor a reward model
        ours.append((train_ppo_ray, "placement_group", lambda bundles, strategy: shared))
    theirs = [(module, name, getattr(module, name)) for module, name, _ in ours]
    _put(ours)
    try:
        train_ppo_ray.train(args)
    finally:
        _put(theirs)


def _put(names: list) -> None:
    for module, name, value in names:
        setattr(module, name, value)
