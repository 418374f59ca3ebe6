"""Way from rollouts to weights, without any engine: what is dropped trains nothing and leaves its group."""

import math
from dataclasses import replace

import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.equations.batch import Rollouts
from scope_openrlhf.host.experience import weigh_kept


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


def test_a_step_whose_rollouts_are_all_dropped_is_an_error_that_says_what_to_do():
    with pytest.raises(
        ValueError,
        match=r"all 2 rollouts of a step were dropped \(0 of them truncated\).*set algorithm.truncated=wrong",
    ):
        weigh_kept(algorithms.load("scope"), group(math.nan, math.nan), torch.zeros(2, dtype=torch.bool))


@pytest.mark.parametrize("name", algorithms.known())
def test_no_algorithm_trains_on_a_student_log_prob_that_is_not_finite(name):
    r = group(2.0, 3.0)
    broken = replace(r, student_logp_NT=torch.tensor([[-1.0], [math.inf]]))
    with pytest.raises(ValueError, match=r"rows \[1\] hold a log-prob"):
        weigh_kept(algorithms.load(name), broken, torch.ones(2, dtype=torch.bool))
