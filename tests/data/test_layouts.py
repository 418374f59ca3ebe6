"""Columns of known datasets are found without being named."""

import pytest

from scope_openrlhf.data.files import read
from scope_openrlhf.data.layouts import guess_columns, which_may_be
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


def test_data_without_such_columns_are_told_with_those_that_they_have_and_which_may_be_meant():
    rows = [{"Nummer": f"n{i}", "Frage": f"Wie viel ist {i}+1?", "Loesung": i + 1, "von": "mir"} for i in range(3)]
    with pytest.raises(ConfigError) as raised:
        guess_columns(rows, "f")
    assert str(raised.value) == (
        "no column of f has a name known for problems; its columns are Nummer, Frage, Loesung, von: name them with "
        "--prompt-key and --answer-key (problems may be in Frage or Nummer; gold answers may be in Loesung or Nummer "
        "or Frage)"
    )
    with pytest.raises(ConfigError, match="for gold answers; its columns are problem, b: name them with data.a and b"):
        guess_columns([{"problem": "1+1?", "b": "proof"}], "f", keys=("data.a", "b"))
    with pytest.raises(ConfigError, match="f holds no rows"):
        guess_columns([], "f")


def test_what_stands_inside_objects_may_be_meant_too():
    rows = [{"q": {"text": f"{i}+1?"}, "a": {"value": i}} for i in range(2)]
    assert which_may_be(rows) == " (problems may be in q.text; gold answers may be in a.value or q.text)"
    assert which_may_be([{"x": None}]) == ""
