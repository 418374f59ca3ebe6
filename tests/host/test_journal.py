"""Rows of metrics.jsonl, whole or not there."""

import json
import math

from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.host.journal import StepLog, step_row

STATUS = {
    "timing/generation": 1.0,
    "timing/make_experience": 0.5,
    "timing/ppo_train": 2.0,
    "timing/broadcast": 0.25,
    "timing/teacher": 0.75,
    "timing/step_total": 9.0,
    "reward": 0.25,
    "generated_samples": ["x", 1],
    "right": 2.0,
    "wrong": 6.0,
    "dropped": 4.0,
    "actor_lr": 0.1,
    "ppl_student_right": math.nan,
    "ppl_teacher_wrong": 2.5,
    "reverse_kl": 0.5,
}


def test_a_row_keeps_seconds_by_stage_and_says_null_for_what_a_step_did_not_have():
    row = step_row(3, 10, STATUS)
    assert row["seconds"] == {
        "generate": 1.0,
        "experience": 0.5,
        "update": 2.0,
        "sync": 0.25,
        "teacher": 0.75,
        "total": 3.75,
    }
    assert row["reward"] == 0.25 and row["ppl_student_right"] is None and "generated_samples" not in row
    assert row["learning_rate"] == 0.1 and "actor_lr" not in row
    json.dumps(row, allow_nan=False)


def test_resuming_forgets_the_steps_after_the_checkpoint_and_a_torn_line(tmp_path):
    log = StepLog(tmp_path)
    for step in (1, 2, 3):
        log.step(step, 3, STATUS)
    with log.metrics_file.open("a") as file:
        file.write('{"step": 4, "of"')
    assert len(whole_rows(log.metrics_file)) == 3
    log.forget_after(2)
    assert [row["step"] for row in whole_rows(log.metrics_file)] == [1, 2]
