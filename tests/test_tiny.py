"""The embedded task and what is shipped of it."""

import json
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, "examples/tiny")
from task import STUDENT, Problem, draw_problem, write_trace

from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.verifier import verify


def test_a_problem_and_its_two_right_traces():
    p = Problem(59, (-2, -9, -6))
    assert (p.text, p.answer) == ("59-2-9-6?", "42")
    traces = {write_trace(p, random.Random(seed)) for seed in range(30)}
    assert traces == {r"59-2=57;57-9=48;48-6=42;\boxed{42}", r"59-6=53;53-9=44;44-2=42;\boxed{42}"}


def test_a_trace_goes_through_the_tokenizer_as_every_engine_loads_it():
    from transformers import AutoTokenizer

    for name in ("student", "teacher"):
        tokenizer = AutoTokenizer.from_pretrained(f"examples/tiny/{name}")
        trace = r"59-2=57;57-9=48;\boxed{48}"
        ids = tokenizer(trace, add_special_tokens=False)["input_ids"]
        assert len(ids) == 16 + 4 and tokenizer.decode(ids) == trace


def test_clean_traces_are_right_and_the_students_habits_are_mostly_wrong():
    rng = random.Random(1)
    problems = [draw_problem(rng, 5) for _ in range(400)]
    assert all(verify(p.answer, write_trace(p, rng)).right for p in problems)
    share = sum(verify(p.answer, write_trace(p, rng, STUDENT)).right for p in problems) / 400
    assert 0.1 < share < 0.4


def test_shipped_problems_have_right_traces_and_no_held_out_problem_is_trained_on():
    train, heldout = (whole_rows(Path(f"examples/tiny/{f}.jsonl")) for f in ("train", "heldout"))
    assert all(verify(row["answer"], row["expert_trace"]).right for row in train + heldout)
    assert len({row["problem"] for row in train + heldout}) == len(train) + len(heldout) == 3600
    assert [sum(row["stratum"] == s for row in heldout) for s in ("easy", "hard")] == [200, 200]


def test_the_shipped_problems_are_what_the_script_makes():
    from make import make_data

    for file, rows in zip(("train", "heldout"), make_data(2026, num_train=3200, num_heldout=200), strict=True):
        assert rows == whole_rows(Path(f"examples/tiny/{file}.jsonl"))


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_shipped_models_are_small_and_share_one_tokenizer(name):
    folder = Path(f"examples/tiny/{name}")
    assert sum(f.stat().st_size for f in folder.iterdir()) < 3_000_000
    assert (folder / "tokenizer.json").read_text() == Path("examples/tiny/student/tokenizer.json").read_text()
    assert json.loads((folder / "config.json").read_text())["model_type"] == "qwen2"
