"""The one grader: a table of spellings, hostile answers, and workers that are killed and replaced."""

import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from mutations import mutated, string_seconds
from spellings import CASES, EXTRACTION, HOSTILE, rows

from scope_openrlhf.verifier import Grader, GraderError, verify
from scope_openrlhf.verifier.extract import extract_answers
from scope_openrlhf.verifier.reward import reward_func


@pytest.fixture(scope="module")
def grader():
    grader = Grader(workers=2)
    yield grader
    grader.close()


def test_the_table_is_as_large_as_it_says():
    assert len(rows()) >= 600 and sum(v == "right" for *_, v in rows()) >= 300


@pytest.mark.parametrize("name", CASES)
def test_every_spelling_of_a_class_gets_its_verdict(name, grader):
    table = [(gold, response, verdict) for c, gold, response, verdict in rows() if c == name]
    got = [(gold, response, grader.verify(gold, response).verdict) for gold, response, _ in table]
    assert got == table


def table(name: str) -> list[dict]:
    return [json.loads(line) for line in Path(f"tests/{name}.jsonl").read_text().splitlines()]


def test_cases_by_somebody_who_had_seen_neither_code_nor_table(grader):
    rows = [row | {"expect": row["expected"] == "right"} for row in table("stranger")]
    assert len(rows) > 1900 and missed(rows, grader) == []


def missed(rows: list[dict], grader: Grader) -> list[tuple[str, str, str]]:
    """(verdict, gold, response) of the rows on which markers agree and the grader does not agree with them."""
    with ThreadPoolExecutor(3) as threads:
        verdicts = threads.map(lambda r: grader.verify(r["gold"], r["response"]).verdict, rows)
        return [
            (verdict, r["gold"], r["response"])
            for r, verdict in zip(rows, verdicts, strict=True)
            if not r.get("debatable") and verdict != ("right" if r["expect"] else "wrong")
        ]


def test_attacks_with_the_code_in_view_get_the_verdicts_that_markers_agree_on(grader):
    assert missed(table("attacks"), grader) == []


def test_reported_cases_get_the_verdicts_that_markers_agree_on(grader):
    rows = table("reported")
    assert len(rows) == 1277 and missed(rows, grader) == []


@pytest.mark.parametrize("part", [0, pytest.param(None, marks=pytest.mark.slow)])
def test_of_three_tables_written_blind_no_wrong_answer_is_right_and_99_of_100_verdicts_agree(part, grader):
    rows = table("blind") if part is None else table("blind")[part::6]
    found = missed(rows, grader)
    assert [row for row in found if row[0] == "right"] == [] and len(found) < 0.01 * len(rows)


def test_no_string_costs_its_caller_a_quarter_of_a_second():
    slowest = max((string_seconds(gold, answer), gold, answer) for gold, answer in mutated(1_500, seed=1))
    assert slowest[0] < 0.25, slowest


def test_an_empty_gold_is_never_matched_and_the_seconds_are_those_of_the_verdict(grader):
    for response in (r"\boxed{}", r"\boxed{3}", r"\boxed{\emptyset}"):
        assert not grader.verify("", response).right
    assert grader.verify(" ", r"\boxed{3}").reason == "the gold answer is empty"
    assert 0 < grader.verify("1", r"\boxed{\sqrt{2}}").seconds < 2


def test_a_long_string_of_digits_is_compared(grader):
    gold = "7" * 2_500
    assert grader.verify(gold, rf"\boxed{{{gold}}}").verdict == "right"
    assert grader.verify(gold, rf"\boxed{{{gold[:-1]}8}}").verdict == "wrong"
    assert grader.verify(gold, rf"\boxed{{{gold[:2_000]}}}").verdict == "wrong"


@pytest.mark.parametrize(("gold", "response", "verdict"), EXTRACTION)
def test_the_answer_is_the_last_complete_box_after_the_thinking(gold, response, verdict):
    assert verify(gold, response).verdict == verdict


def test_no_box_is_wrong_unless_the_lenient_mode_is_asked_for():
    for response in ("The answer is 42.", "so we get 40 + 2 = 42", "**Answer:** $42$"):
        assert verify("42", response).verdict == "wrong"
        assert verify("42", response, lenient=True).verdict == "right"
    assert extract_answers("1+1=2, then", lenient=True) == ["2"]


@pytest.mark.parametrize(
    ("gold", "answer", "exact", "significant"),
    [
        ("4.5e33", "4.49e33", "wrong", "right"),
        ("0.26", "0.264", "wrong", "right"),
        ("0.264", "0.26", "wrong", "wrong"),  # fewer figures than the gold states
        ("41.8", "41.81", "wrong", "right"),
        ("41.8", "41.9", "wrong", "wrong"),
        ("20", "20.4", "wrong", "wrong"),  # an integer is exact
        ("4.19", r"\frac{4}{3}\pi", "wrong", "right"),
        ("4.18", r"\frac{4}{3}\pi", "wrong", "wrong"),
        ("1e-5", "1.4e-5", "wrong", "wrong"),  # one figure states nothing
    ],
)
def test_significant_figures_are_a_rule_that_is_switched_on_by_name(gold, answer, exact, significant, grader):
    assert grader.verify(gold, rf"\boxed{{{answer}}}").verdict == exact
    assert grader.verify(gold, rf"\boxed{{{answer}}}", significant=True).verdict == significant


def workers() -> list[psutil.Process]:
    lines = {p: " ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)}
    return [p for p, line in lines.items() if "loky" in line and "resource_tracker" not in line]


def test_hostile_answers_get_a_verdict_in_time_in_bounded_memory_and_the_pool_serves_on(grader):
    for gold in ("42", r"\frac{\sqrt{3}}{2}"):
        for name, answer in HOSTILE.items():
            graded = grader.verify(gold, rf"\boxed{{{answer}}}")
            assert graded.verdict in ("wrong", "failed") and graded.seconds < 1.5 * grader.workers.seconds, name
            assert all(p.memory_info().rss < 1024 * 2**20 for p in workers()), name
    assert not Path("pwned").exists()
    assert grader.verify(r"\sqrt{12}", r"\boxed{2\sqrt{3}}").right


def test_hostile_answers_of_a_stranger_are_never_right_by_mistake_and_cost_no_more_than_the_limit(grader):
    rows = table("hostile")
    with ThreadPoolExecutor(3) as threads:
        verdicts = list(threads.map(lambda r: grader.verify(r["gold"], r["response"]), rows))
    for row, graded in zip(rows, verdicts, strict=True):
        assert graded.seconds < 1.5 * grader.workers.seconds, row
        assert row["expect"] or row.get("debatable") or graded.verdict != "right", row


def test_a_failure_takes_no_other_case_with_it_and_is_not_remembered():
    grader = Grader(workers=2, seconds=1.0)
    grader.verify("1", r"\boxed{\sin x}")  # the workers are up
    seen = {}
    answers = [HOSTILE["endless integral"], r"2\sqrt{3}", HOSTILE["product"], r"\sqrt{4 \cdot 3}", r"\sqrt{11}"]
    threads = [
        threading.Thread(target=lambda a=a: seen.update({a: grader.verify(r"\sqrt{12}", rf"\boxed{{{a}}}").verdict}))
        for a in answers
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [seen[a] for a in answers] == ["failed", "right", "failed", "right", "wrong"]
    assert grader.decide.cache_info().currsize == 4
    grader.close()


def test_a_worker_that_is_killed_is_replaced():
    grader = Grader(workers=1, seconds=20.0)
    assert grader.verify("x", r"\boxed{\frac{2x}{2}}").right
    thread = threading.Timer(0.5, lambda: [p.kill() for p in workers()])
    thread.start()
    assert (
        grader.verify("1", rf"\boxed{{{HOSTILE['endless integral']}}}").reason
        == "the grader's worker ended with exit code -9"
    )
    assert grader.verify("x", r"\boxed{\frac{3x}{3}}").right
    grader.close()


def test_workers_that_cannot_start_are_an_error_and_not_a_verdict():
    with pytest.raises(GraderError, match="the grader's workers do not start with 64 MiB each"):
        Grader(workers=1, mib=64).verify("x", r"\boxed{\frac{2x}{2}}")


def test_a_script_without_a_main_guard_may_grade_and_leaves_no_process_even_when_killed(tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(
        "from scope_openrlhf.verifier import verify\nimport sys, time\n"
        r"print(verify('\\sqrt{8}', r'\boxed{2\sqrt{2}}').verdict, flush=True)"
        + "\nif len(sys.argv) > 1: time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "right\n", done.stderr
    running = subprocess.Popen([sys.executable, script, "stay"], stdout=subprocess.PIPE, text=True)
    assert running.stdout and running.stdout.readline() == "right\n"
    children = psutil.Process(running.pid).children(recursive=True)
    assert children
    running.send_signal(signal.SIGKILL)
    running.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_the_reward_function_of_plain_openrlhf_never_reads_the_prompt():
    prompt = r"Put the answer in \boxed{4}. 2+2? "
    out = reward_func(
        [prompt + r"\boxed{4}", prompt + "4", prompt + r"\boxed{5}"],
        [prompt] * 3,
        ["4", '{"answer": "4", "id": "a"}', "4"],
    )
    assert out["rewards"].tolist() == [1.0, 0.0, 0.0] and out["extra_logs"]["grader_failed"].tolist() == [0.0] * 3
