"""OpenRLHF's modes with SCOPE, each on the real stack (slow); what does not go together is refused.

docs/operations.md has the table.
"""

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest
import torch
from commands import TINY_RUN

from scope_openrlhf.equations import losses
from scope_openrlhf.host import machine
from scope_openrlhf.host.flags import resolve_args
from scope_openrlhf.run.checks import check_modes
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

machine.install()

RANKS = ["actor.num_gpus_per_node=2", "train.micro_batch_size=32", "rollout.micro_batch_size=64"]
MODES = {
    "async": [
        "train.async_enable=true",
        "algo.advantage.is_correction_level=token",
        "algo.advantage.is_correction_mode=clip",
    ],
    "async, partial rollouts": [
        "train.async_enable=true",
        "train.partial_rollout_enable=true",
        "algo.advantage.is_correction_level=seq",
    ],
    "several engines": ["vllm.num_engines=2"],
    "two ranks, ZeRO-2": [*RANKS],
    "two ranks, ZeRO-3": [*RANKS, "ds.zero_stage=3"],
    "LoRA": ["ds.lora.rank=4", "ds.lora.dropout=0.1", "actor.adam.lr=2e-3"],
    "packing and dynamic batching": [
        "ds.packing_samples=true",
        "train.dynamic_batch_enable=true",
        "train.max_tokens_per_gpu=2000",
        "rollout.max_tokens_per_gpu=4000",
    ],
    "gradient checkpointing, several epochs": ["actor.gradient_checkpointing_enable=true", "train.max_epochs=2"],
    "EMA": ["train.enable_ema=true", "train.ema_beta=0.5"],
}


def train(tmp_path: Path, *overrides: str, steps: int = 3) -> list[dict]:
    settings = [f"runs={tmp_path}", "name=r", f"steps={steps}", "eval.path=", "ray.restarts=0"]
    # with a correction level, a step measures how far engine and trainer are apart
    flags = ["rollout.max_new_tokens=40", "ckpt.save_steps=2", "algo.advantage.is_correction_level=token"]
    command = [*TINY_RUN, *settings, *(f"openrlhf.{flag}" for flag in flags), *overrides]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]


def params(folder: Path) -> dict:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_of_openrlhf_trains_with_scope(mode, tmp_path):
    rows = train(tmp_path, *(f"openrlhf.{flag}" for flag in MODES[mode]))
    assert [r["step"] for r in rows] == [1, 2, 3]
    for row in rows:
        assert row["right"] + row["wrong"] == row["rollouts"] == 128 and row["grad_norm"] > 0 and row["loss"] != 0
    old, new = params(Path("examples/tiny/student")), params(tmp_path / "r" / "model")
    assert old.keys() == new.keys() and 1e-6 < max((old[k] - new[k]).abs().max().item() for k in old) < 1e-1
    apart = [abs(row["vllm_kl"]) for row in rows]
    if "async" in mode:
        # the first batch is drawn by the params that it trains, a later one by older params
        assert apart[0] < 1e-5 < apart[2]
    else:
        assert max(apart) < 1e-5, apart  # after each sync the engines hold the params that train
    if "several epochs" in mode:
        assert rows[-1]["ppo_kl"] != 0


@pytest.mark.parametrize(
    ("level", "mode", "gating", "threshold"),
    [
        ("token", "mask", "ratio", (0.5, 5.0)),
        ("token", "clip", "ratio", (0.5, 2.0)),
        ("seq", "mask", "ratio", (0.8, 1.25)),
        ("token", "mask", "binary_kl", (0.0, 0.05)),
        ("seq", "mask", "binary_kl", (0.0, 0.05)),
        ("token", "mask", "tv", (0.0, 0.1)),
        ("seq", "mask", "tv", (0.0, 0.2)),
    ],
)
def test_the_importance_weight_is_that_of_openrlhf(level, mode, gating, threshold):
    from openrlhf.models import PolicyLoss

    rng = torch.Generator().manual_seed(1)
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    logp, noise = -2 * torch.rand(4, 5, generator=rng), 0.6 * torch.randn(4, 5, generator=rng)
    rollout = (logp + noise).clamp(max=0) * mask
    logp = logp * mask
    flags = dict(
        is_correction_level=level,
        is_correction_mode=mode,
        is_correction_gating=gating,
        is_correction_threshold=threshold,
    )
    theirs, *_, filtered = PolicyLoss(**flags)(
        logp, logp, -torch.ones(4, 5), mask, rollout, batch_num_tokens=float(mask.sum())
    )
    weight, outside = losses.importance_weight(logp, rollout, mask.bool(), level, mode, gating, *threshold)
    assert (weight * mask).sum().item() / mask.sum().item() == pytest.approx(theirs.item(), rel=1e-5)
    share = outside.any(1).float().mean() if level == "seq" else outside.sum() / mask.sum()
    assert share.item() == pytest.approx(filtered.item()) and 0 < share < 1


def test_the_importance_weight_by_hand():
    """w = e^0.5 = 1.649 and e^-1 = 0.368; a band of [0.5, 1.5] drops both as a mask and bounds both as a clip."""
    logp, rollout = torch.tensor([[-1.0, -2.0, 0.0]]), torch.tensor([[-1.5, -1.0, 0.0]])
    mask = torch.tensor([[True, True, False]])

    def weight(level: str, mode: str, low: float, high: float) -> list[float]:
        found, _ = losses.importance_weight(logp, rollout, mask, level, mode, "ratio", low, high)
        (row,) = found.tolist()
        return row

    each = pytest.approx([1.6487, 0.3679, 0], abs=1e-4)
    assert weight("token", "mask", 0.1, 5.0) == each
    assert weight("token", "mask", 0.5, 1.5) == [0, 0, 0]
    assert weight("token", "clip", 0.5, 1.5) == [1.5, 0.5, 0]
    assert weight("seq", "mask", 0.5, 1.5) == each  # geometric mean e^-0.25 = 0.779: in the band


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"ds.lora.rank": 4, "ds.zero_stage": 3}, "set openrlhf.ds.zero_stage to 2 or lower"),
        ({"train.enable_ema": True, "ds.zero_stage": 3}, "or leave the average out"),
        ({"ds.lora.rank": 4, "train.enable_ema": True}, "averages the params of a model without adapters"),
        ({"rollout.vllm_generate_batch_size": 32}, "would be lost in a resume"),
        ({"ckpt.disable_ds": True}, "a run that is cut could not go on"),
        ({"ds.load_in_4bit": True}, "4-bit params that they cannot read"),
        ({"critic.model_name_or_path": "x"}, "no algorithm here has a critic"),
        ({"ckpt.save_hf": True}, "model/ is written at the end"),
        (
            {"algo.advantage.is_correction_level": "seq", "algo.advantage.is_correction_mode": "clip"},
            "OpenRLHF refuses openrlhf.algo.advantage",
        ),
    ],
)
def test_modes_that_do_not_go_together_are_refused(flags, message):
    config = Config.load("examples/cpu_tiny.yaml", [])
    with pytest.raises(ConfigError, match=message):
        check_modes(resolve_args(dataclasses.replace(config, openrlhf=config.openrlhf | flags)))


def test_adapters_are_merged_under_the_names_of_the_plain_model():
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from scope_openrlhf.host.lora import merged_params

    plain = AutoModelForCausalLM.from_pretrained("examples/tiny/student", dtype=torch.float32)
    names = [name for name, _ in plain.named_parameters()]
    peft = get_peft_model(plain, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    merged = dict(merged_params(peft))
    assert list(merged) == names
    merged = {name: param.data for name, param in merged.items()}
    ids = torch.tensor([[3, 9, 6, 4, 7, 8]])
    adapted = peft(ids).logits
    fresh = AutoModelForCausalLM.from_pretrained("examples/tiny/student", dtype=torch.float32)
    before = fresh(ids).logits
    fresh.load_state_dict(merged, strict=False)
    assert torch.allclose(fresh(ids).logits, adapted, atol=1e-4) and not torch.allclose(before, adapted, atol=1e-2)
