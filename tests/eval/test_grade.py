import io

import pytest
from stores import ABOUT, graded

from scope_eval.grade import (
    ResponseText,
    answer_classes,
    failed_share,
    grade,
    grade_samples,
    process_results,
    process_results_to_significant_figures,
)
from scope_eval.store import Grade, Sample, Store
from scope_openrlhf.verifier import Verdict


def test_a_problem_is_scored_by_the_share_of_its_samples_that_are_right():
    graded = process_results({"answer": "42"}, [[r"\boxed{42}", r"\boxed{41}", "42", r"\boxed{42.0}"]])
    assert (graded["avg"], graded["pass"]) == (0.5, 1.0)
    assert [g["verdict"] for g in graded["grades"]] == ["right", "wrong", "wrong", "right"]
    assert [g["answer_class"] for g in graded["grades"]] == [0, 1, None, 0]


def test_a_truncated_response_counts_as_wrong_and_keeps_its_verdict():
    texts = [ResponseText(r"\boxed{42}", "length"), ResponseText(r"\boxed{42}", "stop")]
    graded = process_results({"answer": "42"}, [texts])
    assert graded["avg"] == 0.5 and [g["verdict"] for g in graded["grades"]] == ["right", "right"]
    assert process_results({"answer": "42"}, [texts[:1]])["pass"] == 0.0


def test_significant_figures_are_the_rule_of_the_task_that_names_it():
    assert process_results({"answer": "0.26"}, [[r"\boxed{0.264}"]])["avg"] == 0
    assert process_results_to_significant_figures({"answer": "0.26"}, [[r"\boxed{0.264}"]])["avg"] == 1


def test_wrong_answers_that_are_equal_share_a_class():
    texts = [rf"\boxed{{{a}}}" for a in ("1/2", "0.5", r"\frac{3}{6}", "7", r"\sqrt{8}", r"2\sqrt{2}")] + ["nothing"]
    assert [g.answer_class for g in grade("42", texts)] == [1, 1, 1, 2, 3, 3, None]


def test_a_failed_answer_is_compared_by_its_spelling_alone():
    asked = []
    graded = [("failed", "9^9^9"), ("wrong", "1"), ("failed", "9^9^9"), ("right", "2"), ("failed", "8^8^8")]
    assert answer_classes(graded, lambda *pair: asked.append(pair)) == [1, 2, 1, 0, 3] and not asked


def test_hostile_wrong_answers_are_compared_by_algebra_so_often_and_no_more():
    asked = []

    def check(leader, response):
        asked.append(leader)
        return Verdict(
            "failed" if len(asked) == 3 else "wrong",
            "",
            "not decided in 5 s" if len(asked) == 3 else "different by algebra",
        )

    assert answer_classes([("wrong", str(i)) for i in range(100)], check) == list(range(1, 101)) and len(asked) == 3
    asked.clear()
    graded = [("wrong", str(i % 50)) for i in range(100)]
    slow = lambda leader, response: asked.append(leader) or Verdict("wrong", "", "different by algebra")  # noqa: E731
    assert answer_classes(graded, slow) == [i % 50 + 1 for i in range(100)] and len(asked) == 64


def test_the_failed_share_is_over_all_samples():
    assert failed_share([[{"verdict": v} for v in row] for row in (["right", "failed"], ["wrong", "wrong"])]) == 0.25


def test_grades_that_were_made_before_are_read_and_not_made_again():
    known = Grade("wrong", "41", "said before", 1)
    graded = process_results({"answer": "42"}, [[ResponseText(r"\boxed{42}", "stop", known)] * 2])
    assert graded["avg"] == 0 and [g["reason"] for g in graded["grades"]] == ["said before"] * 2
    half = [ResponseText(r"\boxed{42}", "stop", known), ResponseText(r"\boxed{42}", "stop")]
    assert process_results({"answer": "42"}, [half])["avg"] == 1  # all of a problem or none


def test_the_first_samples_of_the_first_problems_are_graded_in_the_store_and_their_number_is_shown(tmp_path):
    store, g = graded(tmp_path, {"a": "ffff", "b": "ffff", "c": "ffff"})
    progress = io.StringIO()
    found = grade_samples(store, g.about, 2, 3, progress)
    assert {item: [grade.verdict for grade in grades] for item, grades in found.items()} == {
        "a": ["wrong"] * 3,
        "b": ["wrong"] * 3,
    }  # their texts hold no box
    held = {item: "".join(s["verdict"][0] for s in row) for item, row in store.graded(g.about["id"], 4).items()}
    assert held == {"a": "wwwf", "b": "wwwf", "c": "ffff"} and "2/2" in progress.getvalue()


def test_the_rule_of_significant_figures_is_the_benchmarks(tmp_path):
    store = Store(tmp_path / "s")
    for name, significant in (("plain", False), ("minerva", True)):
        rows = [{"id": "a", "problem": "?", "answer": "0.26"}]
        number = store.begin(name, {}, "d", {}, rows, ABOUT | {"significant": significant})
        store.add([(number, Sample("a", 0, r"\boxed{0.264}", 3, "stop", 1, "0"))])
    found = [grade_samples(store, b, 1, 1, io.StringIO())["a"][0].verdict for b in store.benchmarks()]
    assert found == ["wrong", "right"]


def test_no_samples_is_an_error():
    with pytest.raises(ZeroDivisionError):
        process_results({"answer": "1"}, [[]])
