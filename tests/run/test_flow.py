"""The whole chain on the real stack (slow): two steps on the tiny models.

Ray, OpenRLHF, DeepSpeed, two vLLM engines and lm-eval are the real ones.
"""

import contextlib
import json
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from commands import TINY_RUN
from transformers import AutoTokenizer

from scope_openrlhf import algorithms


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    command = [*TINY_RUN, f"runs={runs}", "name=r", "steps=2", "eval.samples=1", "openrlhf.ckpt.save_steps=2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    seen: dict[int, psutil.Process] = {}
    out, root = "", psutil.Process(process.pid)
    while process.poll() is None:
        seen |= {p.pid: p for p in root.children(recursive=True)} if root.is_running() else {}
        with contextlib.suppress(subprocess.TimeoutExpired):
            out += process.communicate(timeout=2)[0]
    assert process.returncode == 0, out[-3000:] + "\n" + (runs / "r" / "logs" / "driver.log").read_text()[-3000:]
    return runs / "r", out, command, seen


def rows(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def last_config(run: Path) -> dict:
    return yaml.safe_load((run / "config.yaml").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [
        *([f"algorithm={name}"] for name in algorithms.known()),
        ["algorithm.divergence=topk_forward", "algorithm.top_k=4", "algorithm.truncated=drop"],
        ["algorithm=opd", "algorithm.divergence=k2", "algorithm.truncated=mask_tail"],
        ["algorithm=sdpo", "algorithm.context_scorer=student", "algorithm.divergence=k2", "algorithm.top_k=0"],
        ["algorithm=cepo", "algorithm.context_scorer=teacher", "algorithm.no_wrong=grpo"],
        ["openrlhf.train.colocate_all=true", "teacher.placement=colocate", "teacher.replicas=2"],
    ],
    ids="-".join,
)
def test_every_algorithm_trains_on_the_real_stack(variant, tmp_path):
    overrides = [f"runs={tmp_path}", "name=r", "steps=2", "eval.path=", "openrlhf.rollout.max_new_tokens=40", *variant]
    done = subprocess.run([*TINY_RUN, *overrides], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    last = rows(tmp_path / "r" / "metrics.jsonl")[-1]
    assert last["grad_norm"] > 0 and last["truncated"] > 0
    assert last["entropy_" + ("policy" if "rollouts_policy" in last else "teacher")] > 0
    assert (last["dropped"] > 0) == ("algorithm.truncated=drop" in variant)
    algorithm = algorithms.load(**last_config(tmp_path / "r")["algorithm"])
    asks = algorithm.asks
    assert (last["teacher_tokens"] > 0) == asks.teacher and (last["context_tokens"] > 0) == bool(asks.contexts)
    if asks.traces and not asks.contexts:
        assert last["trace_hinted"] == 128 and last["trace_leaks"] == 0


@pytest.mark.slow
def test_in_their_limits_others_train_as_grpo_to_the_last_digit(tmp_path):
    rows_of = {}
    limits = (["grpo"], ["smepo", "algorithm.ratio=0"], ["rlsd", "algorithm.mix=0"], ["cepo", "algorithm.mix=0"])
    for name, *knobs in limits:
        overrides = [f"runs={tmp_path}", f"name={name}", "steps=3", "eval.path=", f"algorithm={name}", *knobs]
        done = subprocess.run([*TINY_RUN, *overrides], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        rows_of[name] = [
            {k: v for k, v in row.items() if k not in ("seconds", "mix")}
            for row in rows(tmp_path / name / "metrics.jsonl")
        ]
        assert rows_of[name] == rows_of["grpo"], name


@pytest.mark.slow
def test_each_problem_is_scored_by_the_teacher_that_it_names(tmp_path):
    problems = rows(Path("examples/tiny/train.jsonl"))[:32]
    (tmp_path / "data.jsonl").write_text(
        "".join(json.dumps(p | ({"teacher": "self"} if i % 2 else {})) + "\n" for i, p in enumerate(problems))
    )
    overrides = [f"runs={tmp_path}", "name=r", "steps=2", "eval.path=", f"data.path={tmp_path}/data.jsonl"]
    teachers = ["teachers.self.path=examples/tiny/student", f"teacher.score_log={tmp_path}/scores"]
    done = subprocess.run([*TINY_RUN, *overrides, *teachers], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    tokenizer = AutoTokenizer.from_pretrained("examples/tiny/teacher")
    named = {p["problem"]: "student" if i % 2 else "teacher" for i, p in enumerate(problems)}
    scored = Counter()
    for teacher, tokens in sqlite3.connect(tmp_path / "scores").execute("SELECT teacher, tokens FROM scores"):
        problem = tokenizer.decode(np.frombuffer(tokens, np.int32)).split("<|user|>")[1].split("<|assistant|>")[0]
        scored[name := Path(json.loads(teacher)["path"]).name] += 1
        assert named[problem] == name
    steps = rows(tmp_path / "r" / "metrics.jsonl")
    asked = [sum(step[f"teacher_asked_{name}"] for step in steps) for name in ("default", "self")]
    # at most: a sequence drawn twice is one score
    assert 0 < scored["teacher"] <= asked[0] and 0 < scored["student"] <= asked[1]


def test_it_writes_the_files_that_the_docs_list(finished):
    run, out, *_ = finished
    files = ("config.yaml", "metrics.jsonl", "rollouts.jsonl", "summary.json", "summary.png")
    for name in (*files, "model/model.safetensors", "model/config.json"):
        assert (run / name).stat().st_size > 0, name
    assert list((run / "tensorboard").rglob("events.*")) and (run / "checkpoints" / "_actor" / "latest").exists()
    assert "step    2/2" in out and "difference" in out and "Traceback" not in out


def test_only_wrong_rollouts_are_scored_and_every_number_is_there(finished):
    metrics = rows(finished[0] / "metrics.jsonl")
    assert [m["step"] for m in metrics] == [1, 2]
    for m in metrics:
        assert m["right"] + m["wrong"] == m["rollouts"] == 128
        assert m["teacher_scored"] == m["wrong"] and m["teacher_skipped"] == m["right"] and m["grader_failed"] == 0
        assert m["reward"] == pytest.approx(m["right"] / 128)
        assert m["ppl_student_right"] >= 1 and m["ppl_teacher_wrong"] >= 1 and m["reverse_kl"] > 0
        assert m["loss"] == pytest.approx(m["loss_student"] + m["loss_teacher"], rel=1e-4) and m["grad_norm"] > 0
        assert m["ppo_kl"] == pytest.approx(0, abs=1e-4)  # one optimiser step a batch: old and new policy are the same


def test_the_rollouts_it_keeps_are_verified_text(finished):
    for r in rows(finished[0] / "rollouts.jsonl"):
        assert r["prompt"].startswith("<|user|>") and "\\boxed{" in r["response"] and r["response"].endswith("<|end|>")
        assert r["route"] == ("right" if f"\\boxed{{{r['answer']}}}" in r["response"] else "wrong")


def test_the_summary_has_its_form(finished):
    s = json.loads((finished[0] / "summary.json").read_text())
    assert s["algorithm"] == "scope" and s["steps"] == 2 and set(s["seconds"]) == {"setup", "startup", "train", "eval"}
    e = s["eval"]
    assert (e["n"], e["k"]) == (400, 1)
    assert set(e["before"]) == set(e["after"]) == {"avg", "pass", "stderr_avg", "stderr_pass"}
    assert e["difference"]["avg"] == pytest.approx(e["after"]["avg"] - e["before"]["avg"])
    assert set(e["difference"]) == {"avg", "stderr", "ci", "pass", "stderr_pass", "pass_ci", "k"}
    assert s["rollouts"]["right"] + s["rollouts"]["wrong"] == 256 and s["teacher"]["scored"] == s["rollouts"]["wrong"]


def test_the_trained_model_loads_and_differs_from_the_student(finished):
    import torch
    from transformers import AutoModelForCausalLM

    after = AutoModelForCausalLM.from_pretrained(finished[0] / "model", dtype=torch.float32).state_dict()
    before = AutoModelForCausalLM.from_pretrained("examples/tiny/student", dtype=torch.float32).state_dict()
    assert before.keys() == after.keys()
    moved = max((after[k] - before[k]).abs().max().item() for k in before)
    assert 1e-5 < moved < 1e-2


def test_no_process_is_left(finished):
    gone, alive = psutil.wait_procs(list(finished[3].values()), timeout=20)
    assert len(gone) > 5 and not alive


def test_the_same_command_again_says_that_it_is_done(finished):
    run, _, command, _ = finished
    before = (run / "metrics.jsonl").read_text()
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0 and "is done. More steps=... go on from its last checkpoint" in again.stdout
    assert (run / "metrics.jsonl").read_text() == before
