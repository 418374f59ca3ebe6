"""Way from rollouts to weights, without any engine: what is dropped trains nothing and leaves its group."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.equations.batch import Attempt, Rollouts
from scope_openrlhf.host.experience import collect_rollouts, nothing_left, weigh_kept
from scope_openrlhf.host.luggage import Scored
from scope_openrlhf.teacher.contract import TeacherError


def group(*ppl_T: float) -> Rollouts:
    """One group of wrong rollouts of one token with these teacher perplexities, NaN where the teacher was not asked."""
    num = len(ppl_T)
    teacher = -torch.tensor([[math.log(p)] for p in ppl_T])
    nobody = torch.zeros(num, dtype=torch.bool)
    mask, student = torch.ones(num, 1, dtype=torch.bool), -torch.ones(num, 1)
    return Rollouts(
        student,
        teacher,
        mask,
        nobody,
        nobody.clone(),
        torch.zeros(num).long(),
        context_logp={
            context: student for name in algorithms.known() for context in algorithms.load(name).asks.contexts
        },
    )


def test_a_dropped_rollout_is_on_no_path_and_leaves_its_groups_normalisation():
    signal, metrics = weigh_kept(algorithms.load("scope"), group(2.0, math.nan, 4.0), torch.tensor([True, False, True]))
    assert signal.path_N.tolist() == [1, -1, 1]
    # 1/2 and 1/4 over their sum, times 2: as if the dropped one had never been
    assert torch.allclose(signal.weight_N, torch.tensor([4 / 3, 0, 2 / 3], dtype=torch.float64))
    assert (metrics["rollouts"], metrics["dropped"], metrics["wrong"]) == (3, 1, 2)


@pytest.mark.parametrize("name", algorithms.known())
def test_every_algorithm_is_weighed_when_drops_leave_one_of_a_group(name):
    r = group(2.0, 3.0, 4.0)
    signal, metrics = weigh_kept(algorithms.load(name), r, torch.tensor([False, True, False]))
    assert signal.path_N[1] >= 0 and signal.weight_N.isfinite().all() and signal.advantage_NT.isfinite().all()
    assert metrics["dropped"] == 2


def dropped(row: str, score=None, undecided="", truncated=False) -> Scored:
    attempt = Attempt(Problem(id=row, prompt="1+1?", answer="2"), "", None, "drop", truncated)
    return Scored(attempt, score, 0.0, 0.0, undecided)


def test_a_step_whose_rollouts_are_all_dropped_says_how_many_for_which_reason_and_advises_on_no_other():
    slow, cut = dropped("train-7", undecided="not decided in 5 s of CPU time"), dropped("train-8", truncated=True)
    assert nothing_left([slow, slow]) == (
        "all 2 rollouts of a step were dropped, so there is nothing to train on: 2 because the grader could not decide "
        "(not decided in 5 s of CPU time); scope-grade audit says how the golds of rows train-7 are read"
    )
    assert nothing_left([cut, cut, cut]) == (
        "all 3 rollouts of a step were dropped, so there is nothing to train on: 3 because they were truncated, which "
        "algorithm.truncated=drop leaves out; raise openrlhf.rollout.max_new_tokens, or set algorithm.truncated=wrong"
    )
    silent = dropped("train-9", score=TeacherError("no replica answered"))
    assert nothing_left([silent, slow, silent]).endswith(
        "2 because the teacher gave no score; 1 because the grader could not decide (not decided in 5 s of CPU time); "
        "scope-grade audit says how the golds of rows train-7 are read; no replica answered"
    )
    assert "2 because their responses held no token" in nothing_left([dropped("train-6"), dropped("train-5")])
    of_contexts = replace(cut, attempt=replace(cut.attempt, route="wrong"))
    assert "1 because the teacher gave no score under the algorithm's contexts" in nothing_left([of_contexts])


@pytest.mark.parametrize("name", algorithms.known())
def test_an_empty_response_is_that_rollouts_matter_alone(name):
    mask = torch.tensor([[True, True], [False, False], [True, False], [True, True]])
    logp = -torch.ones(4, 2) * mask
    none = torch.full((2,), torch.nan)
    batch = SimpleNamespace(
        index=[0, 1, 2, 3], action_mask=mask, action_log_probs=logp, rewards=torch.tensor([1.0, 0, 0, 1]),
        truncated=torch.zeros(4), info={"teacher_log_probs": [none, none, -torch.ones(2), none], "dropped": [0.0] * 4},
    )  # fmt: skip
    r, dropped_N = collect_rollouts([batch], samples_per_prompt=4)
    assert dropped_N.tolist() == [False, True, False, False]
    everywhere = {"teacher_logp_NT": logp - 1} if name == "opd" else {}
    contexts = dict.fromkeys(algorithms.load(name).asks.contexts, logp - 2)
    signal, metrics = weigh_kept(algorithms.load(name), replace(r, context_logp=contexts, **everywhere), ~dropped_N)
    assert signal.path_N[1] == -1 and (signal.path_N[[0, 2, 3]] >= 0).all() and signal.advantage_NT.isfinite().all()
    assert (metrics["rollouts"], metrics["dropped"], metrics["right"], metrics["wrong"]) == (4, 1, 2, 1)


@pytest.mark.parametrize("name", algorithms.known())
def test_no_algorithm_trains_on_a_student_log_prob_that_is_not_finite(name):
    r = group(2.0, 3.0)
    broken = replace(r, student_logp_NT=torch.tensor([[-1.0], [math.inf]]))
    with pytest.raises(ValueError, match=r"rows \[1\] hold a log-prob"):
        weigh_kept(algorithms.load(name), broken, torch.ones(2, dtype=torch.bool))
