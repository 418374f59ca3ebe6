"""A run that has begun: what may change in it, what is refused by name, and what is put aside."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import get_type_hints

import pytest
import yaml

from scope_openrlhf.host.schedule import rate_share
from scope_openrlhf.run import changes, folder
from scope_openrlhf.run.plan import make_plan, schedule_notes
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError


def config(runs: Path, *overrides: str) -> Config:
    return Config.load("examples/cpu_tiny.yaml", [f"runs={runs}", "name=r", "steps=3", *overrides])


def begun(runs: Path, steps: int = 3, checkpoint: int = 2, finished: bool = True) -> Path:
    """A run of so many steps, with its plan, rows, a checkpoint's name and what an evaluation leaves."""
    (runs / "r").mkdir()
    make_plan(config(runs))
    run = runs / "r"
    (run / "metrics.jsonl").write_text("".join(json.dumps({"step": n + 1}) + "\n" for n in range(steps)))
    if checkpoint:
        (run / "checkpoints" / "_actor").mkdir(parents=True)
        (run / "checkpoints" / "_actor" / "latest").write_text(f"global_step{checkpoint}")
    if finished:
        for name in ("model", "eval/before", "eval/after"):
            (run / name).mkdir(parents=True)
        for name in ("model/.whole", "eval/pair.json", "summary.json"):
            (run / name).write_text("{}")
    return run


def keys(cls: type, prefix: str = "") -> list[str]:
    """Every key of a section, with dots."""
    hints = get_type_hints(cls)
    found = []
    for f in fields(cls):
        key = prefix + f.name.rstrip("_")
        found += keys(hints[f.name], f"{key}.") if is_dataclass(hints[f.name]) else [key]
    return found


def begins_with(key: str, entry: str) -> bool:
    return key == entry or key.startswith(f"{entry}.")


def test_every_key_of_a_config_is_decided_and_every_entry_is_a_key():
    entries, known = {**changes.MAY_CHANGE, **changes.DECIDES_STEPS}, keys(Config)
    assert [k for k in known if k != "teachers" and not any(begins_with(k, entry) for entry in entries)] == []
    ours = [entry for entry in entries if not entry.startswith("openrlhf.")]
    assert [entry for entry in ours if not any(begins_with(k, entry) for k in known)] == []


@pytest.mark.parametrize(
    "key, free",
    [
        ("steps", True),
        ("seed", False),
        ("openrlhf.ckpt.save_steps", True),
        ("openrlhf.actor.adam.lr", False),
        ("teachers.math.urls", True),
        ("teachers.math.path", False),
        ("teacher.dtype", False),
        ("algorithm.tau", False),
        ("algorithms.cepo.hint", True),
        ("data.system", False),
        ("data.path", True),
        ("no.such.key", False),
    ],
)
def test_a_key_may_change_if_no_step_depends_on_it(key, free):
    assert changes.may_change(key) is free


def test_what_decides_the_past_is_named_with_old_and_new_value_and_what_to_do(tmp_path):
    begun(tmp_path)
    with pytest.raises(ConfigError) as refused:
        folder.open_run(config(tmp_path, "algorithm.tau=2", "openrlhf.actor.adam.lr=1e-3", "ray.restarts=9"))
    said = str(refused.value)
    assert "algorithm.tau: 1.0 -> 2, openrlhf.actor.adam.lr: 2e-4 -> 1e-3, and its 3 steps" in said
    assert f"choose another name=..., start one from it with from={tmp_path}/r@step2, or --fresh" in said
    assert "restarts" not in said


def test_more_steps_go_on_and_the_evaluation_of_the_shorter_run_is_put_aside(tmp_path, capsys):
    run = begun(tmp_path)
    short = (run / "prompts.jsonl").read_text()
    longer = config(tmp_path, "steps=5", "openrlhf.ckpt.save_steps=1")
    assert folder.open_run(longer) is False
    make_plan(longer)
    assert (run / "prompts.jsonl").read_text().startswith(short)
    assert yaml.safe_load((run / "config.yaml").read_text())["steps"] == 5
    (row,) = [json.loads(line) for line in (run / "changes.jsonl").read_text().splitlines()]
    assert row["step"] == 3 and row["changes"] == {"steps": [3, 5], "openrlhf.ckpt.save_steps": [25, 1]}
    assert not (run / "model" / ".whole").exists() and not (run / "summary.json").exists()
    assert (run / "eval" / "before").exists() and not (run / "eval" / "after").exists()
    assert {p.name for p in (run / "eval" / "earlier" / "1-step3").iterdir()} == {"after", "pair.json"}


def test_fewer_steps_than_are_done_are_refused_and_so_are_more_without_a_checkpoint(tmp_path):
    begun(tmp_path, checkpoint=0)
    with pytest.raises(ConfigError, match="steps is 2, but .* has done 3; set it to 3 or more"):
        make_plan(config(tmp_path, "steps=2"))
    with pytest.raises(ConfigError, match="kept no checkpoint, so its 3 steps would be done again"):
        make_plan(config(tmp_path, "steps=4"))


def test_an_evaluation_of_other_settings_starts_anew_and_one_of_more_samples_goes_on(tmp_path):
    run = begun(tmp_path)
    more = config(tmp_path, "eval.samples=20")
    assert folder.open_run(more) is False
    make_plan(more)
    assert (run / "eval" / "after").exists() and (run / "model" / ".whole").exists()
    other = config(tmp_path, "eval.samples=20", "eval.temperature=0.9")
    make_plan(other)
    assert not (run / "eval" / "after").exists() and not (run / "eval" / "before").exists()


def test_an_evaluation_that_is_asked_for_no_more_keeps_its_scores(tmp_path, monkeypatch):
    run = begun(tmp_path)
    monkeypatch.setattr(folder, "summary_table", str)
    without = config(tmp_path, "eval.path=", "eval.samples=3")
    assert folder.open_run(without) is True
    make_plan(without)
    assert (run / "eval" / "after").exists() and (run / "summary.json").exists()


def test_what_changes_is_told_before_the_run_goes_on(tmp_path):
    begun(tmp_path)
    notes = make_plan(config(tmp_path, "steps=5", "openrlhf.ckpt.save_steps=1"), dry=True).notes
    assert notes[0] == "changed after 3 steps: openrlhf.ckpt.save_steps: 25 -> 1, steps: 3 -> 5"
    assert not any("changed after" in note for note in make_plan(config(tmp_path), dry=True).notes)


def test_a_mistyped_algorithm_is_no_reason_to_delete_a_run(tmp_path):
    begun(tmp_path)
    with pytest.raises(ConfigError, match="there is no algorithm 'gropo'; known: cepo, grpo"):
        folder.open_run(config(tmp_path, "algorithm=gropo"))


def test_a_done_run_is_still_done_where_only_its_machine_changed(tmp_path, monkeypatch):
    begun(tmp_path)
    monkeypatch.setattr(folder, "summary_table", str)
    assert folder.open_run(config(tmp_path, "ray.restarts=9", "openrlhf.logger.logging_steps=2")) is True


def flags(schedule: str) -> SimpleNamespace:
    """Of one optimiser step a step: 8 prompts, 2 rollouts of each, batches of 16."""
    return SimpleNamespace(
        rollout=SimpleNamespace(batch_size=8, n_samples_per_prompt=2),
        train=SimpleNamespace(batch_size=16, max_epochs=1),
        actor=SimpleNamespace(lr_scheduler=schedule, lr_warmup_ratio=0.0, min_lr_ratio=0.1),
    )


def test_a_schedule_over_more_steps_is_told_with_its_numbers(tmp_path):
    (tmp_path / "checkpoints" / "_actor").mkdir(parents=True)
    (tmp_path / "checkpoints" / "_actor" / "latest").write_text("global_step100")
    (tmp_path / "prompts.jsonl").write_text("{}\n" * 800)
    run = SimpleNamespace(run_dir=tmp_path)
    # half a cosine from 1 to 0.1: at its end, and in its middle
    assert rate_share(flags("cosine_with_min_lr"), 100, 100) == pytest.approx(0.1)
    assert rate_share(flags("cosine_with_min_lr"), 200, 100) == pytest.approx(0.55)
    (note,) = schedule_notes(run, flags("cosine_with_min_lr"), 200)
    assert "after step 100 actor.adam.lr counts 0.55, it would have counted 0.1" in note
    assert schedule_notes(run, flags("constant_with_warmup"), 200) == []
    assert schedule_notes(run, flags("cosine_with_min_lr"), 100) == []
