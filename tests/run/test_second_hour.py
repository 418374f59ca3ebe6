"""A run that is extended and forked on the real stack (slow), and what each of the models then scores."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import TINY_RUN

from scope_openrlhf.files.disk import whole_rows


def numbers(run: Path) -> list[dict]:
    """Rows of metrics.jsonl without what a clock says."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "of")} for row in whole_rows(run / "metrics.jsonl")]


def go(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_a_run_is_extended_and_forked_and_each_is_evaluated(tmp_path):
    problems = Path("examples/tiny/heldout.jsonl").read_text().splitlines(keepends=True)[:8]
    (tmp_path / "heldout.jsonl").write_text("".join(problems))
    alike = [f"runs={tmp_path}", f"eval.path={tmp_path}/heldout.jsonl", "eval.samples=2", "openrlhf.ckpt.save_steps=1"]
    a, b = tmp_path / "a", tmp_path / "b"

    go(*TINY_RUN, *alike, "name=a", "steps=2")
    two = numbers(a)
    go(*TINY_RUN, *alike, "name=a", "steps=3")
    assert numbers(a)[:2] == two and [row["step"] for row in numbers(a)] == [1, 2, 3]
    change = whole_rows(a / "changes.jsonl")
    assert [(c["step"], c["changes"]) for c in change] == [(2, {"steps": [2, 3]})]
    assert (a / "eval" / "earlier" / "1-step2" / "after").is_dir()  # of the model of two steps

    go(*TINY_RUN, *alike, "name=b", "steps=3", f"from={a}@step2", "openrlhf.actor.adam.lr=1e-4")
    assert numbers(b)[:2] == two and numbers(b)[2]["learning_rate"] == pytest.approx(numbers(a)[2]["learning_rate"] / 2)
    assert numbers(b)[2]["reward"] == numbers(a)[2]["reward"]  # of the same rollouts by the same model
    params = [(run / "model" / "model.safetensors").read_bytes() for run in (a, b)]
    assert params[0] != params[1]

    for run in (a, b):
        summary = json.loads((run / "summary.json").read_text())
        assert summary["steps"] == 3 and summary["eval"]["n"] == 8
    scope_eval = [sys.executable, "-m", "scope_eval"]
    go(*scope_eval, "compare", str(a / "eval" / "after"), str(b / "eval" / "after"), "--out", str(tmp_path / "ab"))
    assert json.loads((tmp_path / "ab" / "compare.json").read_text())["benchmarks"]["heldout"]["n"] == 8
