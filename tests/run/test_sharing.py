"""A config that asks for more GPUs than there are, on the GPUs that there are."""

import json
import subprocess
from types import SimpleNamespace

import pytest
from commands import TINY_RUN

from scope_openrlhf.run.checks import check_placement
from scope_openrlhf.run.plan import make_plan
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import TeacherConfig


def plan(*overrides, gpus):
    config = Config.load("examples/cpu_tiny.yaml", [f"ray.num_gpus={gpus}", *overrides])
    return make_plan(config, dry=True)


@pytest.mark.parametrize(
    "gpus, wanted, colocated, placement, said",
    [
        (0, 3, False, "pack", ""),
        (8, 3, False, "pack", ""),
        (3, 3, False, "pack", ""),
        (2, 2, True, "pack", "there are 2: the student and its rollout engines take turns"),
        (1, 1, True, "colocate", "there are 1: the student, its rollout engines and the teacher take turns"),
    ],
)
def test_the_embedded_default_takes_the_gpus_that_there_are(gpus, wanted, colocated, placement, said):
    found = plan(gpus=gpus)
    assert found.gpus == wanted and found.args.train.colocate_all is colocated
    assert found.run.teachers[""].placement == placement
    assert any(said in note for note in found.notes)


def test_what_cannot_share_stays_as_it_is_written():
    for override in ("openrlhf.train.async_enable=true", "openrlhf.vllm.num_engines=2", "ray.share_gpus=false"):
        assert not plan(override, gpus=1).args.train.colocate_all


def test_a_teacher_that_scores_contexts_stays_awake_on_the_shared_gpu(monkeypatch):
    monkeypatch.setenv("SCOPE_CPU", "0")  # as on a machine with a GPU: nothing starts here
    assert plan(gpus=1).run.teachers[""].sleep
    opsd = plan("algorithm=opsd", gpus=1)
    assert opsd.args.vllm.enable_sleep and opsd.args.ds.enable_sleep
    assert opsd.run.teachers[""].placement == "colocate" and not opsd.run.teachers[""].sleep


def test_engines_that_would_take_more_than_a_gpu_are_refused():
    args = SimpleNamespace(
        actor=SimpleNamespace(num_nodes=1, num_gpus_per_node=2),
        train=SimpleNamespace(colocate_all=True, async_enable=False),
        vllm=SimpleNamespace(gpu_memory_utilization=0.5),
        data=SimpleNamespace(max_len=100),
    )
    beside = TeacherConfig(path="t", placement="colocate", gpu_memory_utilization=0.4, replicas=2)
    check_placement({"": beside}, args)
    args.actor.num_gpus_per_node = 1
    with pytest.raises(
        ConfigError, match=r"would take 1\.30 of its memory .* 0\.5 and 0\.8 of teachers; lower both to 0"
    ):
        check_placement({"": beside}, args)


@pytest.mark.slow
def test_the_embedded_default_trains_on_one_logical_gpu_as_on_three(tmp_path):
    settings = [f"runs={tmp_path}", "steps=2", "eval.path=", "ray.restarts=0"]
    for name, gpus in (("one", 1), ("three", 3)):
        command = [*TINY_RUN, *settings, f"name={name}", f"ray.num_gpus={gpus}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    one, three = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "three")
    )
    for ours, theirs in zip(one, three, strict=True):
        assert ours["right"] == theirs["right"] and ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
