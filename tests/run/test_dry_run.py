import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from scope_openrlhf.equations.vocabulary import reading_gib
from scope_openrlhf.models.shape import Shape, known_shape, shape_of
from scope_openrlhf.run.cli import main
from scope_openrlhf.run.dry_run import GIB, engine_room, student_gib, where

RECIPES = sorted(Path("examples").glob("scope_*.yaml"))
COMMANDS = [c for file in RECIPES for c in re.findall(r"^#\s+scope-train (plan .*)$", file.read_text(), re.M)]
TEN = Shape(params=GIB, layers=10, hidden=1024, vocab=102_400, kv_bytes=2**20)
"""2**30 params, so that two bytes of each are 2 GiB."""


def args(stage: int = 2, **changes) -> SimpleNamespace:
    a = SimpleNamespace(
        actor=SimpleNamespace(num_nodes=1, num_gpus_per_node=4, gradient_checkpointing_enable=True),
        ds=SimpleNamespace(
            zero_stage=stage, ring_attn_size=1, tensor_parallel_size=1, adam_offload=False, lora=SimpleNamespace(rank=0)
        ),
        train=SimpleNamespace(dynamic_batch_enable=False, micro_batch_size=2, max_tokens_per_gpu=None),
        data=SimpleNamespace(max_len=512),
    )
    for key, value in changes.items():
        section, _, name = key.partition("__")
        setattr(getattr(a, section), name, value)
    return a


def test_what_each_zero_stage_leaves_on_a_rank_by_hand():
    """Mixed precision takes 2 bytes a param, 2 a gradient, 12 of Adam and the float32 copy.

    Stage 1 parts Adam, stage 2 the gradients too, stage 3 all.
    """
    found = {s: [student_gib(TEN, args(s))[k] for k in ("params", "gradients", "optimiser")] for s in (0, 1, 2, 3)}
    assert found == {0: [2, 2, 12], 1: [2, 2, 3], 2: [2, 0.5, 3], 3: [0.5, 0.5, 3]}
    assert student_gib(TEN, args(ds__adam_offload=True))["optimiser"] == 0


def test_activations_and_logits_of_a_micro_batch_by_hand():
    # 2 sequences of 512 tokens: 2**20 token * hidden, 2 bytes in 10 layers and 34 in the one recomputed
    parts = student_gib(TEN, args())
    assert parts["activations"] == pytest.approx(54 * 2**20 / GIB)
    kept = student_gib(TEN, args(actor__gradient_checkpointing_enable=False))["activations"]
    assert kept == pytest.approx(340 * 2**20 / GIB)
    # a chunk of 2**25 logits, 4 bytes 8 times over: 1 GiB; 102,400 * 1024 of the head, 6 bytes; the hidden states, 4
    head = 6 * 102_400 * 1024 / GIB
    assert parts["logits"] == pytest.approx(1 + head + 4 * 2**20 / GIB)
    dynamic = student_gib(TEN, args(train__dynamic_batch_enable=True, train__max_tokens_per_gpu=2048))
    assert dynamic["logits"] == pytest.approx(1 + head + 8 * 2**20 / GIB)
    assert reading_gib(TEN, 1024, 2, frozen=True) == pytest.approx(1 + 4 * 2**20 / GIB)
    # logits that come to be take 6 bytes a token and word
    capped = replace(TEN, plain_head=False)
    for other in (reading_gib(capped, 1024, 2), reading_gib(TEN, 1024, 2, parted=True)):
        assert other == pytest.approx(1 + 6 * 1024 * 102_400 / GIB)


def test_an_engine_has_its_share_less_its_params_for_the_cache():
    assert engine_room(TEN, 0.5, 1, 80.0) == pytest.approx(40 - 2 - 2)
    assert engine_room(TEN, 0.5, 2, 80.0) == pytest.approx(40 - 1 - 2)


def test_gpus_are_named_by_node():
    assert where([6, 7, 8, 9], 8) == "node 0: 6-7, node 1: 0-1"
    assert where([3], 8) == "node 0: 3" and where([], 8) == "none of ours"


@pytest.mark.parametrize(
    "model, params, kv_bytes",
    [  # as their cards count them; K and V of all layers in bf16
        ("Qwen/Qwen3-1.7B", 1_720_574_976, 4 * 28 * 8 * 128),
        ("Qwen/Qwen3-1.7B-Base", 1_720_574_976, 4 * 28 * 8 * 128),
        ("Qwen/Qwen3-8B", 8_190_735_360, 4 * 36 * 8 * 128),
        ("Qwen/Qwen3-8B-Base", 8_190_735_360, 4 * 36 * 8 * 128),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1_777_088_000, 4 * 28 * 2 * 128),
        ("Skywork/Skywork-OR1-Math-7B", 7_615_616_512, 4 * 28 * 4 * 128),
    ],
)
def test_the_shapes_of_the_recipes_models_have_their_known_number_of_params(model, params, kv_bytes):
    shape = shape_of(known_shape(model))
    assert (shape.params, shape.kv_bytes) == (params, kv_bytes)
    assert known_shape("org/another") is None


def test_there_are_two_settings_each_on_one_node_and_on_two():
    assert len(RECIPES) == 2 and len(COMMANDS) == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_a_recipe_resolves_and_fits(command, deepmath, capfd):
    assert main([*shlex.split(command), deepmath]) == 0
    said = capfd.readouterr().out
    nodes = 2 if "num_nodes=2" in command else 1
    assert f"scope, {8 * nodes} GPUs" in said
    assert "100 steps of 256 prompts x 8 samples = 204,800 responses from 1,024 problems" in said
    assert "rollout engines of 1 GPUs, with the student (asleep while it trains)" in said
    assert f"teacher, {4 * nodes} replicas of 1 GPUs" in said and f"node {nodes - 1}: " in said


def test_what_cannot_fit_is_refused_with_what_to_do(deepmath, capfd):
    assert main(["plan", "--config", str(RECIPES[0]), "--gpu-memory", "16", deepmath]) == 2
    error = capfd.readouterr().err
    assert "it does not fit: " in error and "the student's GPUs would hold" in error and "ds.zero_stage=3" in error


def test_a_dry_run_starts_and_leaves_nothing(tmp_path, capfd):
    assert main(["plan", "--config", "examples/cpu_tiny.yaml", f"runs={tmp_path}", "ray.address=nowhere:1"]) == 0
    assert "100 steps of 16 prompts x 8 samples" in capfd.readouterr().out and not list(tmp_path.iterdir())


def test_a_wrong_key_is_refused_in_a_dry_run_too(capsys):
    assert main(["plan", "--config", "examples/cpu_tiny.yaml", "openrlhf.actor.adam.lrr=1"]) == 2
    assert "unknown key openrlhf.actor.adam.lrr" in capsys.readouterr().err
