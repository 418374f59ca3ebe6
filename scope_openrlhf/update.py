"""The optimiser step: OpenRLHF's PPO actor under DeepSpeed, with the algorithm's loss in it. [host]

Each path of the loss is divided by its own count, taken over the whole optimiser step and all data-parallel ranks, so the
gradient does not depend on how the batch is cut into micro-batches.
"""

import functools
import itertools

import openrlhf.trainer.ray.ppo_actor as ppo_actor
import torch
import torch.distributed as dist
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer, PolicyModelActor
from openrlhf.utils.loss_utils import iter_grad_accum_global_norm
from torch import Tensor

from scope_openrlhf import algorithms, cpu_platform
from scope_openrlhf.algorithms.base import Algorithm
from scope_openrlhf.batch import LossInput
from scope_openrlhf.config import Config


class PathLoss(torch.nn.Module):
    """Stands where OpenRLHF's PolicyLoss stood, with the same call. `bind` tells it the rest of the coming micro-batch."""

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__()
        self.algorithm = algorithm
        self.path_losses: dict[str, Tensor] = {}

    def bind(self, weight_N: Tensor, path_N: Tensor, path_counts_P: Tensor) -> None:
        """path_counts_P: tokens or sequences of each path in the whole optimiser step, over DeepSpeed's accumulation steps."""
        self.weight_N, self.path_N, self.path_counts_P = weight_N, path_N, path_counts_P

    def forward(self, log_probs, old_log_probs, advantages, action_mask=None, rollout_log_probs=None,
                dp_size=1, batch_num_tokens=None, global_batch_size=None):  # fmt: skip
        mask = action_mask.float()
        weight_NT = self.weight_N[:, None] * mask
        if self.algorithm.config.normalize == "sequences":
            weight_NT = weight_NT / mask.sum(dim=1, keepdim=True).clamp(min=1)
        # off the mask, log-probs and advantages are zeros or padding: they meet a weight of zero
        sums, metrics = self.algorithm.loss(LossInput(log_probs, old_log_probs, advantages, weight_NT, self.path_N))
        self.path_losses = {
            name: sums[name] / self.path_counts_P[p].clamp(min=1e-8) * dp_size for p, name in enumerate(self.algorithm.paths)
        }
        loss = torch.stack(list(self.path_losses.values())).sum()
        tokens = mask.sum().clamp(min=1)
        clip_ratio = metrics.get("clipped_tokens", torch.zeros(())) / tokens
        ppo_kl = ((old_log_probs - log_probs).detach() * mask).sum() / tokens
        return loss, clip_ratio, ppo_kl, None, None


def path_counts(algorithm: Algorithm, path_N: Tensor, mask_NT: Tensor) -> Tensor:
    """(P,) tokens, or sequences with a token, of each path among N rows."""
    tokens_N = mask_NT.sum(dim=1).double()
    count_N = tokens_N if algorithm.config.normalize == "tokens" else (tokens_N > 0).double()
    on_path = path_N >= 0
    return torch.zeros(len(algorithm.paths), dtype=torch.float64).index_add(0, path_N[on_path], count_N[on_path])


class ScopeActorTrainer(ActorPPOTrainer):
    """OpenRLHF's optimiser loop. Adds: the path counts of each optimiser step, our loss, and its metrics by path."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.algorithm = algorithms.load(**Config.of_this_run().algorithm)
        self.actor_loss_fn = PathLoss(self.algorithm)
        ppo_actor.iter_grad_accum_global_norm = functools.partial(iter_windows, self.algorithm)

    def ppo_train(self, kl_ctl):
        # the order of micro-batches follows from the step alone, so that a resumed run repeats an uncut one
        torch.manual_seed(self.args.train.seed + self.actor.model.global_steps)
        return super().ppo_train(kl_ctl)

    def training_step(self, experience, kl_ctl, step, loss_batch_info=None):
        device = experience.action_mask.device  # `info` holds lists of numbers, which as_tensor puts on the CPU
        path_N = torch.as_tensor(experience.info.pop("path"), device=device)
        weight_N = torch.as_tensor(experience.info.pop("weight"), device=device)
        counts = experience.__dict__.get("path_counts")
        if counts is None:  # dynamic batching: OpenRLHF hands out no window, the replay buffer knows it
            counts = self._dynamic_path_counts(step)
            # DeepSpeed believes that every backward ends a step and would keep the last micro-batch's gradient alone
            self.actor.model.set_gradient_accumulation_boundary(bool(self.replay_buffer.dynamic_optimizer_step[step]))
        self.actor_loss_fn.bind(weight_N, path_N, counts.to(device))
        status = super().training_step(experience, kl_ctl, step, loss_batch_info)
        self._report_paths(status, loss_batch_info, step)
        return status

    def _report_paths(self, status, loss_batch_info, step) -> None:
        """OpenRLHF averages metrics over micro-batches by tokens; a path's loss is a sum over them, so undo that weight."""
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

    def _dynamic_path_counts(self, step: int) -> Tensor:
        buffer = self.replay_buffer
        ends = [i for i, last in enumerate(buffer.dynamic_optimizer_step) if last]
        end = next(e for e in ends if e >= step)
        first = max((e + 1 for e in ends if e < step), default=0)
        items = [buffer.items[i] for micro in buffer.dynamic_indices[first : end + 1] for i in micro]
        # a stored item has no batch axis
        counts = sum(path_counts(self.algorithm, torch.as_tensor(i.info["path"]).reshape(1), i.action_mask[None]) for i in items)
        return _sum_over_ranks(counts, self.strategy)


def _sum_over_ranks(counts: Tensor, strategy) -> Tensor:
    counts = counts.to(torch.cuda.current_device())
    dist.all_reduce(counts, group=strategy.ds_device_mesh["dp"].get_group())
    return counts


def iter_windows(algorithm: Algorithm, data_iter, strategy, accumulated_gradient, mask_fn):
    """OpenRLHF's iterator over optimiser steps, which also gives each micro-batch the path counts of its step.

    Like OpenRLHF's own normalisers the counts come divided by the accumulation steps, which DeepSpeed divides the loss by.
    """
    gas, data_iter = max(int(accumulated_gradient), 1), iter(data_iter)
    while window := list(itertools.islice(data_iter, gas)):
        counts = sum(path_counts(algorithm, torch.as_tensor(e.info["path"]), e.action_mask) for e in window)
        counts = _sum_over_ranks(counts, strategy) / gas
        for experience in window:
            experience.path_counts = counts
        yield from iter_grad_accum_global_norm(iter(window), strategy, accumulated_gradient, mask_fn)


class ScopePolicyActor(PolicyModelActor.__ray_metadata__.modified_class):
    """OpenRLHF's policy actor, which names its trainer as a global of its module: ours is put there."""

    def init_model_from_pretrained(self, *args, **kwargs):
        cpu_platform.install_openrlhf()
        ppo_actor.ActorPPOTrainer = ScopeActorTrainer
        return super().init_model_from_pretrained(*args, **kwargs)
