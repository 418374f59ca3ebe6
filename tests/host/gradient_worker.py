"""One data-parallel rank of tests/host/test_update.py: the gradient of a step, for several ways to cut one batch.

    python tests/host/gradient_worker.py OUT.pt '{"name": [overrides...], ...}'

RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT stand in the environment.
"""

import json
import os
import sys

from scope_openrlhf.equations import health
from scope_openrlhf.host import flags, machine
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.resolved import RUN_VARIABLE, Run

machine.install()
import deepspeed  # noqa: E402
import openrlhf.trainer.ray.ppo_actor as ppo_actor  # noqa: E402
import torch  # noqa: E402
from openrlhf.trainer.ppo_utils.experience import Experience  # noqa: E402
from openrlhf.utils import get_strategy  # noqa: E402

from scope_openrlhf.host.actor import ScopeActor  # noqa: E402
from scope_openrlhf.host.update import ScopeActorTrainer  # noqa: E402

ROWS, PROMPT, TOP_K, VOCABULARY = 16, 4, 3, 24


def rows() -> list[Experience]:
    """16 rollouts of 2 to 23 tokens with made-up log-probs, advantages, weights and paths, one of them on no path."""
    rng = torch.Generator().manual_seed(3)
    batch = []
    for i in range(ROWS):
        length = 2 + (i * 7) % 22
        ids = torch.randint(5, 20, (1, PROMPT + length), generator=rng)
        mask = torch.zeros(1, PROMPT + length - 1, dtype=torch.long)
        mask[:, PROMPT - 1 :] = 1
        made_up = -torch.rand(2, *mask.shape, generator=rng) * 3 * mask
        path = -1 if i == 5 else i % 3 // 2  # twice as many on path 0 as on path 1
        info = {
            "weight": torch.rand(1, generator=rng),
            "path": torch.tensor([path]),
            "health": torch.ones(1),
            "return": torch.zeros(1),
        }
        one = torch.ones(1)
        logp, token = torch.randn(mask.shape[1], VOCABULARY, generator=rng).log_softmax(1).topk(TOP_K)
        scored = len(logp) if path == 1 else 0  # the rollouts of the other paths were never scored
        info["teacher_topk"] = [(token[:scored], logp[:scored])]
        batch.append(
            Experience(
                sequences=ids,
                attention_mask=torch.ones_like(ids),
                action_mask=mask,
                action_log_probs=made_up[0],
                advantages=made_up[1],
                returns=made_up[1],
                rewards=one,
                scores=one,
                response_length=one * length,
                truncated=one * 0,
                total_length=one * ids.shape[1],
                info=info,
            )
        )
    return batch


def gradient(overrides: list[str]) -> dict:
    """Full gradient by parameter, and the metrics, of a step over rows() by OpenRLHF's loop under DeepSpeed."""
    world, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    base = [
        "openrlhf.rollout.batch_size=2",
        f"openrlhf.train.batch_size={ROWS}",
        f"openrlhf.actor.num_gpus_per_node={world}",
        "openrlhf.rollout.micro_batch_size=1",
        "openrlhf.actor.max_norm=0",
    ]
    config = Config.load("examples/cpu_tiny.yaml", [*base, *overrides])
    run = Run(name="r", folder="r", seed=1, student=config.student, algorithm=config.algorithm, teachers={})
    os.environ[RUN_VARIABLE] = run.to_json()
    args = flags.resolve_args(config)
    strategy = get_strategy(args)
    strategy.setup_distributed()
    actor = ScopeActor(
        config.student.path,
        attn_implementation=args.ds.attn_implementation,
        packing_samples=args.ds.packing_samples,
        ds_config=strategy.get_ds_train_config(),
        temperature=args.rollout.temperature,
    )
    optimiser = {"optim": "adam", "adam": vars(args.actor.adam), "max_norm": 0.0}
    optimiser |= {"scheduler_steps": 10, "lr_scheduler": "constant"}
    actor, optim, scheduler = strategy.prepare((actor, optimiser))

    caught = {}
    original_step = strategy.optimizer_step

    def optimizer_step(optim, model, *rest, **kwargs):
        if model.model.is_gradient_accumulation_boundary():
            for name, param in model.model.module.named_parameters():
                caught[name] = deepspeed.utils.safe_get_full_grad(param).clone()
        return original_step(optim, model, *rest, **kwargs)

    strategy.optimizer_step = optimizer_step
    trainer = ScopeActorTrainer(
        strategy, actor, None, optim, scheduler, micro_train_batch_size=args.train.micro_batch_size, vllm_engines=None
    )
    for row in rows()[rank::world]:
        trainer.replay_buffer.append(row)
    status = trainer.ppo_train(0.0)
    losses = {k: float(v) for k, v in status.items() if k.startswith(("loss_", "policy_loss"))}
    return {"gradient": caught, "metrics": losses | health.path_health(status, trainer.algorithm.paths)}


if __name__ == "__main__":
    assert ppo_actor is not None
    results = {name: gradient(overrides) for name, overrides in json.loads(sys.argv[2]).items()}
    if os.environ["RANK"] == "0":
        torch.save(results, sys.argv[1])
