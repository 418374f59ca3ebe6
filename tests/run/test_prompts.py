"""The prompts of a run as its plan renders them, and what it says of them."""

import json
from datetime import datetime
from pathlib import Path

import chats
import pytest
from transformers.utils import chat_template_utils

from scope_openrlhf.run.plan import Plan, make_plan
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.resolved import RUN_VARIABLE, Run


def plan(folder: Path, *overrides: str, rows: list | None = None) -> Plan:
    """Plan of a run in folder. rows: prompts of its data instead of the tiny ones."""
    data = []
    if rows is not None:
        lines = (json.dumps({"id": f"t{n}", "problem": p, "answer": "2"}) for n, p in enumerate(rows))
        (folder / "data.jsonl").write_text("".join(f"{line}\n" for line in lines))
        data = [f"data.path={folder}/data.jsonl", "eval.path="]
    small = ["openrlhf.rollout.batch_size=4", "openrlhf.rollout.n_samples_per_prompt=4", "openrlhf.train.batch_size=16",
             "openrlhf.rollout.micro_batch_size=16", "openrlhf.train.micro_batch_size=16"]  # fmt: skip
    (folder / "r").mkdir(exist_ok=True)
    where = [f"runs={folder}", "name=r", "steps=1", *small, *data]
    return make_plan(Config.load("examples/cpu_tiny.yaml", [*where, *overrides]))


def rendered(plan: Plan) -> list[str]:
    """What OpenRLHF reads as prompts."""
    lines = (plan.run.run_dir / "prompts.jsonl").read_text().splitlines()
    return [json.loads(line)["prompt"] for line in lines]


def models(folder: Path, template: str) -> list[str]:
    """Overrides that name student and teacher under one of the templates."""
    teacher = chats.model(folder / "teacher", template, Path("examples/tiny/teacher"))
    return [f"student.path={chats.model(folder / 'student', template)}", f"teacher.path={teacher}"]


def test_system_prompt_and_template_arguments_are_in_the_prompts_that_openrlhf_gets(tmp_path, monkeypatch):
    own = [{"role": "system", "content": "7"}, {"role": "user", "content": "4+4?"}]
    rows = ["1+1?", [{"from": "human", "value": "2+2?"}], {"role": "user", "content": "3+3?"}, own]
    given = ["data.system='5'", "student.template_args.enable_thinking=false"]
    made = plan(tmp_path, *models(tmp_path, "thinks"), *given, rows=rows)
    assert sorted(rendered(made)) == [
        "<|system|>5<|user|>1+1?<|assistant|><think></think>",
        "<|system|>5<|user|>2+2?<|assistant|><think></think>",
        "<|system|>5<|user|>3+3?<|assistant|><think></think>",
        "<|system|>7<|user|>4+4?<|assistant|><think></think>",
    ]
    assert not made.args.data.apply_chat_template  # nothing is rendered twice
    monkeypatch.setenv(RUN_VARIABLE, made.run.to_json())
    assert Run.of_this_worker().student == made.run.student  # hints are rendered with the same arguments
    assert "1 of 4 problems bring a system prompt of their own and do not get data.system" in made.notes


def test_a_run_that_goes_on_another_day_has_the_prompts_of_the_first(tmp_path, monkeypatch):
    dated = models(tmp_path, "dates")
    first = plan(tmp_path, *dated)
    assert any("prints today's date; it is given 2024-07-26 (student.template_date)" in note for note in first.notes)
    before = rendered(first)
    assert before[0].startswith("Today: 26 Jul 2024;<|user|>")
    (first.run.run_dir / "metrics.jsonl").write_text('{"step": 1}\n')

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2030, 1, 2)

    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    assert rendered(plan(tmp_path, *dated)) == before
    template = tmp_path / "student" / "chat_template.jinja"
    template.write_text(template.read_text().replace("Today", "Heute"))
    with pytest.raises(ConfigError, match=r"the problems in .*, or the chat template of .*student, have changed since"):
        plan(tmp_path, *dated, "teacher.accept=[template]")


@pytest.mark.parametrize(
    "template, rows, overrides, message",
    [
        ("refuses", ["1+1?", [{"role": "system", "content": "5"}, {"role": "user", "content": "2+2?"}]], [],
         r"data.path .*data.jsonl, row t1: the chat template refuses it \(System role not supported\); repair its "
         r"'problem' \(data.prompt_key\)"),
        ("ignores", ["1+1?", [{"role": "system", "content": "5"}, {"role": "user", "content": "2+2?"}]], [],
         "row t1: the chat template leaves out the system message '5'"),
        ("refuses", ["1+1?"], ["data.system='5'"], "data.system cannot be given"),
        ("thinks", ["1+1?"], ["student.template_args.enable_thinkin=false"], "did you mean enable_thinking"),
        ("dates", ["1+1?"], ["student.template_date=soon"], "student.template_date must be a date like 2024-07-26"),
    ],
)  # fmt: skip
def test_what_the_template_does_not_take_is_told_with_file_row_and_key(tmp_path, template, rows, overrides, message):
    with pytest.raises(ConfigError, match=message):
        plan(tmp_path, *models(tmp_path, template), *overrides, rows=rows)


def test_repeats_held_out_problems_and_the_longest_prompts_are_said(tmp_path):
    notes = plan(tmp_path, rows=["1+1?", "1 + 1 ?", "12+34?", "1+2?"]).notes
    assert any(
        note.startswith("duplicates: 1 of 4 rows repeat a problem (0 letter for letter, 1 but") for note in notes
    )
    held = json.loads(Path("examples/tiny/heldout.jsonl").read_text().splitlines()[0])
    notes = plan(
        tmp_path, "eval.path=examples/tiny/heldout.jsonl", rows=[held["problem"], "1+1?", "1+2?", "1+3?"]
    ).notes
    assert any("warning: 1 of 400 held-out problems" in n and f"{held['id']} is row t0" in n for n in notes)
    assert any("the longest: row t0" in n and "data.max_len 127 is for prompt and response" in n for n in notes)


def test_a_date_that_yaml_reads_as_one_is_the_text():
    config = Config.load("examples/cpu_tiny.yaml", ["student.template_date=2030-01-02"])
    assert config.student.template_date == "2030-01-02"
