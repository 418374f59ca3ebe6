import math

import pytest

from scope_eval.metrics import avg_at_n, paired_difference, pass_at_k, score

CORRECT = [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]


def test_avg_is_the_mean_over_problems_also_of_ragged_rows():
    assert avg_at_n(CORRECT) == pytest.approx((0.5 + 0 + 0.25) / 3)
    assert avg_at_n([[1], [0, 0, 0]]) == 0.5


def test_pass_at_k_is_the_unbiased_estimator():
    # 1 - C(2,2)/C(4,2) = 5/6, 0, 1 - C(3,2)/C(4,2) = 1/2
    assert pass_at_k(CORRECT, 2) == pytest.approx((5 / 6 + 0 + 1 / 2) / 3)
    assert pass_at_k(CORRECT, 1) == pytest.approx(avg_at_n(CORRECT))
    assert pass_at_k(CORRECT, 4) == pytest.approx(2 / 3)


def test_standard_errors_cluster_by_problem():
    s = score(CORRECT)
    assert s["stderr_avg"] == pytest.approx(0.25 / math.sqrt(3))  # sample deviation of .5, 0, .25
    # four copies of every sample tell nothing new about the problems
    assert score([row * 4 for row in CORRECT])["stderr_avg"] == pytest.approx(s["stderr_avg"])


def test_a_difference_is_paired_by_problem():
    after = [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]]
    d = paired_difference(CORRECT, after)
    assert d["avg"] == pytest.approx(0.25) and d["stderr"] == pytest.approx(0.0)  # every problem gains one sample
    assert d["pass"] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="needs the same problems"):
        paired_difference(CORRECT, after[:2])


@pytest.mark.parametrize("correct", [[], [[]], [[1], []]])
def test_nothing_to_score_is_an_error(correct):
    with pytest.raises(ValueError):
        avg_at_n(correct)
    with pytest.raises(ValueError):
        pass_at_k(correct, 1)
