"""The study behind `make compare`: its statistics by hand, what it refuses, what becomes of runs that fail."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scope_eval import cli
from scope_eval.benchmarks import check, content_hash
from scope_eval.store import Grade, Sample, Store
from scope_eval.study import run
from scope_eval.study.collect import params_of
from scope_eval.study.numbers import ScoredModel, describe, difference, first_step, numbers, refuse_other_work
from scope_eval.study.settings import subset
from scope_eval.study.tables import claimed_pairs
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.files.fingerprint import files_fingerprint
from scope_openrlhf.host.luggage import prompt_lines
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError


def scored(*rows: str, distinct: float = 1.0) -> ScoredModel:
    """One row a problem, one letter a sample: r right, w wrong."""
    return ScoredModel([[c == "r" for c in row] for row in rows], [distinct] * len(rows))


# two seeds, three problems, two samples: Avg 1, 1/2, 0 and 1/2, 1/2, 1/2; Pass@2 1, 1, 0 and 1, 1, 1
FIRST, SECOND = scored("rr", "rw", "ww", distinct=1.0), scored("rw", "wr", "rw", distinct=2.0)
# the algorithm that they are compared with: Avg 1/2, 0, 0 and 1/2, 1/2, 0; Pass@2 1, 0, 0 and 1, 1, 0
OTHER = [scored("rw", "ww", "ww"), scored("rw", "rw", "ww")]


def test_a_mean_is_over_seeds_and_problems_and_its_interval_over_problems():
    found = describe([FIRST, SECOND])
    assert found["avg"]["value"] == 0.5 and found["avg"]["by_seed"] == [0.5, 0.5] and found["avg"]["sd"] == 0
    assert found["pass"]["value"] == pytest.approx(5 / 6) and found["pass"]["by_seed"] == pytest.approx([2 / 3, 1])
    assert found["pass"]["sd"] == pytest.approx((1 / 3) / 2**0.5)
    # problems' means over seeds are 3/4, 1/2, 1/4: standard error 1/4 / sqrt(3), so Wilson's trials are 12,
    # and t(0.975, 2) is 4.3027
    low, high = found["avg"]["ci"]
    z, trials = 4.30265, 12
    half = z * (0.25 / trials + (z / trials) ** 2 / 4) ** 0.5 / (1 + z * z / trials)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-5)
    assert found["distinct"]["value"] == 1.5 and found["distinct"]["ci"] == [1.5, 1.5]  # every problem has 1 and 2


def test_a_difference_is_paired_by_seed_and_problem():
    found = difference([FIRST, SECOND], OTHER)
    # by problem, the mean over seeds of the difference: (1/2 + 0) / 2, (1/2 + 0) / 2, (0 + 1/2) / 2
    assert found["avg"]["value"] == 0.25 and found["avg"]["ci"] == [0.25, 0.25]
    assert found["avg"]["by_seed"] == pytest.approx([1 / 3, 1 / 6]) and found["avg"]["sd"] == pytest.approx(
        (1 / 6) / 2**0.5
    )
    assert found["avg"]["relative"] == pytest.approx(1)  # 0.25 more than 0.25
    # 0, (1 + 0) / 2, (0 + 1) / 2: mean 1/3, standard error sqrt(1/12) / sqrt(3) = 1/6
    assert found["pass"]["value"] == pytest.approx(1 / 3) and found["pass"]["ci"] == pytest.approx(
        [1 / 3 - 4.30265 / 6, 1 / 3 + 4.30265 / 6], abs=1e-5
    )
    assert found["p"] == 2 / 8  # only all three swapped or none is as large


def took(seconds: float = 10.0) -> dict:
    return {
        "ids": ["a", "b"],
        "rollouts": [8, 8],
        "seconds": seconds,
        "startup": 5.0,
        "first": {"reward": 0.25},
        "teacher_tokens": 100,
        "context_tokens": 7,
    }


def test_what_a_run_said_of_its_first_step_is_averaged_over_seeds_and_what_one_of_them_lacks_is_left_out():
    work = [
        took() | {"first": {"reward": a, "gap_right": -0.2, "gap_wrong": b}} for a, b in ((0.25, None), (0.5, -0.4))
    ]
    assert first_step(work) == pytest.approx({"reward": 0.375, "gap_right": -0.2})


def test_holm_counts_every_comparison_once_and_runs_of_other_seeds_are_not_paired():
    models = {"grpo": {1: OTHER[0], 2: OTHER[1]}, "opd": {1: FIRST, 2: SECOND}, "scope": {2: SECOND}}
    work = {name: {seed: took(20.0 if name == "opd" else 10.0) for seed in by} for name, by in models.items()}
    found = numbers(FIRST, models, work, [("scope", "opd"), ("opd", "student"), ("cepo", "grpo")])
    assert [(d["of"], d["to"], d["seeds"]) for d in found["differences"]] == [
        ("opd", "grpo", [1, 2]),
        ("scope", "grpo", [2]),
        ("scope", "opd", [2]),
    ]
    # the second seed alone against grpo's: 0, 0, 1/2 differ by problem, so no swap changes anything
    assert [(d["p"], d["p_holm"]) for d in found["differences"]] == [(0.25, 0.75), (1.0, 1.0), (1.0, 1.0)]
    assert [(d["of"], d["to"]) for d in found["claimed"]] == [("scope", "opd"), ("opd", "student")]
    assert found["claimed"][0]["times_less_seconds"] == 2 and "times_less_seconds" not in found["claimed"][1]
    assert found["claimed"][1]["avg"]["by_seed"] == [0, 0]  # the student's Avg is 1/2 as well
    assert (
        found["algorithms"]["opd"]["seconds"] == 20
        and found["algorithms"]["scope"]["avg"]["sd"] != found["algorithms"]["scope"]["avg"]["sd"]
    )


def test_runs_with_other_problems_or_another_number_of_rollouts_get_no_table():
    refuse_other_work({"grpo": {1: took(), 2: took() | {"ids": ["b", "a"]}}, "opd": {1: took()}})  # seeds may differ
    with pytest.raises(
        ConfigError, match="grpo-1 and opd-1 did not do the same work: their problems differ at number 1"
    ):
        refuse_other_work({"grpo": {1: took()}, "opd": {1: took() | {"ids": ["a", "c"]}}})
    with pytest.raises(
        ConfigError, match=r"grpo-1 and opd-2 .* rollouts a step differ at number 2, counted from 0 \(2 and 3 in all\)"
    ):
        refuse_other_work({"grpo": {1: took()}, "opd": {2: took() | {"rollouts": [8, 8, 8]}}})


def test_the_subset_holds_the_first_of_every_stratum_in_equal_shares():
    rows = [{"id": f"{stratum}-{i}", "stratum": stratum} for i in range(3) for stratum in ("easy", "hard")]
    assert [r["id"] for r in subset(rows, 4)] == ["easy-0", "easy-1", "hard-0", "hard-1"]
    assert [r["id"] for r in subset(rows, 3)] == ["easy-0", "easy-1", "hard-0"]
    with pytest.raises(ConfigError, match="--problems 8 takes 4 problems of easy, there are 3"):
        subset(rows, 8)


def write_run(command: list[str]) -> None:
    """The files that a training run leaves, if it had one step of two prompts and four rollouts each."""
    config = Config.load(command[5], command[6:])
    run = config.run_dir
    (run / "model").mkdir(parents=True)
    (run / "model" / "config.json").write_text(json.dumps({"of": config.name}))
    (run / "model" / ".whole").touch()
    (run / "config.yaml").write_text(json.dumps(config.to_dict()))
    row = {
        "step": 1,
        "rollouts": 8.0,
        "reward": 0.25,
        "teacher_tokens": 50.0,
        "context_tokens": 0.0,
        "seconds": {"total": 2.5},
    }
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (run / "prompts.jsonl").write_text(prompt_lines([(Problem(id=i, prompt="?", answer="1"), "?") for i in "ab"]))
    summary = {
        "algorithm": config.algorithm["name"],
        "steps": 1,
        "seconds": {"startup": 4.0},
        "model": "m",
        "rollouts": {"right": 1, "wrong": 7, "truncated": 0},
        "teacher": {"scored": 1, "skipped": 0, "seconds": 0.0},
    }
    (run / "summary.json").write_text(json.dumps(summary))


def write_scores(command: list[str], right: str) -> None:
    """The files that an evaluation leaves; right: one letter a sample, the same for every problem."""
    given = dict(zip(command[4::2], command[5::2], strict=True))
    rows = check([json.loads(line) for line in Path(given["--benchmarks"]).read_text().splitlines()], "held out")
    out, n, name = Path(given["--out"]), int(given["--samples"]), Path(given["--benchmarks"]).stem
    out.mkdir(parents=True, exist_ok=True)
    settings = {"temperature": 0.6, "top_p": 1.0, "top_k": -1, "max_tokens": 96, "seed": 1}
    identity, data = {"files": files_fingerprint(given["--model"])}, content_hash(rows)
    store = Store(out / "samples.sqlite")
    number = store.begin(name, identity, data, settings, rows, {})
    for row in rows:
        store.add((number, Sample(row["id"], i, f"{'same' if i < 2 else i} ", 9, "stop", i, "0")) for i in range(n))
        grades = [Grade("right" if c == "r" else "wrong", "1", "", 0) for c in right[:n]]
        store.put_grades(number, {row["id"]: grades})
    store.finish(number, len(rows), n, {})
    store.close()
    benchmark = {"problems": len(rows), "samples": n, "data": {"hash": data}, "settings": settings}
    (out / "results.json").write_text(json.dumps({"identity": identity, "benchmarks": {name: benchmark}}))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """(a study of one step, two algorithms, two seeds and four problems on made-up runs, what was executed)."""
    executed = []

    def execute(command: list[str], log: Path) -> int:
        executed.append(log.name)
        assert command[:2] == [sys.executable, "-m"]
        log.parent.mkdir(exist_ok=True)
        if log.name in failing:
            log.write_text("starting\nerror: training stopped: no memory\n  see there\nexit code 1\n")
            return 1
        if command[2] == "scope_eval":
            write_scores(
                command, {"student": "wwrw", "grpo-1": "rrrw", "grpo-2": "rrww"}.get(log.name.partition(".")[0], "rrrr")
            )
        else:
            write_run(command)
        return 0

    def study(*more: str, seeds: str = "1,2") -> int:
        executed.clear()
        which = ["--config", "examples/cpu_tiny.yaml", "--algorithms", "grpo,opd", "--seeds", seeds]
        size = ["--steps", "1", "--problems", "4", "--samples", "4"]
        folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "docs")]
        return cli.main(["study", *which, *size, *folders, *more])

    failing: set[str] = set()
    study.failing, study.executed, study.docs = failing, executed, tmp_path / "docs"
    monkeypatch.setattr(run, "execute", execute)
    return study


def test_a_study_runs_seed_after_seed_and_what_is_finished_is_not_started_again(small, capsys):
    assert small(seeds="1") == 0
    assert small.executed == [
        "student.eval.log",
        "grpo-1.train.log",
        "grpo-1.eval.log",
        "opd-1.train.log",
        "opd-1.eval.log",
    ]
    assert small() == 0
    assert small.executed == ["grpo-2.train.log", "grpo-2.eval.log", "opd-2.train.log", "opd-2.eval.log"]
    assert "[2/5] grpo-1: was done before; 0:00:0" in capsys.readouterr().out
    assert small("--report-only") == 0 and small.executed == []


def test_the_page_holds_the_numbers_of_the_runs(small):
    assert small() == 0
    text, found = (small.docs / "compare.md").read_text(), json.loads((small.docs / "compare.json").read_text())
    assert found["algorithms"]["grpo"]["avg"]["by_seed"] == [0.75, 0.5] and found["student"]["avg"]["value"] == 0.25
    # the first two of four samples say the same: 2 texts are right among rrr, 1 among rr
    assert (
        found["algorithms"]["grpo"]["distinct"]["by_seed"] == [2, 1]
        and found["algorithms"]["opd"]["distinct"]["value"] == 3
    )
    # Wilson at 1 with four problems: 1 / (1 + t(0.975, 3)^2 / 4) = 28.31%
    table = [line for line in text.splitlines() if line.startswith(("| opd |", "| grpo |", "| untrained student |"))][
        :3
    ]
    assert [line.split(" | ")[0] for line in table] == ["| opd", "| grpo", "| untrained student"]  # the best first
    assert table[1].startswith("| grpo | 2 of 2 | 62.50 [") and table[1].endswith(
        "| 17.68 | 100.00 [28.31, 100.00] | 0.00 | 1.50 | 2 | 4 | 50 | 0 |"
    )
    assert (
        "| opd - grpo | +37.50 [+37.50, +37.50] | 0.1250 | 0.1250 | +25.00 +50.00 | 17.68 |" in text
    )  # 2 of 16 sign patterns
    assert "Against grpo: above: none; below: none; not told apart: opd." in text
    assert "Avg@4: the highest mean is that of opd; below the untrained student's: none." in text
    assert "| cepo - untrained student |" not in text and "| cepo - grpo | not run | - | - |" in text
    assert (
        "--algorithms grpo,opd --seeds 1,2 --steps 1 --problems 4 --samples 4" in text
        and "1 steps of 2 prompts x 4 rollouts" in text
    )
    assert (small.docs / "compare.png").stat().st_size > 10_000


def test_key_values_of_runs_may_stand_before_and_after_flags(small, tmp_path):
    assert small("openrlhf.actor.adam.lr=1.0e-3", "--seeds", "1", "data.path=mine.jsonl") == 0
    stored = json.loads((tmp_path / "runs" / "grpo-1" / "config.yaml").read_text())
    assert stored["openrlhf"]["actor.adam.lr"] == 1e-3 and stored["data"]["path"] == "mine.jsonl"


def test_a_run_that_fails_is_named_with_its_reason_and_the_others_go_on(small, capsys):
    small.failing |= {"grpo-1.train.log", "opd-2.eval.log"}
    assert small() == 1
    assert (
        small.executed[-3:] == ["grpo-2.eval.log", "opd-2.train.log", "opd-2.eval.log"]
        and "grpo-1.eval.log" not in small.executed
    )
    assert "failed: grpo-1: train: training stopped: no memory" in capsys.readouterr().err
    text = (small.docs / "compare.md").read_text()
    assert (
        "| grpo | 1 | failed: train: training stopped: no memory |" in text
        and "| opd | 2 | failed: eval: training stopped" in text
    )
    assert "| grpo | 1 of 2 |" in text and "Neither GRPO nor OPD stands beside" in text  # no seed has both
    (small.docs.parent / "runs" / "logs" / "grpo-1.train.log").write_text("step 1\n")  # killed: it could say nothing
    assert small("--report-only") == 1 and "failed: grpo-1: train: stopped on the way" in capsys.readouterr().err
    small.failing.clear()
    assert small() == 0 and small.executed == ["grpo-1.train.log", "grpo-1.eval.log", "opd-2.eval.log"]


def test_an_algorithm_without_a_finished_run_stands_in_the_table_as_failed(small):
    small.failing |= {"opd-1.train.log"}
    assert small(seeds="1") == 1
    assert "| opd | 0 of 1 | failed |" in (small.docs / "compare.md").read_text()


def test_models_that_changed_after_they_were_scored_are_scored_again(small, tmp_path):
    assert small(seeds="1") == 0
    (tmp_path / "runs" / "opd-1" / "model" / "config.json").write_text("another")
    (tmp_path / "runs" / "eval" / "opd-1" / "samples.sqlite").unlink()
    assert small(seeds="1") == 0 and small.executed == ["opd-1.eval.log"]


@pytest.mark.parametrize("steps", ["2", "40"])
def test_a_study_of_another_length_is_refused_for_its_runs_keep_no_checkpoint(small, capsys, steps):
    assert small(seeds="1") == 0 and small("--steps", steps, seeds="1") == 2
    said = capsys.readouterr().err
    assert f"--steps {steps}: " in said and "runs/grpo-1 has done 1, and a study keeps no checkpoint" in said
    assert "choose another --runs, or --steps 1" in said and small.executed == []


def test_a_study_over_other_runs_or_without_a_number_is_refused(small, tmp_path, capsys):
    assert small(seeds="1") == 0
    assert small("openrlhf.actor.adam.lr=1e-3", seeds="1") == 2
    assert "runs/grpo-1 belongs to another config; it differs in openrlhf.actor.adam.lr" in capsys.readouterr().err
    metrics = tmp_path / "runs" / "grpo-1" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("teacher_tokens", "other"))
    assert small(seeds="1") == 2 and "has rows without teacher_tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--algorithms", "gpro"], "there is no 'gpro'; did you mean grpo?"),
        (["--seeds", "1;2"], "--seeds must be whole numbers with commas between"),
        (["--problems", "402"], "--problems 402 takes 201 problems of easy, there are 200"),
        (["seed=3"], "seed is not for every run alike"),
        (["algorithm.tau=2"], "algorithms.NAME.knob=... for knobs"),
        (["algorithms.scope.tau=0"], "algorithm.tau must be above 0"),
        (["--report-only"], "the untrained student is not scored (eval: not run)"),
    ],
)
def test_what_cannot_work_is_told_before_anything_starts(small, capsys, arguments, message):
    options = ["--algorithms", "scope"] if "tau=0" in arguments[0] else []
    assert small(*options, *arguments) == 2 and message in capsys.readouterr().err and small.executed == []


def test_a_process_writes_to_its_log_and_takes_its_exit_code_there(tmp_path):
    log = tmp_path / "logs" / "x.log"
    assert run.execute([sys.executable, "-c", "print('said'); raise SystemExit(3)"], log) == 3
    assert log.read_text() == "said\nexit code 3\n"


def test_a_study_that_is_stopped_stops_its_run_and_waits_until_that_has_put_its_engines_away(tmp_path):
    run = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); print('up', flush=True)\n"
    run += "try:\n  time.sleep(60)\nfinally:\n  time.sleep(0.5); print('put away', flush=True)"
    log = tmp_path / "x.log"
    # a process that was started in the background may have been told to ignore Ctrl-C
    outer = "import pathlib, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    outer += "from scope_eval.study import run; "
    outer += f"run.execute([sys.executable, '-c', {run!r}], pathlib.Path({str(log)!r}))"
    with subprocess.Popen([sys.executable, "-c", outer], stderr=subprocess.PIPE) as process:
        deadline = time.time() + 60
        while not (log.exists() and "up" in log.read_text()) and time.time() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode != 0 and log.read_text() == "up\nput away\n"


def test_params_are_counted_from_the_files_of_a_model():
    # query, key and value with biases, output, three of the MLP, two norms
    layer = 3 * (96 * 96 + 96) + 96 * 96 + 3 * 96 * 192 + 2 * 96
    assert params_of("examples/tiny/student") == 24 * 96 + 2 * layer + 96 == 187_680
    assert params_of("Qwen/none") is None


def test_claims_name_the_same_pairs_in_text_and_numbers():
    assert claimed_pairs()[0] == ("cepo", "grpo") and len(claimed_pairs()) == 6
