"""The word problems of examples/cpu_real.yaml."""

import json
import sys
from pathlib import Path

import pytest

from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.settings.config import Config
from scope_openrlhf.verifier import verify

FOLDER = Path("examples/words")


@pytest.fixture
def make(monkeypatch):
    """The script that makes the problems."""
    monkeypatch.syspath_prepend(str(FOLDER))
    sys.modules.pop("make", None)  # examples/tiny has one too
    import make

    yield make
    sys.modules.pop("make")


def test_the_shipped_problems_are_what_the_script_makes_byte_for_byte(make):
    for name, rows in make.make_problems(2026, heldout=100, train=400).items():
        assert (FOLDER / f"{name}.jsonl").read_text() == "".join(json.dumps(row) + "\n" for row in rows)


def test_no_problem_is_there_twice_and_every_answer_is_a_whole_number_that_the_grader_takes():
    train, heldout = (whole_rows(FOLDER / f"{name}.jsonl") for name in ("train", "heldout"))
    rows = train + heldout
    assert (len(train), len(heldout)) == (400, 100) == (len({r["id"] for r in train}), len({r["id"] for r in heldout}))
    assert len({row["problem"][-1]["content"] for row in rows}) == 500
    assert all(
        int(row["answer"]) > 0 and verify(row["answer"], f"So \\boxed{{{row['answer']}}}.").right for row in rows
    )
    assert {row["stratum"] for row in heldout} == {"one step", "two steps"}


def test_the_turns_before_a_problem_are_solved_as_the_grader_wants_it(make):
    for row in whole_rows(FOLDER / "heldout.jsonl"):
        *solved, asked = row["problem"]
        assert [turn["role"] for turn in (*solved, asked)] == ["user", "assistant"] * 3 + ["user"]
        assert [
            verify(gold, turn["content"]).right for gold, turn in zip(["7", "18", "4"], solved[1::2], strict=True)
        ] == [True] * 3


def test_each_template_is_solved_right_for_numbers_that_one_can_check_by_hand(make):
    # a = 6, b = 2, c = 5: so sum is 8 and product 12
    answers = [template.answer(6, 2, 5) for template in make.TEMPLATES]
    assert answers == [8, 8, 6, 6, 2, 12, 12, 6, 2, 14, 11, 17, 17, 32, 11, 18, 11, 13]


def test_the_config_trains_the_small_model_of_a_family_by_the_next_one():
    config = Config.load(Path("examples/cpu_real.yaml"), [])
    assert config.student.path == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert config.teacher.path == "HuggingFaceTB/SmolLM2-360M-Instruct"
