import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import resolved

from scope_openrlhf.equations.vocabulary import reading_gib
from scope_openrlhf.models.shape import Shape, known_shape, shape_of
from scope_openrlhf.platform.rates import Gpu
from scope_openrlhf.run.cli import main
from scope_openrlhf.run.dry_run import where
from scope_openrlhf.run.gpu_memory import (
    ASLEEP_GIB,
    ENGINE_GIB,
    GIB,
    TRAINER_GIB,
    Engine,
    dealt,
    engine_room,
    moments,
    sharing,
    student_gib,
    student_moments,
    worst,
)  # fmt: skip
from scope_openrlhf.run.step_seconds import Scorer, Step, decode, seconds_of, whole

RECIPES = sorted(Path("examples").glob("scope_*.yaml"))
COMMANDS = [c for file in RECIPES for c in re.findall(r"^#\s+scope-train (plan .*)$", file.read_text(), re.M)]
TEN = Shape(params=GIB, layers=10, hidden=1024, vocab=102_400, kv_bytes=2**20, maps=2**29, ends=2**20, tensors=100)
"""2**30 params, so that two bytes of each are 2 GiB; half of them in linear maps."""


def args(stage: int = 2, **changes) -> SimpleNamespace:
    a = SimpleNamespace(
        actor=SimpleNamespace(num_nodes=1, num_gpus_per_node=4, gradient_checkpointing_enable=True),
        ds=SimpleNamespace(
            zero_stage=stage,
            ring_attn_size=1,
            tensor_parallel_size=1,
            adam_offload=False,
            enable_sleep=True,
            lora=SimpleNamespace(rank=0),
        ),
        train=SimpleNamespace(
            dynamic_batch_enable=False, micro_batch_size=2, max_tokens_per_gpu=None, enable_ema=False
        ),
        rollout=SimpleNamespace(micro_batch_size=1, max_tokens_per_gpu=None),
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


def test_with_lora_the_adapters_alone_have_gradients_and_an_optimiser():
    a = args(3)
    a.ds.lora.rank = 64
    # 64 x 2**20 params of adapters are 1/16 of the model's
    parts = student_gib(TEN, a)
    assert (parts["params"], parts["gradients"], parts["optimiser"]) == (2.125 / 4, 0.125 / 4, 0.75 / 4)
    assert parts["logits"] < student_gib(TEN, args())["logits"]  # the head is frozen


def test_a_moving_average_of_the_params_stays_whole_on_every_rank():
    a = args(train__enable_ema=True)
    assert student_gib(TEN, a)["moving average"] == 2
    assert student_moments(TEN, a)["sleeps"] == 2 + 2 + ASLEEP_GIB


def test_a_rank_that_sleeps_keeps_its_params_and_one_whose_adam_is_elsewhere_keeps_all():
    awake = 2 + 0.5 + 3 + TRAINER_GIB
    found = student_moments(TEN, args())
    assert (found["loads"], found["sleeps"]) == (awake, 2 + ASLEEP_GIB)
    # one row of 512 tokens, one layer of it at a time; a chunk of logits, and the hidden states
    reads = found["reads"] - 2 - TRAINER_GIB
    assert reads == pytest.approx(34 * 2**19 / GIB + reading_gib(TEN, 512, 2, frozen=True))
    assert student_moments(TEN, args(ds__enable_sleep=False))["sleeps"] == awake
    assert student_moments(TEN, args(ds__adam_offload=True))["sleeps"] == 2 + 0.5 + TRAINER_GIB


def test_what_sleeps_counts_as_its_residue_while_the_next_one_starts():
    """A GPU of 24: teacher 10, rollout engine 8, student 9 of which 4 stay while rollouts are drawn."""
    student = {"loads": 6.0, "sleeps": 4.0, "reads": 5.0, "trains": 9.0}
    found = moments([Engine("teacher", 10.0, sleeps=True), Engine("rollout engine", 8.0, sleeps=True)], student)
    assert {moment: sum(held.values()) for moment, held in found.items()} == {
        "teacher starts": 10, "rollout engine starts": 1 + 8, "student loads": 1 + 1 + 6, "generation": 10 + 8 + 4,
        "student's log-probs": 1 + 1 + 5, "training": 1 + 1 + 9,
    }  # fmt: skip
    assert worst(found) == "generation"
    awake = moments([Engine("teacher", 10.0, sleeps=False), Engine("rollout engine", 8.0, sleeps=False)], student)
    assert sum(awake["training"].values()) == 27 and worst(awake) == "training"
    assert list(moments([Engine("teacher", 10.0, sleeps=False)])) == ["teacher starts"]


def test_replicas_are_dealt_over_the_students_gpus_and_packed_onto_those_of_teachers():
    a = resolved.teacher(name="a", placement="colocate", replicas=3)
    b = resolved.teacher(name="b", placement="colocate", replicas=2)
    assert dealt([a, b], 4) == [{"a": 1, "b": 1}, {"a": 1}, {"a": 1}, {"b": 1}]
    half = resolved.teacher(name="half", gpu_fraction=0.5, replicas=3)
    two = resolved.teacher(name="two", tensor_parallel_size=2)
    assert sharing([half, two, a]) == [{"two": 1}, {"half": 2}, {"half": 1}]


GPU = Gpu(flops=1e15, bandwidth=2e12, gib=80)


def step(**changes) -> Step:
    """A hundred rollouts of 900 + 100 tokens."""
    values = dict(student=TEN, ranks=2, engines=2, room_gib=1000.0, prompts=10, group=10, prompt=100, response=900,
                  longest=1000)  # fmt: skip
    return Step(**values | changes)


def test_the_seconds_of_a_step_by_hand():
    """Each engine has 50 rollouts at once.

    A decode step reads 2 GiB and 50 caches of 550 MiB, at half of 2e12 bytes/s.
    """
    token = (2 * GIB + 50 * 550 * 2**20) / 1e12
    assert decode(step(), GPU) == pytest.approx(900 * token)
    parts = seconds_of(step(scorers=(Scorer(TEN, gpus=4, tokens=50_000),)), GPU)
    assert parts["generate"] == pytest.approx(900 * token)
    assert parts["teacher"] == pytest.approx(50_000 * 2 * GIB / (0.3e15 * 4))
    assert parts["log-probs"] == pytest.approx(100_000 * 2 * GIB / (0.3e15 * 2))
    assert parts["update"] == pytest.approx(100_000 * 8 * GIB / (0.4e15 * 2))
    assert parts["sync"] == pytest.approx(100 * 2 * (0.7e-3 + 2 * 0.9e-5))
    beside = ("generate", "teacher", "collect")
    assert whole(parts) == pytest.approx(parts["generate"] + sum(v for k, v in parts.items() if k not in beside))


def test_a_teacher_hides_behind_generation_unless_it_shares_its_gpus_or_comes_after():
    alone = whole(seconds_of(step(), GPU))
    scoring = 50_000 * 2 * GIB / (0.3e15 * 2)
    own, shared, later = (Scorer(TEN, 2, 50_000, **kind) for kind in ({}, {"shared": True}, {"later": True}))
    assert whole(seconds_of(step(scorers=(own,)), GPU)) == pytest.approx(alone)
    for scorer in (shared, later):
        assert whole(seconds_of(step(scorers=(scorer,)), GPU)) == pytest.approx(alone + scoring)


def test_an_engine_has_its_share_less_its_params_for_the_cache():
    assert engine_room(TEN, 0.5, 1, 80.0) == pytest.approx(40 - 2 - 2)
    assert engine_room(TEN, 0.5, 2, 80.0) == pytest.approx(40 - 1 - 2)
    # 8 bits a param of the linear maps, 16 of the others
    assert engine_room(TEN, 0.5, 1, 80.0, "fp8") == pytest.approx(40 - 1.5 - ENGINE_GIB)


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
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008, 4 * 30 * 3 * 64),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120, 4 * 32 * 5 * 64),
    ],
)
def test_the_shapes_of_the_recipes_models_have_their_known_number_of_params(model, params, kv_bytes):
    shape = shape_of(known_shape(model))
    assert (shape.params, shape.kv_bytes) == (params, kv_bytes)
    assert known_shape("org/another") is None


def test_linear_maps_are_counted_without_the_head():
    """Of a layer of Qwen3-1.7B: q and o of 2048 x 2048, k and v of 2048 x 1024, three of 2048 x 6144."""
    shape = shape_of(known_shape("Qwen/Qwen3-1.7B"))
    assert shape.maps == 28 * (2 * 2048**2 + 2 * 2048 * 1024 + 3 * 2048 * 6144)
    assert shape.ends == 28 * (2 * 4096 + 2 * 3072 + 3 * 8192)


def test_there_are_two_settings_each_on_one_node_and_on_two_and_one_on_one_card():
    assert len(RECIPES) == 4 and sorted("num_nodes=2" in c for c in COMMANDS) == 4 * [False] + 2 * [True]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_a_recipe_resolves_and_fits_before_there_are_data(command, monkeypatch, tmp_path, capfd):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert main([*shlex.split(command), f"data.path={tmp_path}/d.parquet"]) == 0
    said = capfd.readouterr().out
    one, nodes = "gb.yaml" in command, 2 if "num_nodes=2" in command else 1
    gpus = 1 if one else 8 * nodes
    assert f"scope, {gpus} GPUs" in said
    prompts = 16 if "24gb" in command else 32 if one else 256
    assert f"100 steps of {prompts} prompts x 8 samples = {800 * prompts:,} responses" in said
    assert "of 1 GPU, with the student (asleep while it trains)" in said
    assert f"teacher, {gpus} replica" in said and (one or f"node {nodes - 1}: 0-7" in said)
    assert re.search(r"^  at worst +generation, [\d.]+ of \d+ GiB: teacher ", said, re.M)
    assert re.search(r"^  generation \d+ \(of it the teacher's scoring \d+\), .* = \d+ s; 100 steps: ", said, re.M)
    assert "no data yet: data.path" in said and "--fetch OWNER/NAME" in said


def test_without_data_the_steps_are_unknown_and_a_run_is_refused(tmp_path, capfd):
    command = ["--config", "examples/cpu_tiny.yaml", f"runs={tmp_path}", "data.path=none.parquet", "steps=0"]
    assert main(["plan", *command]) == 0
    assert "unknown number of steps of 16 prompts x 8 samples = 128 responses" in capfd.readouterr().out
    assert main(["run", *command]) == 2
    assert "data.path none.parquet does not exist; correct it, or fetch" in capfd.readouterr().err


def test_a_teacher_in_8_bits_is_planned_anywhere_and_refused_where_no_gpu_is(tmp_path, capfd):
    command = ["--config", "examples/cpu_tiny.yaml", f"runs={tmp_path}", "teacher.quantization=fp8"]
    assert main(["plan", *command]) == 0 and main(["run", *command]) == 2
    assert "teacher.quantization wants a GPU, and there is none; leave it out" in capfd.readouterr().err


def test_teachers_gpus_that_idle_are_told_with_what_would_do(deepmath, capfd):
    own = ["teacher.placement=pack", "teacher.replicas=4", "openrlhf.actor.num_gpus_per_node=4"]
    command = ["plan", "--config", "examples/scope_r1_1.5b.yaml", deepmath, *own, "openrlhf.vllm.num_engines=4"]
    assert main(command) == 0
    said = capfd.readouterr().out
    assert re.search(r"teacher's 4 GPUs: idle \d\d% of a step; 2 replicas would keep up with generation, or", said)
    assert "100 steps of 256 prompts x 8 samples = 204,800 responses from 1,024 problems" in said


def test_what_cannot_fit_is_refused_with_the_moment_and_what_to_do(deepmath, capfd):
    recipe = ["plan", "--config", "examples/scope_r1_1.5b.yaml", deepmath]
    assert main([*recipe, "teacher.gpu_memory_utilization=0.36", "openrlhf.ds.enable_sleep=false"]) == 2
    error = capfd.readouterr().err
    assert "it does not fit: " in error and "would hold" in error and "GiB when generation (teacher " in error
    assert "lower openrlhf.vllm.gpu_memory_utilization" in error
    assert main([*recipe, "algorithm=grpo", "--gpu", "4090", "openrlhf.train.max_tokens_per_gpu=131072"]) == 2
    error = capfd.readouterr().err
    assert "GiB when training (" in error and "ds.zero_stage=3" in error


def test_the_rates_of_another_gpu_are_others(deepmath, capfd):
    recipe = ["plan", "--config", "examples/scope_r1_1.5b.yaml", deepmath, "--gpu"]
    hours = []
    for gpu in ("h100", "a100"):
        assert main([*recipe, gpu]) == 0
        hours.append(float(re.search(r"100 steps: ([\d.]+) hours", capfd.readouterr().out).group(1)))
    assert hours[0] < hours[1]


def test_a_dry_run_starts_and_leaves_nothing(tmp_path, capfd):
    assert main(["plan", "--config", "examples/cpu_tiny.yaml", f"runs={tmp_path}", "ray.address=nowhere:1"]) == 0
    assert "100 steps of 16 prompts x 8 samples" in capfd.readouterr().out and not list(tmp_path.iterdir())


def test_a_wrong_key_is_refused_in_a_dry_run_too(capsys):
    assert main(["plan", "--config", "examples/cpu_tiny.yaml", "openrlhf.actor.adam.lrr=1"]) == 2
    assert "unknown key openrlhf.actor.adam.lrr" in capsys.readouterr().err
