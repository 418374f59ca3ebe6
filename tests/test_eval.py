"""The harness on the real engine: lm-eval, vLLM and the verifier score the two shipped models as their card says."""

import json
from pathlib import Path

import pytest

from scope_eval import run
from scope_eval.grade import failed_share, process_results


def test_every_task_file_is_found_by_lm_eval():
    """lm-eval skips a YAML that fails to load at debug level, so ask for each."""
    from lm_eval.tasks import TaskManager

    names = {f.stem for f in Path("eval/tasks").glob("*.yaml")}
    assert names and names <= set(TaskManager(include_path="eval/tasks").all_tasks)


def test_a_problem_is_scored_by_the_share_of_its_samples_that_are_right():
    graded = process_results({"answer": "42"}, [[r"\boxed{42}", r"\boxed{41}", "42", r"\boxed{42}"]])
    assert graded == {"avg": 0.5, "pass": 1.0, "verdicts": ["right", "wrong", "wrong", "right"]}
    assert failed_share([["right", "failed"], ["wrong", "wrong"]]) == 0.25


def test_the_shipped_models_score_what_their_card_says(tmp_path):
    card = json.loads(Path("examples/tiny/card.json").read_text())
    code = run.main(["pair", "--before", "examples/tiny/student", "--after", "examples/tiny/teacher", "--data", "examples/tiny/heldout.jsonl",
                     "--samples", str(card["samples"]), "--out", str(tmp_path)])  # fmt: skip
    assert code == 0
    pair = json.loads((tmp_path / "pair.json").read_text())
    for side, model in (("before", "student"), ("after", "teacher")):
        # seeded: only rounding differs between machines, and it flips few samples
        assert pair[side]["avg"] == pytest.approx(card[model]["avg"], abs=2 * pair[side]["stderr_avg"])
    assert pair["difference"]["avg"] > 0.5
    rows = [json.loads(line) for line in (tmp_path / "samples_after.jsonl").read_text().splitlines()]
    assert len(rows) == 400 * card["samples"] and {r["finish_reason"] for r in rows} <= {"stop", "length"}
    assert len({r["seed"] for r in rows}) == len(rows)


@pytest.mark.parametrize(
    "arguments, message", [(["--model", "./nowhere"], "no nowhere/config.json"), (["--data", "none.jsonl"], "no none.jsonl")]
)
def test_a_missing_model_or_data_file_is_an_error(capsys, tmp_path, arguments, message):
    base = {"--model": "examples/tiny/student", "--data": "examples/tiny/heldout.jsonl", "--out": str(tmp_path)}
    base |= dict([arguments])
    assert run.main(["run", *(x for pair in base.items() for x in pair)]) == 2
    assert message in capsys.readouterr().err
