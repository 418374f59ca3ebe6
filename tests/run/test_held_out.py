"""Held-out problems that an evaluation would refuse are told before training."""

import json
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from scope_eval.benchmarks import dataset, task_of
from scope_openrlhf.run.held_out import read_held_out
from scope_openrlhf.run.plan import make_plan
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError


def config(tmp_path: Path, *rows: dict, overrides: tuple[str, ...] = ()) -> Config:
    file = tmp_path / "held.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Config.load("examples/cpu_tiny.yaml", [f"runs={tmp_path}", "name=r", f"eval.path={file}", *overrides])


def test_columns_are_mapped_in_the_evaluation_as_in_training(tmp_path):
    rows = [{"question": "1+1?", "answer": "1+1=2\n#### 2"}, {"question": "1+2?", "answer": "#### 3"}]
    mapped = config(tmp_path, *rows, overrides=("eval.prompt_key=question",))
    assert [(r["id"], r["problem"], r["answer"]) for r in read_held_out(mapped.eval)] == [
        ("0", "1+1?", "2"),
        ("1", "1+2?", "3"),
    ]
    notes = make_plan(mapped, dry=True).notes
    assert f"held out: none of the 2 problems of eval.path {mapped.eval.path} is in the data" in notes


@pytest.mark.parametrize("ending", [".json", ".parquet", ".csv"])
def test_a_held_out_file_may_have_every_form_of_the_training_data(tmp_path, ending):
    file = tmp_path / f"held{ending}"
    table = pyarrow.table({"id": ["a", "b"], "problem": ["1+1?", "1+2?"], "answer": ["2", "3"]})
    if ending == ".json":
        file.write_text(json.dumps(table.to_pylist()))
    elif ending == ".parquet":
        pyarrow.parquet.write_table(table, file)
    else:
        pyarrow.csv.write_csv(table, file)
    asked = Config.load("examples/cpu_tiny.yaml", [f"eval.path={file}"]).eval
    rows = [("a", "1+1?", "2"), ("b", "1+2?", "3")]
    assert [(r["id"], r["problem"], r["answer"]) for r in read_held_out(asked)] == rows
    scored = dataset(**task_of(str(file))[1]["dataset_kwargs"])["test"]
    assert [(r["id"], r["problem"], r["answer"]) for r in scored] == rows


def test_a_held_out_file_of_another_form_is_refused_by_its_ending(tmp_path):
    (tmp_path / "held.xlsx").write_text("")
    asked = Config.load("examples/cpu_tiny.yaml", [f"eval.path={tmp_path / 'held.xlsx'}"]).eval
    with pytest.raises(ConfigError, match="held.xlsx is none of .jsonl, .json, .parquet, .csv"):
        read_held_out(asked)


LONG = {"id": "long", "problem": "+".join("1" * 40) + "=", "answer": "40"}


@pytest.mark.parametrize(
    "row, overrides, message",
    [
        ({"problem": "1+1?"}, (), r"row 0 \(counted from 0\): answer is missing"),
        (
            {"question": "1+1?", "answer": "2"},
            (),
            "problem is missing.*columns are question, answer; .*eval.prompt_key",
        ),
        (LONG, (), r"long has \d+ tokens, which with eval.max_tokens 96 .* the 128 positions .*eval.max_tokens to \d+"),
        (LONG | {"problem": "+".join("1" * 99)}, (), "problem long has .*; remove such problems"),
        (LONG | {"problem": "1+1="}, ("eval.max_tokens=4096",), "eval.max_tokens 4096 is more than the 128 positions"),
        (LONG, ("eval.samples=0",), "eval.samples must be at least 1, got 0"),
        (LONG, ("eval.temperature=-1",), "eval.temperature must be at least 0, got -1.0"),
    ],
)
def test_a_held_out_problem_that_would_fail_later_is_told_before_anything_starts(tmp_path, row, overrides, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(config(tmp_path, row, overrides=overrides))
    assert not (tmp_path / "r").exists()
