"""The learning rate at a step, by the schedule that OpenRLHF makes of its flags and the number of steps."""

import math
from types import SimpleNamespace
from typing import Any

import torch
from transformers.optimization import get_scheduler

WITH_LEAST_RATE = ("cosine_with_min_lr", "cosine_warmup_with_min_lr")
"""Schedules that OpenRLHF hands actor.min_lr_ratio."""


def rate_share(args: SimpleNamespace, steps: int, at: int) -> float:
    """Share of actor.adam.lr that a run of so many steps trains with after `at` of them. args: OpenRLHF's flags."""
    of_a_step = args.rollout.batch_size * args.rollout.n_samples_per_prompt * args.train.max_epochs
    total, done = (n * of_a_step // args.train.batch_size for n in (steps, at))
    name = args.actor.lr_scheduler
    schedule = get_scheduler(
        name,
        torch.optim.SGD([torch.zeros(1)], lr=1.0),
        num_warmup_steps=math.ceil(total * args.actor.lr_warmup_ratio),
        num_training_steps=total,
        scheduler_specific_kwargs={"min_lr_rate": args.actor.min_lr_ratio} if name in WITH_LEAST_RATE else {},
    )
    shares = getattr(schedule, "lr_lambdas", None)
    return float(shares[0](done)) if shares else 1.0  # the others follow the loss, not the number of steps


def set_learning_rate(scheduler: Any, rate: float) -> None:
    """Let every group of params go on with this rate, by today's schedule: a checkpoint brings those of its own run."""
    if not isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR):  # of the others no number of steps is a part
        return
    scheduler.base_lrs = [rate for _ in scheduler.base_lrs]
    for group, share in zip(scheduler.optimizer.param_groups, scheduler.lr_lambdas, strict=True):
        group["lr"] = rate * share(scheduler.last_epoch)
