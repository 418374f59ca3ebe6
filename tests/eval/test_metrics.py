import math
import random

import pytest

from scope_eval.metrics import (
    accuracy,
    avg_at_n,
    avg_interval,
    best_at_k_with_replacement,
    best_interval,
    holm,
    maj_at_k,
    maj_interval,
    paired_difference,
    pass_at_k,
    pass_curve,
    pass_interval,
    permutation_p,
    variance_parts,
)

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
    s = accuracy(CORRECT)
    assert s["stderr_avg"] == pytest.approx(0.25 / math.sqrt(3))  # sample deviation of .5, 0, .25
    # four copies of every sample tell nothing new about the problems
    assert accuracy([row * 4 for row in CORRECT])["stderr_avg"] == pytest.approx(s["stderr_avg"])


def test_a_difference_is_paired_by_problem():
    after = [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]]
    d = paired_difference(CORRECT, after)
    assert d["avg"] == pytest.approx(0.25) and d["stderr"] == pytest.approx(0.0)  # every problem gains one sample
    assert d["pass"] == pytest.approx(1 / 3) and d["k"] == 4
    assert d["ci"] == pytest.approx((0.25, 0.25))
    # Pass@4 differences 0, 1, 0: mean 1/3, stderr 1/3, t(0.975, 2 df) = 4.303
    assert d["pass_ci"] == pytest.approx((1 / 3 - 4.30265 / 3, 1 / 3 + 4.30265 / 3), abs=1e-4)
    with pytest.raises(ValueError, match="needs the same problems"):
        paired_difference(CORRECT, after[:2])


@pytest.mark.parametrize("correct", [[], [[]], [[1], []]])
def test_nothing_to_score_is_an_error(correct):
    with pytest.raises(ValueError):
        avg_at_n(correct)
    with pytest.raises(ValueError):
        pass_at_k(correct, 1)


def test_the_pass_curve_begins_at_avg_and_ends_at_any():
    assert pass_curve(CORRECT) == pytest.approx({1: 0.25, 2: (5 / 6 + 0 + 1 / 2) / 3, 3: (1 + 0 + 3 / 4) / 3, 4: 2 / 3})


def test_best_with_replacement_is_the_published_bootstrap_and_lower_than_pass():
    once, twice = [[1] + [0] * 31], [[1, 1] + [0] * 30]
    assert best_at_k_with_replacement(once, 32) == pytest.approx(0.638, abs=5e-4)
    assert best_at_k_with_replacement(twice, 32) == pytest.approx(0.873, abs=5e-4)
    assert pass_at_k(once, 32) == 1.0
    assert best_interval(CORRECT, 1) == avg_interval(CORRECT)


def test_the_majority_is_taken_over_classes_and_ties_are_averaged():
    answers = [["1/2", "1/2", "3", None], ["a", "b", "b", "a"], [None, None, None, "7"], [None, None, None, None]]
    correct = [[1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert maj_at_k(answers, correct, 4) == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    # two blocks of two: 1/2,1/2 and 3; a,b and b,a (ties); None and None,7; None and None
    assert maj_at_k(answers, correct, 2) == pytest.approx((0.5 + 0.5 + 0.5 + 0) / 4)
    assert maj_at_k(answers, correct, 1) == pytest.approx(avg_at_n(correct))
    low, high = maj_interval(answers, correct, 4)
    assert 0 <= low < maj_at_k(answers, correct, 4) < high <= 1
    with pytest.raises(ValueError, match="maj@5 needs at least 5"):
        maj_at_k(answers, correct, 5)


def test_variance_is_parted_into_which_problem_and_which_sample():
    # within: .5 * .5 * 4/3, 0, .25 * .75 * 4/3 -> mean 0.19444
    # of the problem means .5, 0, .25: 0.0625 = between + within / 4
    parts = variance_parts(CORRECT)
    assert parts["within"] == pytest.approx((1 / 3 + 0 + 0.25) / 3)
    assert parts["between"] == pytest.approx(0.0625 - parts["within"] / 4)
    assert ((parts["between"] + parts["within"] / 4) / 3) ** 0.5 == pytest.approx(accuracy(CORRECT)["stderr_avg"])
    assert all(math.isnan(v) for v in variance_parts([[1], [0]]).values())


def test_an_interval_by_hand():
    # problem means 1, 1, 0, 0: mean .5, stderr .2887, so 3 trials, at least 4 (the problems); t(0.975, 3 df) = 3.182
    z2 = 3.18245**2 / 4
    low, high = avg_interval([[1], [1], [0], [0]])
    half = math.sqrt(z2 * 0.25 + z2**2 / 4) / (1 + z2)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-5)
    assert (
        avg_interval([[0], [0], [0], [0]])[0] == 0 and 0.5 < avg_interval([[0]] * 4)[1] < 1
    )  # four failures do not prove 0
    assert all(math.isnan(x) for x in avg_interval([[1, 0]]))


@pytest.mark.parametrize("difficulty", [(0.8, 1.2), (0.3, 1.5), (1.0, 1.0)])
def test_nominal_95_percent_intervals_cover_93_to_97_percent_of_simulated_evaluations(difficulty):
    """1,000 evaluations of 30 problems, whose chance of being solved is drawn from a beta distribution."""
    rng = random.Random(1)
    chances = [rng.betavariate(*difficulty) for _ in range(200_000)]
    truth = sum(chances) / len(chances), sum(1 - (1 - p) ** 4 for p in chances) / len(chances)
    covered = [0, 0]
    for _ in range(1000):
        problems = [[rng.random() < p for _ in range(8)] for p in (rng.betavariate(*difficulty) for _ in range(30))]
        for i, (low, high) in enumerate((avg_interval(problems), pass_interval(problems, 4))):
            covered[i] += low <= truth[i] <= high
    assert all(930 <= c <= 970 for c in covered), covered


def test_permutation_p_values_by_hand_and_under_no_difference():
    before, after = [[0, 0]] * 4, [[1, 1]] * 4
    assert permutation_p(before, after) == 2 / 16  # only all signs alike are as large
    assert permutation_p(before, before) == 1.0
    rng, small = random.Random(2), 0
    for _ in range(200):
        pair = [[[rng.random() < 0.4 for _ in range(4)] for _ in range(30)] for _ in range(2)]
        small += permutation_p(*pair, draws=200) <= 0.05
    assert 2 <= small <= 20  # about 10 of 200 by chance


def test_holm_multiplies_the_smallest_by_their_number_and_never_falls():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == pytest.approx({"a": 1.0, "b": 1.0})


def test_the_interval_of_a_paired_difference_covers_93_to_97_percent_of_1000_simulated_pairs_of_30_problems():
    rng, covered = random.Random(5), 0
    for _ in range(1000):
        pairs = [(min(1.0, p + 0.1), p) for p in (rng.betavariate(0.8, 1.2) * 0.9 for _ in range(30))]
        after, before = ([[rng.random() < p for _ in range(8)] for p in side] for side in zip(*pairs, strict=True))
        low, high = paired_difference(before, after)["ci"]
        covered += low <= 0.1 <= high
    assert 930 <= covered <= 970, covered
