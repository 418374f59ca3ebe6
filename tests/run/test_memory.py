"""What a run takes of the memory of a machine without CUDA, and who is told that it does not fit."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import resolved

from scope_openrlhf.host import cpu as host_cpu
from scope_openrlhf.models.shape import Shape
from scope_openrlhf.platform import cpu
from scope_openrlhf.run.cli import main
from scope_openrlhf.run.memory import ADVICE, shortage

ROUND = Shape(params=2**28, layers=10, hidden=1024, vocab=2**16, kv_bytes=2**15)
"""4 bytes of each param are 1 GiB; a token takes 2**16 bytes of a float32 cache."""


def args(**train: int) -> SimpleNamespace:
    return SimpleNamespace(
        actor=SimpleNamespace(num_nodes=1, num_gpus_per_node=1, gradient_checkpointing_enable=False),
        ds=SimpleNamespace(lora=SimpleNamespace(rank=0)),
        train=SimpleNamespace(**({"micro_batch_size": 2, "enable_ema": False} | train)),
        data=SimpleNamespace(max_len=512),
        rollout=SimpleNamespace(batch_size=4, n_samples_per_prompt=4),
        vllm=SimpleNamespace(num_engines=1),
    )


def test_the_memory_of_a_run_by_hand():
    teacher = resolved.teacher(max_model_len=512)
    parts = host_cpu.memory_gib(args(), ROUND, {"": teacher}, {"": ROUND})
    assert parts["student"] == 6  # params, their copy, gradients, the step's gradients, two moments
    assert parts["activations"] == 1024 * 1024 * 680 / 2**30
    # a chunk of 2**25, eight times; the gradient of the head, 2**16 x 1024; the hidden states and theirs
    assert parts["logits"] == 1 + 0.25 + 8 * 1024 * 1024 / 2**30
    assert parts["rollout engines"] == 2 + 16 * 512 * 2**16 / 2**30
    assert parts["teachers"] == 2 + 0.5
    assert parts["processes"] == pytest.approx(host_cpu.RAY_GIB + 7 * host_cpu.PROCESS_GIB)
    assert set(parts) == set(ADVICE)
    served = resolved.teacher(urls=["http://host:8000"])
    assert host_cpu.memory_gib(args(), ROUND, {"": served}, {"": ROUND})["teachers"] == 0


def test_adapters_alone_have_gradients_and_moments_and_an_average_is_one_more_copy():
    a = args(enable_ema=True)
    assert host_cpu.memory_gib(a, ROUND, {}, {})["student"] == 7
    a = args()
    a.ds.lora.rank = 8
    # adapters of 8 x 2**20 params, 1/32 GiB each time that they are held
    parts = host_cpu.memory_gib(a, replace(ROUND, ends=2**20), {}, {})
    assert parts["student"] == 1 + 6 / 32
    assert parts["logits"] == 1 + 8 * 1024 * 1024 / 2**30


def test_a_larger_micro_batch_takes_logits_and_activations_and_nothing_else():
    small, large = (host_cpu.memory_gib(args(micro_batch_size=n), ROUND, {}, {}) for n in (2, 4))
    assert {k for k in small if small[k] != large[k]} == {"activations", "logits"}


def test_what_surely_does_not_fit_is_refused_with_the_key_to_lower():
    parts = {"student": 3.0, "logits": 12.0, "processes": 5.0}
    assert shortage(parts, free=12.0) == ""
    assert shortage(parts, free=11.9) == (
        "without CUDA the run takes about 20.0 GiB of memory (logits: 12.0), 11.9 are free; name a student.path with a "
        "smaller vocabulary, or lower openrlhf.actor.num_gpus_per_node where it is above 1: each rank reads a chunk of "
        "its own"
    )


def test_large_models_get_all_cores_and_tiny_ones_a_single_thread(monkeypatch):
    for variable in cpu.SIZES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(host_cpu.os, "cpu_count", lambda: 4)
    assert host_cpu.environment(args(), ROUND)["OMP_NUM_THREADS"] == "4"
    tiny = host_cpu.environment(args(), Shape(params=187_680, layers=2, hidden=96, vocab=26, kv_bytes=1))
    assert (tiny["OMP_NUM_THREADS"], tiny[cpu.SEQUENCES]) == ("1", "16")


def test_plan_says_what_a_run_takes_of_this_machine(tmp_path, capfd):
    assert main(["plan", "--config", "examples/cpu_tiny.yaml", f"runs={tmp_path}"]) == 0
    said = capfd.readouterr().out
    assert "memory on this machine, which has no CUDA (estimates)" in said
    assert "all processes               student 0.0 + activations" in said
