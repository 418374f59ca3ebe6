"""Commands about runs that are there, and runs that start from a checkpoint of another one."""

import fcntl
import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from scope_openrlhf.files import checkpoint
from scope_openrlhf.host.schedule import set_learning_rate
from scope_openrlhf.run.cli import main
from scope_openrlhf.run.errors import RunError
from scope_openrlhf.run.folder import alone
from scope_openrlhf.run.fork import check_origin, fork
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError


def config(runs: Path, name: str, *overrides: str) -> Config:
    return Config.load("examples/cpu_tiny.yaml", [f"runs={runs}", f"name={name}", "steps=3", *overrides])


def a_run(runs: Path, name: str = "a", steps: int = 2, *overrides: str, done: bool = True) -> Path:
    """A run with a checkpoint of each step, in the form that DeepSpeed writes."""
    run = runs / name
    (run / "logs").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(config(runs, name, *overrides).to_dict()))
    rows = [{"step": n, "of": steps, "right": 3, "wrong": 1, "reverse_kl": n / 2} for n in range(1, steps + 1)]
    for file in ("metrics.jsonl", "rollouts.jsonl"):
        (run / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    params = AutoModelForCausalLM.from_pretrained("examples/tiny/student").state_dict()
    for step in range(1, steps + 1):
        part = checkpoint.begin(run / "checkpoints" / "_actor", f"global_step{step}")
        saved = {"module": {k: p + step for k, p in params.items()}, "mp_world_size": 1}
        torch.save(saved, part / "mp_rank_00_model_states.pt")
        checkpoint.commit(part, keep=9)
    if done:
        averages = {when: {"avg": avg} for when, avg in (("before", 0.25), ("after", 0.5))}
        (run / "summary.json").write_text(json.dumps({"eval": averages}))
    return run


def steps_of(run: Path) -> list[str]:
    return [folder.name for folder in checkpoint.by_step(run / "checkpoints" / "_actor")]


def test_each_run_has_a_line_with_its_state(tmp_path, capsys):
    a_run(tmp_path)
    a_run(tmp_path, "b", done=False)
    failing = a_run(tmp_path, "c", done=False)
    with pytest.raises(RunError), alone(failing):
        raise RunError("the disk is full\nsee logs")
    running = a_run(tmp_path, "d", done=False)
    with (running / "logs" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["runs", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    cells = {line.split()[0]: line.split() for line in said.splitlines()[1:5]}
    assert cells["a"][1:9] == ["scope", "student", "2/2", "done", "75%", "1.000", "25.0", "50.0"]
    assert [cells[name][4] for name in "bcd"] == ["stopped", "failed", "running"]
    assert "c failed: the disk is full" in said


def test_a_folder_without_runs_is_told(tmp_path, capsys):
    assert main(["runs", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_two_runs_are_shown_by_what_differs_and_by_their_last_common_step(tmp_path, capsys):
    a_run(tmp_path)
    a_run(tmp_path, "b", 3, "algorithm.tau=2", "seed=5")
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["algorithm.tau", "1.0", "2"] in lines and ["seed", "1", "5"] in lines
    assert ["step", "2", "a", "b"] in lines and ["reverse_kl", "1", "1"] in lines
    assert ["Avg", "after", "50.0", "50.0"] in lines and not any(line[:1] == ["name"] for line in lines)


def test_old_checkpoints_are_listed_first_and_deleted_only_when_asked(tmp_path, capsys):
    done, stopped = a_run(tmp_path, "a", 3), a_run(tmp_path, "b", 3, done=False)
    assert main(["clean", str(done), str(stopped)]) == 0
    assert "nothing was deleted: give --delete" in capsys.readouterr().out
    assert steps_of(done) == steps_of(stopped) == ["global_step1", "global_step2", "global_step3"]
    assert main(["clean", str(done), str(stopped), "--keep", "0", "--delete"]) == 0
    # a run that is not done keeps what it goes on from
    assert not (done / "checkpoints" / "_actor").exists() and steps_of(stopped) == ["global_step3"]
    assert capsys.readouterr().out.count("deleted") == 5


def test_a_checkpoint_becomes_a_model_with_its_params(tmp_path, capsys):
    run = a_run(tmp_path)
    assert main(["export", f"{run}@step1"]) == 0
    exported = load_file(run / "exports" / "step1" / "model.safetensors")
    student = load_file("examples/tiny/student/model.safetensors")
    assert all(torch.equal(exported[name], student[name] + 1) for name in exported)
    for words, message in (
        ([f"{run}@step1"], "is there already"),
        ([f"{run}@step7"], "has no checkpoint of step 7; it has @step1, @step2"),
        ([str(run)], "CHECKPOINT must be a run and one of its checkpoints"),
    ):
        assert main(["export", *words]) == 2
        assert message in capsys.readouterr().err


def test_an_export_of_a_run_that_there_is_not_leaves_nothing(tmp_path, capsys):
    assert main(["export", f"{tmp_path}/nowhere@step1"]) == 2
    assert "nowhere is no run" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_params_that_are_cut_over_ranks_are_not_exported(tmp_path, capsys):
    run = a_run(tmp_path, steps=1)
    part = checkpoint.begin(run / "checkpoints" / "_actor", "global_step2")
    torch.save({"module": {"w": torch.empty(0)}, "mp_world_size": 1}, part / "mp_rank_00_model_states.pt")
    checkpoint.commit(part, keep=9)
    assert main(["export", f"{run}@step2"]) == 2
    assert "are cut over its ranks" in capsys.readouterr().err


def test_a_fork_has_the_checkpoint_and_the_rows_up_to_it(tmp_path):
    origin = a_run(tmp_path, "a", 3)
    forked = config(tmp_path, "b", f"from={origin}@step2", "openrlhf.actor.adam.lr=1e-5", "algorithm.tau=2")
    (tmp_path / "b").mkdir()
    check_origin(forked)
    fork(forked, steps=3)
    assert steps_of(tmp_path / "b") == ["global_step2"]
    assert checkpoint.latest(tmp_path / "b" / "checkpoints") == "global_step2"
    assert not checkpoint.recover(tmp_path / "b" / "checkpoints")
    assert [json.loads(line)["step"] for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    file = "checkpoints/_actor/global_step2/mp_rank_00_model_states.pt"
    assert os.path.samefile(origin / file, tmp_path / "b" / file)
    assert not checkpoint.damage(origin / "checkpoints" / "_actor" / "global_step2")
    fork(forked, steps=1)  # it has begun: nothing is done any more


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["from=nowhere@step2"], "nowhere is no run"),
        (["from={}@step9"], "has no checkpoint of step 9; it has @step1, @step2"),
        (["from={}@step2", "openrlhf.ds.zero_stage=3"], r"another form; openrlhf.ds.zero_stage: 2 -> 3"),
        (["from={}@step2", "openrlhf.rollout.batch_size=8"], "rollout.batch_size: 16 -> 8.*scope-train export"),
    ],
)
def test_a_fork_that_cannot_be_is_refused_before_anything_starts(tmp_path, overrides, message):
    origin = a_run(tmp_path)
    with pytest.raises(ConfigError, match=message):
        check_origin(config(tmp_path, "b", *(text.format(origin) for text in overrides)))


def test_a_fork_needs_more_steps_than_it_has(tmp_path):
    with pytest.raises(ConfigError, match="steps is 2, but from=.* has done 2; set it to more"):
        fork(config(tmp_path, "b", f"from={a_run(tmp_path)}@step2"), steps=2)


def test_from_is_a_key_like_others(tmp_path):
    with pytest.raises(ConfigError, match="from must be a run and one of its checkpoints, as runs/a@step60; got 'a'"):
        config(tmp_path, "b", "from=a")
    values = config(tmp_path, "b", "from=runs/a@step60").to_dict()
    assert values["from"] == "runs/a@step60" and Config.from_dict(values).origin == (Path("runs/a"), 60)


def test_a_fork_takes_the_learning_rate_of_its_own_config():
    def scheduler(rate):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=rate)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))

    before, now = scheduler(0.4), scheduler(0.1)
    before.optimizer.step()
    before.step()
    now.load_state_dict(before.state_dict())
    now.optimizer.load_state_dict(before.optimizer.state_dict())
    assert now.optimizer.param_groups[0]["lr"] == 0.2  # of the checkpoint: half of 0.4 after one step
    set_learning_rate(now, 0.1)
    assert now.optimizer.param_groups[0]["lr"] == 0.05 and now.base_lrs == [0.1]
