import pytest
from stores import graded

from scope_eval.compare import compare, flips, table
from scope_eval.results import Graded, describe, warnings
from scope_eval.store import StoreError
from scope_openrlhf.settings.errors import ConfigError


def test_the_numbers_of_a_benchmark_by_hand(tmp_path):
    store, g = graded(tmp_path, {"a": "rrtw", "b": "fnww"})
    d = describe(store, g)
    assert g.correct == [[True, True, False, False], [False] * 4] and g.answers == [[0, 0, None, 1], [2, None, 1, 1]]
    assert (d["avg"], d["pass"][1], d["pass"][4], d["maj"]) == (0.25, 0.25, 0.5, 0.5)
    assert d["pass"][2] == pytest.approx((1 - 1 / 6) / 2) and d["best_with_replacement"] == pytest.approx(
        (1 - 0.5**4) / 2
    )
    assert (d["truncated"], d["no_box"], d["failed"]) == (1 / 8, 1 / 8, 1 / 8)
    assert d["avg_truncated_as_graded"] == 3 / 8 and d["avg_complete_only"] == pytest.approx(2 / 7)
    assert (
        d["length"]["right"] == {"samples": 2, "mean": 300, "median": 300, "p90": 300}
        and d["length"]["wrong"]["mean"] == 100
    )
    assert d["without"]["problems"] == 1 and d["without"]["avg"] == 0.5  # the other count of problems is said beside it
    assert d["distinct"] == 0.5 and d["repeated_long"] == 1.0  # "text 0" twice, of 300 tokens
    said = " ".join(warnings("tiny", d))
    assert (
        "100.0% of the samples of 256 tokens or more equal another" in said
        and "could not decide 12.5%" in said
        and "12.5% of the samples were truncated" in said
    )
    assert set(d["pass_ci"]) == {1, 2, 3, 4} and all(
        low <= d["pass"][k] <= high for k, (low, high) in d["pass_ci"].items()
    )


def test_samples_at_temperature_0_are_said_to_be_one(tmp_path):
    store, g = graded(tmp_path, {"a": "rr"}, temperature=0)
    assert "at temperature 0 all samples of a problem are the same" in warnings("tiny", describe(store, g))[0]


def test_a_store_with_missing_samples_or_grades_says_what_to_run(tmp_path):
    store, g = graded(tmp_path, {"a": "rr", "b": "ww"})
    with pytest.raises(StoreError, match="holds 4 of 6 samples of tiny; run the same scope-eval run again"):
        Graded(store, g.about | {"samples": 3})
    store.db.execute("DELETE FROM grades WHERE number = 1")
    with pytest.raises(StoreError, match="is not graded; run scope-eval regrade"):
        Graded(store, g.about)


def test_a_problem_flips_where_it_crosses_one_half_or_is_solved_at_all():
    before = [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    after = [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert flips(list("abcd"), before, after, 4) == {
        "gained": [],
        "lost": ["a"],
        "first_solved": ["b"],
        "no_longer_solved": ["c"],
    }
    assert flips(list("abcd"), before, after, 3)["first_solved"] == []  # as many tries on both sides
    assert flips(list("abcd"), after, before, 4) == {
        "gained": ["a"],
        "lost": [],
        "first_solved": ["c"],
        "no_longer_solved": ["b"],
    }


def test_two_models_are_compared_over_the_problems_that_both_have(tmp_path):
    _, a = graded(tmp_path / "a", {"x": "wwww", "y": "rrrr", "z": "rwww"})
    _, b = graded(tmp_path / "b", {"z": "rrww", "x": "rrrr"})
    _, other = graded(tmp_path / "c", {"x": "rrrr"}, name="other")
    found = compare({"tiny": a, "other": other}, {"tiny": b, "other": other})["benchmarks"]
    assert found["tiny"]["n"] == 2 and found["tiny"]["difference"]["avg"] == pytest.approx((1 + 0.25) / 2)
    assert found["tiny"]["flips"] == {"gained": ["x", "z"], "lost": [], "first_solved": ["x"], "no_longer_solved": []}
    assert (
        found["tiny"]["p"] == 0.5 and found["tiny"]["p_holm"] == 1.0 and found["other"]["p"] == 1.0
    )  # 2 of 4 sign patterns are as large
    text = table({"benchmarks": found, "notes": []}, ("A", "B"))
    assert "+62.50" in text and "tiny, gained (2): x, z" in text


def test_other_data_are_not_compared_and_other_settings_are_said(tmp_path):
    _, a = graded(tmp_path / "a", {"x": "wwww"})
    _, b = graded(tmp_path / "b", {"x": "wwww"}, data="e")
    with pytest.raises(ConfigError, match="there is no benchmark to compare: tiny has other data on each side"):
        compare({"tiny": a}, {"tiny": b})
    _, c = graded(tmp_path / "c", {"x": "wwww"}, temperature=1.0)
    assert "the two differ in temperature 0.6 and 1.0" in compare({"tiny": a}, {"tiny": c})["notes"][0]


def test_models_with_other_numbers_of_samples_are_compared_at_the_smaller(tmp_path):
    """Eight tries find more than two: Pass@k, strata and solved problems are those of two tries on both sides."""
    _, a = graded(tmp_path / "a", {"x": "rr", "z": "ww"})
    _, b = graded(tmp_path / "b", {"x": "rwwwwwww", "z": "wwrwwwww"})
    c = compare({"tiny": a}, {"tiny": b})
    found = c["benchmarks"]["tiny"]
    assert (
        found["k"] == 2 and found["before"]["pass"] == 0.5 and found["after"]["pass"] == pytest.approx(0.25)
    )  # 1 - C(7,2)/C(8,2)
    assert found["difference"]["pass"] == pytest.approx(found["after"]["pass"] - found["before"]["pass"])
    assert found["strata"]["z"]["after"]["pass"] == pytest.approx(0.25) and found["flips"]["first_solved"] == []
    assert "samples 2 and 8" in c["notes"][0]
