"""The harness on the real engines: lm-eval, Ray, vLLM and the verifier find what the shipped models' card says."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scope_eval import cli
from scope_eval.evaluate import STORE
from scope_eval.store import Sample, Store

CARD = json.loads(Path("examples/tiny/card.json").read_text())
TINY = ["--model", "examples/tiny/student", "--benchmarks", "tiny"]


def evaluate(folder: Path, *arguments: str) -> dict:
    """results.json of a run of the tiny student."""
    assert cli.main(["run", *TINY, "--out", str(folder), *arguments]) == 0
    return json.loads((folder / "results.json").read_text())


def samples(folder: Path) -> dict[tuple, tuple]:
    """Everything but the engine that drew it."""
    with sqlite3.connect(folder / STORE) as db:
        return {
            (i, n): rest
            for i, n, *rest in db.execute("SELECT item, number, text, tokens, finish_reason, seed FROM samples")
        }


def test_the_shipped_models_score_what_their_card_says(ray_session, tmp_path):
    n = str(CARD["samples"])
    sides = ["--before", "examples/tiny/student", "--after", "examples/tiny/teacher"]
    assert cli.main(["pair", *sides, "--benchmarks", "tiny", "--samples", n, "--out", str(tmp_path)]) == 0
    pair = json.loads((tmp_path / "pair.json").read_text())
    for side, model in (("before", "student"), ("after", "teacher")):
        # seeded: only rounding differs between machines, and it flips few samples
        assert pair[side]["avg"] == pytest.approx(CARD[model]["avg"], abs=2 * pair[side]["stderr_avg"])
    assert pair["difference"]["avg"] > 0.5 and pair["p"] < 0.001 and set(pair["strata"]) == {"easy", "hard"}
    rows = samples(tmp_path / "after")
    assert len(rows) == 400 * CARD["samples"] and {r[2] for r in rows.values()} <= {"stop", "length"}
    assert len({r[3] for r in rows.values()}) == len(rows)
    # lm-eval's own aggregate is the same number
    own = json.loads((tmp_path / "before" / "lm_eval.json").read_text())["results"]["scope_tiny"]
    assert own["avg,all"] == pytest.approx(pair["before"]["avg"])
    assert cli.main(["compare", str(tmp_path / "before"), str(tmp_path / "after"), "--out", str(tmp_path / "c")]) == 0
    assert (
        json.loads((tmp_path / "c" / "compare.json").read_text())["benchmarks"]["tiny"]["difference"]
        == pair["difference"]
    )

    # regrading draws nothing, and a lost verdict comes back
    before = json.loads((tmp_path / "before" / "results.json").read_text())
    with sqlite3.connect(tmp_path / "before" / STORE) as db:
        db.execute("UPDATE grades SET verdict = 'failed'")
    assert cli.main(["regrade", str(tmp_path / "before")]) == 0
    assert json.loads((tmp_path / "before" / "results.json").read_text()) == before


def test_more_samples_are_added_to_those_that_are_there(ray_session, tmp_path, capsys):
    few = evaluate(tmp_path / "grown", "--samples", "1", "--limit", "20")
    first = samples(tmp_path / "grown")
    assert few["benchmarks"]["tiny"]["problems"] == 20 and len(first) == 20
    assert few["benchmarks"]["tiny"]["variance"] == {
        "between": None,
        "within": None,
    }  # one sample does not tell; strict JSON
    more = evaluate(tmp_path / "grown", "--samples", "3", "--limit", "30")
    assert {k: v for k, v in samples(tmp_path / "grown").items() if k in first} == first and len(
        samples(tmp_path / "grown")
    ) == 90
    assert more["benchmarks"]["tiny"]["samples"] == 3 and set(more["benchmarks"]["tiny"]["pass"]) == {"1", "2", "3"}
    instruction = r"Put {{it}} in \boxed{}. {% endraw %}"
    assert (
        cli.main(["run", *TINY, "--out", str(tmp_path / "grown"), "--instruction", instruction]) == 2
    )  # another prompt
    assert f"1+1?\n\n{instruction}<|assistant|>" in capsys.readouterr().err.replace("\\\\", "\\").replace("\\n", "\n")
    again = evaluate(tmp_path / "grown", "--samples", "1", "--limit", "20")  # the first ones alone, without an engine
    assert again == few


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model", "./nowhere"], "no nowhere/config.json"),
        (["--benchmarks", "none.jsonl"], "there is no .*none.jsonl"),
        (["--benchmarks", "aime24", "--data-dir", "/nowhere"], "there is no /nowhere/aime24.jsonl"),
        (["--benchmarks", "tiny,tiny"], "names tiny twice"),
        (["--benchmarks", ","], "--benchmarks names none"),
        (
            ["--max-tokens", "4096", "--limit", "1"],
            "need 41.. tokens, the model has 128 positions; set --max-tokens 1.. or less",
        ),
        (["--samples", "0"], "--samples must be at least 1, got 0"),
        (["--temperature", "-1"], "--temperature must be at least 0, got -1.0"),
        (["--template-args", '{"tokenize": true}'], "--template-args: the chat template of .* reads no tokenize"),
        (["--system", "Be brief."], "--system cannot be given: the chat template leaves out the system message"),
        (["--template-date", "today"], "--template-date must be a date like 2024-07-26, got 'today'"),
        (["--no-chat", "--template-args", '{"a": 1}'], "--template-args are for the chat template"),
        (
            ["--base-url", "http://127.0.0.1:9", "--limit", "1"],
            "--base-url http://127.0.0.1:9 gives no list",
        ),
    ],
)
def test_what_cannot_work_is_told_before_an_engine_starts(capsys, tmp_path, arguments, message):
    assert cli.main(["run", *TINY, "--out", str(tmp_path), *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / STORE).exists()


def test_a_folder_of_another_model_is_refused_and_intact(capsys, tmp_path):
    store = Store(tmp_path / STORE)
    store.add([(store.begin("tiny", {"files": "another"}, "d", {}, [], {}), Sample("a", 0, "", 0, "stop", 0, "0"))])
    store.close()
    assert cli.main(["run", *TINY, "--out", str(tmp_path)]) == 2
    assert "holds samples of tiny by the model files another" in capsys.readouterr().err
    assert cli.main(["regrade", str(tmp_path / "nowhere")]) == 2
    assert "holds no samples.sqlite" in capsys.readouterr().err


def test_the_lm_eval_command_runs_a_task(tmp_path):
    """Its own command and one of its own models; n, filter and grader are the task's."""
    which = ["--include_path", "eval/tasks", "--tasks", "scope_tiny", "--limit", "2"]
    model = ["--model", "hf", "--model_args", "pretrained=examples/tiny/student,dtype=float32", "--device", "cpu"]
    how = ["--batch_size", "64", "--apply_chat_template", "--output_path", str(tmp_path), "--log_samples"]
    command = [Path(sys.executable).with_name("lm_eval"), *which, *model, *how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | {"SCOPE_CPU": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = tmp_path.rglob("results_*.json")
    assert 0 <= json.loads(file.read_text())["results"]["scope_tiny"]["avg,all"] <= 1
    rows = [json.loads(line) for line in next(tmp_path.rglob("samples_*.jsonl")).read_text().splitlines()]
    assert [len(r["grades"]) for r in rows] == [32, 32]


@pytest.mark.slow
def test_one_engine_two_engines_and_a_run_killed_three_times_give_the_same_table(tmp_path):
    whole = evaluate(tmp_path / "whole", "--samples", "32")
    kept = -1
    for engines in (2, 1, 2):
        command = [
            sys.executable,
            "-m",
            "scope_eval",
            "run",
            *TINY,
            "--samples",
            "32",
            "--out",
            str(tmp_path / "cut"),
            "--engines",
            str(engines),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while process.poll() is None and count(tmp_path / "cut") < kept + 2000:
                time.sleep(0.2)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        before, kept = kept, count(tmp_path / "cut")
        assert before < kept < 12_800
    time.sleep(20)  # what a killed Ray leaves takes some seconds to end
    assert evaluate(tmp_path / "cut", "--samples", "32", "--engines", "2") == whole
    assert samples(tmp_path / "cut") == samples(tmp_path / "whole")


def count(folder: Path) -> int:
    try:
        with sqlite3.connect(f"file:{folder / STORE}?mode=ro", uri=True) as db:
            return db.execute("SELECT COUNT(*) FROM samples").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


@pytest.mark.slow
def test_an_engine_that_dies_loses_nothing_while_another_lives(ray_session, tmp_path):
    from scope_eval.backend import ScopeVLLM
    from scope_eval.engines import EngineGroup, Request, SamplingError

    lm = ScopeVLLM("examples/tiny/student", engines=2)
    group = EngineGroup(lm.settings(max_model_len=128))
    try:
        ids = lm.tokenizer(lm.apply_chat_template([{"role": "user", "content": "1+1?"}]), add_special_tokens=False)[
            "input_ids"
        ]
        params = {"temperature": 0.6, "max_tokens": 96, "min_tokens": 90}
        requests = [Request(0, "a", i, ids, params | {"seed": i}) for i in range(600)]
        found = []
        for finished in group.sample(requests):
            if not found:
                ray_session.kill(group.engines["0"])
            found += finished
        assert sorted(s.number for _, s in found) == list(range(600)) and {s.engine[-2:] for _, s in found} >= {"#1"}
        with pytest.raises(SamplingError, match="an engine failed: .*temperature"):
            list(group.sample([Request(0, "b", 0, ids, {"temperature": -1.0, "seed": 1})]))
        with pytest.raises(SamplingError, match="the last engine died .*run the same again, it continues"):
            for _ in group.sample(requests):
                ray_session.kill(group.engines["1"])
    finally:
        group.close()


@pytest.mark.slow
def test_a_server_gives_the_samples_that_engines_give(tmp_path):
    from served import serve

    arguments = ["--samples", "2", "--limit", "50", "--model", "examples/tiny/teacher"]
    with serve("--dtype", "float32") as url:
        evaluate(tmp_path / "served", *arguments, "--base-url", url)
    evaluate(tmp_path / "own", *arguments)
    served, own = samples(tmp_path / "served"), samples(tmp_path / "own")
    assert len(served) == 100 and served == own


@pytest.mark.slow
def test_the_six_benchmarks_from_a_folder(tmp_path):
    """Small files of their shape, and a student with room for their problems."""
    import shutil

    model = tmp_path / "long"
    shutil.copytree("examples/tiny/student", model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    six = ["aime24", "aime25", "amc23", "math500", "minerva", "olympiad"]
    for name in six:
        rows = [
            {"id": f"{name}-{i}" if i else "olympiad-1965", "problem": f"What is {i}+1?", "answer": str(i + 1)}
            for i in range(3)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    out = tmp_path / "out"
    assert (
        cli.main(
            [
                "run",
                "--model",
                str(model),
                "--benchmarks",
                ",".join(six),
                "--samples",
                "4",
                "--max-tokens",
                "64",
                "--data-dir",
                str(tmp_path),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    results = json.loads((out / "results.json").read_text())
    assert list(results["benchmarks"]) == six and all(b["problems"] == 3 for b in results["benchmarks"].values())
    assert results["benchmarks"]["olympiad"]["without"]["problems"] == 2
    assert results["settings"]["top_k"] == 20 and "boxed" in results["settings"]["example_prompt"]
    assert "Machine981/SCOPE-Deepseek-R1-Distill-Qwen-1.5B" in (out / "report.html").read_text()
