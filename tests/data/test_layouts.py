"""Columns of known datasets are found without being named."""

import pytest

from scope_openrlhf.data.files import read
from scope_openrlhf.data.layouts import guess_columns
from scope_openrlhf.settings.errors import ConfigError

CHAT = [{"from": "human", "value": "1+1?"}]


@pytest.mark.parametrize(
    "file, columns",
    [
        ("tiny/train.jsonl", ("problem", "answer")),
        ("data/gsm8k.jsonl", ("question", "answer")),
        ("data/math.jsonl", ("problem", "solution")),
        ("data/deepmath.parquet", ("question", "final_answer")),
        ("data/verl.parquet", ("prompt", "reward_model.ground_truth")),
        ("data/dapo.parquet", ("prompt", "reward_model.ground_truth")),
    ],
)
def test_the_columns_of_a_known_dataset_are_guessed(file, columns):
    assert guess_columns(read(f"examples/{file}"), file) == columns


def test_a_chat_is_a_problem_and_what_is_given_stays():
    assert guess_columns([{"conversations": CHAT, "target": 2}], "f") == ("conversations", "target")
    assert guess_columns([{"problem": "1+1?", "hard": "1+2?", "answer": "2"}], "f", "hard") == ("hard", "answer")


def test_a_column_that_reads_in_more_rows_comes_first():
    rows = [{"question": "1+1?", "answer": "proof", "final_answer": "2"}] * 3
    assert guess_columns(rows, "f") == ("question", "final_answer")


def test_data_without_such_columns_are_told_with_those_that_they_have():
    with pytest.raises(
        ConfigError, match="no column of f reads as gold answers; its columns are problem, b: name them"
    ):
        guess_columns([{"problem": "1+1?", "b": 1}], "f")
    with pytest.raises(ConfigError, match="no column of f reads as problems; its columns are none"):
        guess_columns([], "f")
