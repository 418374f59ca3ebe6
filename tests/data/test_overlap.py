"""Problems that are there twice, or held out and in the data."""

import json

import pytest

from scope_openrlhf.data.overlap import normalised, overlap_notes
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import EvalConfig


def problems(*texts: str, **answers: str) -> list[Problem]:
    """Rows a, b, c ... answers: those that are not 2."""
    return [Problem(id=i, prompt=t, answer=answers.get(i, "2")) for i, t in zip("abcdefgh", texts, strict=False)]


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("Find $x + 1$ .", "find x+1", True),
        (r"\(\dfrac{1}{2}\)?", r"$\frac{1}{2}$", True),
        (r"Let $n$ be,\, say, $2\quad$", "let n be, say, 2", True),
        ("a  b\nc", "A b c.", True),
        ("3.5 apples", "35 apples", False),
        ("5! = 120", "5 = 120", False),
        ("3 - 5", "3 + 5", False),
        ("1 2", "12", False),
    ],
)
def test_what_makes_another_problem_of_a_text(one, other, same):
    assert (normalised(one) == normalised(other)) is same


def test_rows_that_repeat_a_problem_are_counted_and_other_answers_are_said():
    assert overlap_notes(problems("1+1?", "1+2?"), EvalConfig()) == ["problems: 2, none of them twice"]
    (note,) = overlap_notes(problems("1+1?", "1+2?", "1+1?", "1 + 1", "1+1?", d="3"), EvalConfig())
    assert note == (
        "duplicates: 3 of 5 rows repeat a problem (2 letter for letter, 1 but for case, spaces and punctuation), 1 "
        "problems are there more than once; row c is row a, row d is row a, row e is row a. 1 of them have another "
        "answer than the first time: row d is row a"
    )


def test_a_chat_repeats_the_text_that_its_user_says():
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]
    rows = [Problem(id="a", prompt="1+1?", answer="2"), Problem(id="b", prompt=chat, answer="2")]
    assert "1 of 2 rows repeat a problem" in overlap_notes(rows, EvalConfig())[0]


def test_held_out_problems_that_train_are_named_with_and_without_their_instruction(tmp_path):
    file = tmp_path / "held.jsonl"
    held = {"h": "1+1?", "i": "1 + 2?", "j": [{"role": "user", "content": "1+3?"}], "k": "9+9?"}
    file.write_text("".join(json.dumps({"id": i, "problem": p, "answer": "1"}) + "\n" for i, p in held.items()))
    config, called = EvalConfig(path=str(file), instruction="Think."), f"eval.path {file}"
    _, note = overlap_notes(problems("1+1?", "1+2?", "1+3?\n\nThink."), config)
    assert note.startswith(
        f"warning: 3 of 4 held-out problems of {called} are in the data (2 letter for letter, 1 but for case, spaces "
        "and punctuation): h is row a, j is row c, i is row b; remove them"
    )
    assert overlap_notes(problems("5+5?"), config)[1] == f"held out: none of the 4 problems of {called} is in the data"
    file.write_text('{"id": "h", "problem": 7, "answer": "1"}\n')
    with pytest.raises(
        ConfigError, match=r"eval.path .*held.jsonl, row 0 \(counted from 0\): its problem cannot be asked: it is 7"
    ):
        overlap_notes(problems("1+1?"), config)
