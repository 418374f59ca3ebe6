"""A GPU without flash-attn and without a CUDA toolkit trains as one that has them: packed samples, and Adam."""

import copy
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import varlen_loop
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from scope_openrlhf.host import machine
from scope_openrlhf.platform import cpu, flash_attn, varlen

LENGTHS = (7, 1, 12, 5)
SMALL = dict(vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4)


@pytest.fixture(autouse=True)
def a_loop_for_the_kernel(monkeypatch):
    monkeypatch.setattr(varlen, "varlen_attn", varlen_loop.loop)


def models(config) -> list:
    """The same model twice, in float64: one with torch's sdpa and one with the attention of packed samples."""
    varlen.register()
    torch.manual_seed(0)
    made = [
        AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation=attention).double()
        for attention in ("sdpa", varlen.NAME)
    ]
    made[1].load_state_dict(made[0].state_dict())
    return made


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize(
    "config",
    [
        Qwen3Config(**SMALL, num_key_value_heads=4, head_dim=8),
        Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=16),
        Qwen2Config(
            **SMALL,
            num_key_value_heads=1,
            use_sliding_window=True,
            sliding_window=4,
            layer_types=["sliding_attention"] * 3,
        ),
    ],
    ids=["causal", "grouped", "window of 4"],
)
def test_packed_rows_have_the_log_probs_and_the_gradient_of_padded_ones(config):
    """Everywhere within 1e-13 of the largest value, in float64."""
    padded, packed = models(config)
    ids = [torch.randint(config.vocab_size, (n,)) for n in LENGTHS]
    row = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(i) for i in ids], batch_first=True)
    weights = torch.randn(sum(LENGTHS), config.vocab_size, dtype=torch.float64)
    one = padded(row, attention_mask=mask).logits.log_softmax(-1)[mask.bool()]
    places = torch.cat([torch.arange(n) for n in LENGTHS])[None]
    other = packed(torch.cat(ids)[None], position_ids=places).logits.log_softmax(-1)[0]
    assert relative(other, one) < 1e-13
    for logprobs in (one, other):
        (logprobs * weights).sum().backward()
    gaps = {
        name: relative(p.grad, q.grad)
        for (name, p), q in zip(packed.named_parameters(), padded.parameters(), strict=True)
    }
    assert len(gaps) > 30 and max(gaps.values()) < 1e-13, gaps


@pytest.mark.parametrize(
    "change, named",
    [
        (dict(softcap=50.0), "soft cap"),
        (dict(s_aux=torch.zeros(4)), "sinks"),
        (dict(dropout=0.1), "attention_dropout"),
        (dict(is_causal=False), "not causal"),
        (dict(position_ids=None), "without position ids"),
        (dict(attention_mask=torch.ones(1, 25)), "padded rows"),
        (dict(value=torch.zeros(1, 4, 25, 16)), "another size"),
    ],
)
def test_what_torchs_attention_cannot_do_is_refused_by_name(change, named):
    states = {name: torch.zeros(1, 4, 25, 8) for name in ("query", "key", "value")}
    asked = states | dict(attention_mask=None, position_ids=torch.arange(25)[None], scaling=1.0) | change
    with pytest.raises(ValueError, match=f"wants .*{named}.*install flash-attn"):
        varlen.attend(SimpleNamespace(is_causal=True), **asked)


@pytest.mark.parametrize("on_a_cpu", [True, False])
def test_openrlhfs_packed_actor_agrees_with_its_padded_one(monkeypatch, on_a_cpu):
    """On a CPU by sdpa, whose mask transformers makes of the position ids; elsewhere by torch's kernel."""
    machine.install()
    from openrlhf.models import Actor

    monkeypatch.setattr(cpu, "active", lambda: on_a_cpu)
    ids = torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.long)
    for row, n in zip(ids, LENGTHS, strict=True):
        row[:n] = torch.randint(3, 12, (n,))
    action = (ids[:, 1:] != 0).long()
    actors = [
        Actor("examples/tiny/student", attn_implementation="flash_attention_2", packing_samples=packed)
        for packed in (False, True)
    ]
    assert [a.model.config._attn_implementation for a in actors] == ["sdpa", "sdpa" if on_a_cpu else varlen.NAME]
    padded, packed = (actor(ids, action, (ids != 0).long()) for actor in actors)
    assert relative(packed, padded) < 1e-5
    for logprobs in (padded, packed):
        logprobs.sum().backward()
    one, other = (torch.cat([p.grad.flatten() for p in actor.model.parameters()]) for actor in actors)
    assert relative(other, one) < 1e-5


def test_a_model_with_an_attention_of_its_own_is_refused(monkeypatch):
    machine.install()
    from openrlhf.models import Actor
    from transformers import Qwen2ForCausalLM

    monkeypatch.setattr(cpu, "active", lambda: False)
    monkeypatch.setattr(Qwen2ForCausalLM, "_supports_attention_backend", False)
    with pytest.raises(ValueError, match="would mix packed samples"):
        Actor("examples/tiny/student", packing_samples=True)


@pytest.mark.parametrize("on_a_cpu", [True, False])
def test_deepspeed_is_asked_for_torchs_adam_and_compiles_none(monkeypatch, on_a_cpu):
    machine.install()
    from openrlhf.utils.deepspeed import deepspeed as strategy

    monkeypatch.setattr(cpu, "active", lambda: on_a_cpu)
    kinds = {kind: {"type": kind, "params": {"lr": 1.0}} for kind in ("AdamW", "Muon")}
    asked = {
        kind: strategy.get_train_ds_config(offload=False, optim_config=optimizer)["optimizer"]["params"]
        for kind, optimizer in kinds.items()
    }
    fused = {} if on_a_cpu else {"fused": True}
    assert asked == {"AdamW": {"lr": 1.0, "torch_adam": True} | fused, "Muon": {"lr": 1.0, "torch_adam": True}}


def test_openrlhf_imports_without_flash_attn_and_nobody_else_sees_the_stand_ins():
    code = """
import sys
from scope_openrlhf.platform import flash_attn
flash_attn.install(); flash_attn.install()
from openrlhf.models.ring_attn_utils import all_gather, unpad_input
from openrlhf.models.utils import log_probs_from_logits
import importlib.util
print(unpad_input.__module__, all_gather.__module__, importlib.util.find_spec("flash_attn"), sys.meta_path.count)
print(sum(type(f).__name__ == "Finder" for f in sys.meta_path), [m for m in sys.modules if m.startswith("flash_attn")])
"""
    env = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    lines = done.stdout.splitlines()
    ours = "scope_openrlhf.platform.padding"
    assert lines[-2].startswith(f"{ours} {ours} None"), done.stderr
    assert lines[-1] == "1 []"


def test_an_installed_flash_attn_is_left_in_place(monkeypatch):
    monkeypatch.setattr(flash_attn, "missing", lambda: False)
    before = list(sys.meta_path)
    flash_attn.install()
    assert sys.meta_path == before
