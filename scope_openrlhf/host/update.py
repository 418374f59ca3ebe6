"""The optimiser step: OpenRLHF's PPO actor under DeepSpeed, with the algorithm's loss in it.

Each path of the loss is divided by its own count, taken over the whole optimiser step and all data-parallel ranks, so
the gradient does not depend on how the batch is cut into micro-batches.
"""

import functools
import itertools

import openrlhf.trainer.ray.ppo_actor as ppo_actor
import ray
import torch
import torch.distributed as dist
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer
from openrlhf.utils.loss_utils import iter_grad_accum_global_norm
from torch import Tensor

from scope_openrlhf import algorithms
from scope_openrlhf.algorithms.base.contract import Algorithm
from scope_openrlhf.host import luggage
from scope_openrlhf.host.actor import Asked
from scope_openrlhf.host.lora import plain_params
from scope_openrlhf.host.path_loss import PathLoss, path_counts
from scope_openrlhf.settings.resolved import Run


class ScopeActorTrainer(ActorPPOTrainer):
    """OpenRLHF's optimiser loop. Adds: the path counts of each optimiser step, our loss, and its metrics by path."""

    def __init__(self, *args, vllm_engines=None, **kwargs) -> None:
        # an engine that cannot start says so here; the group for the params' sync would wait for it in vain
        ray.get([engine.get_num_unfinished_requests.remote() for engine in vllm_engines or ()])
        super().__init__(*args, vllm_engines=vllm_engines, **kwargs)
        self.algorithm = algorithms.load(**Run.of_this_worker().algorithm)
        self.actor_loss_fn = PathLoss(self.algorithm, self.args.algo.advantage)
        self.counts_by_window: dict[int, Tensor] = {}
        """Path counts under dynamic batching, by the last micro-batch of an optimiser step."""
        self.actor.register_forward_hook(self._take_reading)
        ppo_actor.iter_grad_accum_global_norm = functools.partial(iter_windows, self.algorithm)

    def ppo_train(self, kl_ctl):
        # the order of micro-batches follows from the step alone, so that a resumed run repeats an uncut one
        torch.manual_seed(self.args.train.seed + self.actor.model.global_steps)
        self.counts_by_window.clear()
        return super().ppo_train(kl_ctl)

    def broadcast_to_vllm(self):
        with plain_params(self):
            super().broadcast_to_vllm()

    def _shards_logits(self) -> bool:
        return self.strategy.ring_attn_group is not None or self.args.ds.tensor_parallel_size > 1

    def _take_reading(self, module, args, output) -> None:
        if isinstance(output, tuple):  # a training forward; the one that makes experience returns log-probs alone
            self.actor_loss_fn.take(output[1].reading)

    def training_step(self, experience, kl_ctl, step, loss_batch_info=None):
        device = experience.action_mask.device  # `info` holds lists of numbers, which come to be on the CPU
        counts = experience.__dict__.get("path_counts")
        if counts is None:  # dynamic batching: OpenRLHF hands out no window, the replay buffer knows it
            counts = self._dynamic_path_counts(step)
            # DeepSpeed believes that every backward ends a step and would keep the last micro-batch's gradient alone
            self.actor.model.set_gradient_accumulation_boundary(bool(self.replay_buffer.dynamic_optimizer_step[step]))
        signal = luggage.unpack_signal(experience, device)
        self.actor_loss_fn.bind(
            signal.weight_N, signal.path_N, counts.to(device), signal.topk, experience.action_mask.shape[1]
        )
        self.actor.asked = Asked(signal.health and not self._shards_logits(), self.actor_loss_fn.topk_ids_NTK)
        status = super().training_step(experience, kl_ctl, step, loss_batch_info)
        self._report_paths(status, loss_batch_info, step)
        return status

    def _report_paths(self, status, loss_batch_info, step) -> None:
        """Put the losses and sums of the paths among the metrics.

        OpenRLHF averages metrics over micro-batches by tokens; a path's loss is a sum over them, so undo that weight.
        """
        if loss_batch_info is None:
            window_tokens = self.replay_buffer.dynamic_batch_num_tokens[step]
            scale = 1.0 / dist.get_world_size(self.strategy.ds_device_mesh["dp"].get_group())
        else:
            gas = self.strategy.accumulated_gradient
            window_tokens = float(loss_batch_info["batch_num_tokens"]) * gas
            scale = 1.0 / gas / float(loss_batch_info["dp_size"])
        scale *= window_tokens / max(status["num_action_tokens"], 1.0)
        for name, value in self.actor_loss_fn.path_losses.items():
            status["metrics"][f"loss_{name}"] = value.detach() * scale
            status["weights"][f"loss_{name}"] = "token"
        status["metrics"]["policy_loss"] = status["metrics"]["policy_loss"] * scale
        for name, value in self.actor_loss_fn.path_sums.items():  # only their ratios are read: health.path_health
            status["metrics"][f"sum_{name}"] = value.detach() / max(status["num_action_tokens"], 1.0)
            status["weights"][f"sum_{name}"] = "token"

    def _dynamic_path_counts(self, step: int) -> Tensor:
        buffer = self.replay_buffer
        ends = [i for i, last in enumerate(buffer.dynamic_optimizer_step) if last]
        end = next(e for e in ends if e >= step)
        if end not in self.counts_by_window:
            first = max((e + 1 for e in ends if e < step), default=0)
            items = [buffer.items[i] for micro in buffer.dynamic_indices[first : end + 1] for i in micro]
            # a stored item has no batch axis
            counts = sum(path_counts(self.algorithm, luggage.path_of(i).reshape(1), i.action_mask[None]) for i in items)
            self.counts_by_window[end] = _sum_over_ranks(counts, self.strategy)
        return self.counts_by_window[end]


def _sum_over_ranks(counts: Tensor, strategy) -> Tensor:
    counts = counts.to(torch.cuda.current_device())
    dist.all_reduce(counts, group=strategy.ds_device_mesh["dp"].get_group())
    return counts


def iter_windows(algorithm: Algorithm, data_iter, strategy, accumulated_gradient, mask_fn):
    """OpenRLHF's iterator over optimiser steps, which also gives each micro-batch the path counts of its step.

    Like OpenRLHF's own normalisers the counts come divided by the accumulation steps, by which DeepSpeed divides the
    loss.
    """
    gas, data_iter = max(int(accumulated_gradient), 1), iter(data_iter)
    while window := list(itertools.islice(data_iter, gas)):
        counts = sum(path_counts(algorithm, luggage.path_of(e), e.action_mask) for e in window)
        counts = _sum_over_ranks(counts, strategy) / gas
        for experience in window:
            experience.path_counts = counts
        yield from iter_grad_accum_global_norm(iter(window), strategy, accumulated_gradient, mask_fn)
