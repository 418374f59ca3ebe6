import threading

import pytest

from scope_openrlhf.verifier import extract_boxed, verify


@pytest.mark.parametrize(
    "gold, response, verdict",
    [
        ("42", r"59-2=57;\boxed{42}", "right"),
        ("42", r"\boxed{43}", "wrong"),
        ("07", r"\boxed{7}", "right"),
        ("42", "the answer is 42", "wrong"),  # no box
        ("42", r"\boxed{42", "wrong"),  # never closed
        ("42", r"<think>\boxed{42}</think> \boxed{41}", "wrong"),  # the last box after the thinking counts
        (r"\frac{1}{2}", r"\boxed{0.5}", "right"),
        (r"\frac{1}{2}", r"so \boxed{\dfrac{1}{2}}.", "right"),
        ("x^2+1", r"\boxed{1+x^{2}}", "right"),
        ("204", r"\boxed{204.}", "right"),
        ("12", r"\boxed{1 2}", "wrong"),
    ],
)
def test_verdicts(gold, response, verdict):
    assert verify(gold, response).verdict == verdict


def test_extraction_balances_braces_and_falls_back_to_the_last_complete_box():
    assert extract_boxed(r"\boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert extract_boxed(r"\boxed{1} then \boxed{2") == "1"
    assert extract_boxed("none") is None


def test_it_grades_outside_the_main_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(verify(r"\sqrt{8}", r"\boxed{2\sqrt{2}}").verdict))
    thread.start()
    thread.join()
    assert seen == ["right"]


def test_an_endless_answer_is_cut_before_it_reaches_a_parser():
    assert verify("1", "\\boxed{" + "9" * 5000 + "}").verdict == "wrong"
