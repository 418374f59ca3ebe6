"""Runs killed at any moment go on as if nothing had happened: the real stack, SIGKILL and SIGSTOP (slow)."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import safetensors.torch
import torch
from commands import TINY_RUN

pytestmark = pytest.mark.slow
TIMES = ("seconds", "teacher_hidden")


class Run:
    """A run of the embedded default in a process group of its own."""

    started: list["Run"] = []

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder, self.overrides = folder / "r", overrides
        self.started.append(self)
        self.start()

    def start(self) -> None:
        self.said = self.folder.parent / "said"
        overrides = [f"runs={self.folder.parent}", "name=r", "steps=20", "eval.path=", "openrlhf.ckpt.save_steps=3"]
        command = [*TINY_RUN, *overrides, *self.overrides]
        self.process = subprocess.Popen(
            command, stdout=self.said.open("a"), stderr=subprocess.STDOUT, start_new_session=True
        )

    def rows(self) -> list[dict]:
        file = self.folder / "metrics.jsonl"
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def stage(self) -> str:
        """Text of the newest stage file: what the run said last that it does."""
        return max((self.folder / "logs").glob("stage.*"), key=lambda f: f.stat().st_mtime).read_text()

    def until(self, step: int, stage: str = "") -> None:
        """Wait until so many steps are done and, where it is said, the next is in this stage."""
        deadline = time.time() + 400
        while len(self.rows()) < step or stage not in self.stage():
            assert self.process.poll() is None and time.time() < deadline, self.said.read_text()[-3000:]
            time.sleep(0.02)

    def parts(self, name: str) -> list[psutil.Process]:
        """Processes of the run's Ray whose title holds this name.

        An actor is ray::ScopeTrainer, or ray::PPOTrainer.fit while it works.
        """
        found = []
        for p in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if p.cmdline() and name in p.cmdline()[0]:
                    found.append(p)
        return found

    def kill_all(self) -> None:
        processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for p in processes:
            with contextlib.suppress(psutil.Error):
                p.send_signal(signal.SIGKILL)
        self.process.wait()

    def ends(self) -> list[dict]:
        assert self.process.wait(timeout=900) == 0, self.said.read_text()[-3000:]
        return self.rows()


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    for run in Run.started:
        if run.process.poll() is None:  # of a test that failed
            run.kill_all()


def numbers(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    return numbers(Run(tmp_path_factory.mktemp("uncut")).ends())


def test_cut_at_step_7_and_again_with_a_torn_checkpoint_it_equals_an_uncut_run(uncut, tmp_path):
    run = Run(tmp_path)
    run.until(7)
    run.kill_all()
    assert 7 <= len(run.rows()) < 12
    run.start()
    run.until(13)
    run.kill_all()
    newest = run.folder / "checkpoints" / "_actor" / (run.folder / "checkpoints" / "_actor" / "latest").read_text()
    shard = next(newest.glob("*optim_states.pt"))
    os.truncate(shard, shard.stat().st_size // 2)
    run.start()
    rows = run.ends()
    assert len(uncut) == 20 and numbers(rows) == uncut
    assert f"checkpoint {newest.name} is torn ({shard.name} has" in run.said.read_text()


@pytest.mark.parametrize(
    "flags",
    [("train.enable_ema=true", "train.ema_beta=0.5"), ("ds.lora.rank=4", "ds.lora.dropout=0.1", "actor.adam.lr=2e-3")],
    ids=["EMA", "LoRA"],
)
def test_what_a_mode_adds_to_the_params_survives_a_cut(flags, tmp_path):
    overrides = ["steps=4", "openrlhf.ckpt.save_steps=2", *(f"openrlhf.{flag}" for flag in flags)]
    models, rows = [], []
    for name in ("uncut", "cut"):
        (tmp_path / name).mkdir()
        run = Run(tmp_path / name, *overrides)
        if name == "cut":
            run.until(3)
            run.kill_all()
            run.start()
        rows.append(numbers(run.ends()))
        models.append(safetensors.torch.load_file(run.folder / "model" / "model.safetensors"))
    assert rows[0] == rows[1] and models[0].keys() == models[1].keys()
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_it_goes_on_by_itself_when_a_part_of_it_is_killed(uncut, tmp_path):
    run = Run(tmp_path)
    for step, part, stage in ((4, "RolloutRayActor", "generating"), (8, "Policy", "optimiser"), (12, "Trainer", "")):
        run.until(step, stage)
        (victim,) = run.parts(part)
        victim.send_signal(signal.SIGKILL)
    assert numbers(run.ends()) == uncut
    said = run.said.read_text()
    assert said.count("starting again from global_step") == 3 and said.count("training stopped: ") == 3


def test_a_killed_training_rank_and_a_hanging_engine_are_noticed(tmp_path):
    two_ranks = ("actor.num_gpus_per_node=2", "train.micro_batch_size=32", "rollout.micro_batch_size=64")
    run = Run(tmp_path, *(f"openrlhf.{flag}" for flag in two_ranks), "steps=8", "ray.hang_seconds=150")
    run.until(3)
    run.parts("Policy")[1].send_signal(signal.SIGKILL)
    while "starting again" not in run.said.read_text():
        run.until(3)
    run.until(4, "generating")
    (engine,) = run.parts("RolloutRayActor")
    engine.send_signal(signal.SIGSTOP)
    assert [row["step"] for row in run.ends()] == list(range(1, 9))
    assert run.said.read_text().count("starting again from global_step3") == 2
    assert "nothing has moved for 150 s (ray.hang_seconds); the run was at: generating rollouts" in run.said.read_text()
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE


def test_what_cannot_be_mended_stops_after_as_many_restarts_as_are_allowed(tmp_path):
    run = Run(tmp_path, "ray.restarts=0")
    run.until(1)
    run.parts("RolloutRayActor")[0].send_signal(signal.SIGKILL)
    assert run.process.wait(timeout=120) == 1
    last = run.said.read_text()
    assert "error: training stopped: " in last and "the same command resumes from the last checkpoint" in last
