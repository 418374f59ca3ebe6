"""One reader of golds: what is one, what is none, and what cannot be graded."""

import json
import time
from decimal import Decimal

import numpy
import pytest

from scope_openrlhf.verifier import gold
from scope_openrlhf.verifier.gold import NoGold, read_gold, read_golds, why_no_answer, why_ungradable
from scope_openrlhf.verifier.grader import Grader
from scope_openrlhf.verifier.reward import reward_func

GSM8K = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nAltogether <<48+24=72>>72.\n#### 72"

READ = [
    ("18", "18"),
    ("007", "007"),
    (" 1,234 ", " 1,234 "),  # as it is written: the hash of a benchmark is of its golds
    (18, "18"),
    (9007199254740993, "9007199254740993"),
    (27.0, "27"),
    (0.5, "0.5"),
    (4.5e33, "4.5e+33"),
    (Decimal("18.00"), "18"),
    (Decimal("0.1"), "0.1"),
    (numpy.float64(0.5), "0.5"),
    (numpy.array(["2", "3"]), "2, 3"),
    (b"18", "18"),
    (["2", "3"], "2, 3"),
    (("2", 3), "2, 3"),
    (["18"], "18"),
    ([["2"], ["3"]], "2, 3"),
    (["1,234", "5"], "1,234; 5"),
    (["(1,2)", "[3,4]", r"\{5,6\}"], r"(1,2), [3,4], \{5,6\}"),
    ('["2", "3"]', "2, 3"),
    ("['2' '3']", "2, 3"),  # as numpy prints it: Python would read '23'
    ("['2'\n \"3\"]", "2, 3"),
    ("[ '2', '3']", "2, 3"),
    ("('2', '3')", "2, 3"),
    ('[["2"], ["3"]]', "2, 3"),
    ("{'ground_truth': '18', 'style': 'rule'}", "18"),  # as pandas writes an object into a CSV
    ("[0.1234567890123456789, 1]", "[0.1234567890123456789, 1]"),
    ({"answer": "so\n#### 18", "gold": "18"}, "18"),
    ("['2', '3']", "2, 3"),
    (' ["\\\\frac{1}{2}"] ', r"\frac{1}{2}"),
    ("[7]", "7"),
    ("[0, 1]", "[0, 1]"),  # an interval
    ("[[1, 2], [3, 4]]", "[[1, 2], [3, 4]]"),  # a matrix
    ('"18"', "18"),
    (GSM8K, "72"),
    ("all in one line #### 1,234", "1,234"),
    ("worked out\n####\n18", "18"),
    (r"First \boxed{3}. No: \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
    (r"$\boxed{2}$ and $\boxed{3}$", "2, 3"),
    ({"ground_truth": "18", "style": "rule"}, "18"),
    ({"id": 7, "reward_model": {"ground_truth": ["2", "3"]}}, "2, 3"),
    ('{"ground_truth": "18", "style": "rule"}', "18"),
    (r"\{1, 2\}", r"\{1, 2\}"),
    ("{3}", "{3}"),
]


@pytest.mark.parametrize("value, text", READ, ids=[repr(value)[:40] for value, _ in READ])
def test_a_gold_in_any_form_is_one_text(value, text):
    assert read_gold(value) == text


@pytest.mark.parametrize(
    "value, why",
    [
        (None, "it is missing"),
        ("", "it is empty"),
        (" \n", "it is empty"),
        ([], "it is an empty list"),
        ([""], "one of its parts: it is empty"),
        (["2", None], "one of its parts: it is missing"),
        ("[]", "it is an empty list"),
        ('[""]', "one of its parts: it is empty"),
        ([["1", "2"], ["3", "4"]], "a list of lists"),
        (json.loads("[" * 900 + "]" * 900), "a list of lists"),
        (json.loads('{"answer":' * 900 + "2" + "}" * 900), "nested too deeply"),
        (float("nan"), "it is NaN"),
        (float("inf"), "it is inf"),
        (Decimal("nan"), "it is NaN"),
        (True, "it is True of type bool"),
        (b"\xff", "bytes that are no text"),
        ("worked out\n####", "nothing stands behind its ####"),
        ({"value": 1}, "an object with value and none of ground_truth"),
        ({"ground_truth": None}, "it is missing"),
        ({"gold": "5", "answer": "6"}, "an object with '6' under answer, '5' under gold; name the one"),
        ("[1, null]", "one of its parts: it is missing"),
        ("[NaN, 1]", "one of its parts: it is NaN"),
        ('[["1", "2"]]', "a list of lists"),
        (r'{"ground_truth": "\pi"}', "begins as a list or an object and is not JSON"),
        ('{"answer": "2", "answer": "3"}', "has the key 'answer' twice"),
        ("{'answer': '2', 'answer': '3'}", "begins as a list or an object and is not JSON"),
        (r"{'answer': '\pi'}", "begins as a list or an object and is not JSON"),
        (r"so it is \boxed{18", "is empty or has no end"),
        (r"\boxed{}", "is empty or has no end"),
        ("#### 5\nand then a remark", "more than one line stands behind its last ####"),
    ],
)
def test_what_is_no_gold_says_why(value, why):
    with pytest.raises(NoGold, match=why):
        read_gold(value)


def test_an_integer_that_python_does_not_write_is_no_gold():
    with pytest.raises(NoGold, match="more digits than Python writes"):
        read_gold(10**5000)


@pytest.mark.parametrize(
    "text, why",
    [
        ("proof", "'proof' is no answer"),
        ("[Proof.]", "is no answer"),
        ("notfound", "'notfound' is no answer"),
        ("NaN", "is no answer"),
        ("<NA>", "is no answer"),
        ("None", "is no answer"),
        ("$$", "is no answer"),
        (r"\boxed{}", "nothing to compare with"),
        ("\x0crac{1}{2}", "a backslash was lost"),
        ("2\times 3", "a backslash was lost"),
        ("\text{A}", "a backslash was lost"),
        ("a \neq b", "a backslash was lost"),
        ("7" * 3_000, "longer than 2,000 characters"),
        ("We show by induction that every such graph has two vertices whose degree is one, as claimed.", "words"),
        ("(" * 40 + "x" + ")" * 40, "cannot be read"),
    ],
)
def test_a_text_that_is_no_answer_says_so_without_a_grader(text, why, monkeypatch):
    monkeypatch.setattr(gold, "_by_algebra", None)
    assert why in why_no_answer(text) and why in why_ungradable(text)


@pytest.mark.parametrize("text", ["18", "-0.5", "1/2", r"\text{Evelyn}", "none", "Yes", "101_2", "[0, 1]", "1,234; 5"])
def test_numbers_words_and_what_is_made_of_them_need_no_grader(text, monkeypatch):
    monkeypatch.setattr(gold, "_by_algebra", None)
    assert why_ungradable(text) is None


def test_formulas_are_tried_and_one_that_the_grader_had_no_time_for_stays():
    grader = Grader(workers=1)
    assert why_ungradable(r"\frac{\sqrt{3}}{2}", grader) is None
    assert "'t(0,4]' cannot be read as mathematics" in why_ungradable("t(0,4]", grader)
    grader.close()
    slow = r"\int_0^1 e^{x^{x^x}} dx"
    hurried = Grader(workers=1, seconds=0.05)
    assert hurried.verify(slow, r"\boxed{\sqrt{7919}}").verdict == "failed"
    assert why_ungradable(slow, hurried) is None  # another time it may be decided, and a resumed run keeps its rows
    hurried.close()


def test_the_golds_of_a_dataset_are_counted_and_named():
    golds = read_golds(["18", float("nan"), "proof", ["2", "3"], None, "proof"])
    assert golds.texts == {0: "18", 3: "2, 3"} and golds.too_many and golds.untried == 0
    assert golds.told == (
        "4 of 6 rows have no gold answer that can be graded (counted from 0; row 1: it is NaN, which is no number; "
        "row 2 and 1 more: 'proof' is no answer; row 4: it is missing)"
    )
    assert not read_golds(["1"] * 19 + [""]).too_many and read_golds(["1"] * 18 + [""]).too_many  # 5%


def test_forty_thousand_integers_take_about_a_second():
    start = time.perf_counter()
    assert len(read_golds(str(n) for n in range(40_000)).texts) == 40_000
    assert time.perf_counter() - start < 2


def test_a_formula_beyond_those_that_are_tried_is_counted(monkeypatch):
    monkeypatch.setattr(gold, "MOST_BY_ALGEBRA", 1)
    golds = read_golds([r"\sqrt{2}", r"\sqrt{3}", r"\sqrt{3}", "t(0,4]"])
    assert len(golds.texts) == 4 and golds.untried == 2


def test_the_reward_of_plain_openrlhf_reads_golds_the_same_way():
    rows = ({"answer": 4}, {"reward_model": {"ground_truth": "5"}})
    labels = ['["2","3"]', GSM8K, *map(json.dumps, rows), "proof"]
    responses = [r"\boxed{3, 2}", r"\boxed{72}", r"\boxed{4}", r"\boxed{5}", r"\boxed{proof}"]
    out = reward_func(responses, [""] * 5, labels)
    assert out["rewards"].tolist() == [1, 1, 1, 1, 0]
    assert out["extra_logs"]["grader_failed"].tolist() == [0, 0, 0, 0, 1]
