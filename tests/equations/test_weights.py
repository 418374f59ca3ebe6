import math

import pytest
import torch

from scope_openrlhf.equations.weights import (
    group_leave_one_out,
    group_softmax,
    group_standardized,
    masked_mean,
    path_weights,
    require_finite,
)

HARD, SURE = 1, -1
"""Signs of the perplexity in the exponent: the student path's, and the teacher path's."""


def close(tensor, numbers):
    assert torch.allclose(tensor, torch.tensor(numbers, dtype=torch.float64), rtol=1e-6, atol=1e-12), tensor


def logp(*ppl: float) -> torch.Tensor:
    """Mean log-probs of rollouts of these perplexities."""
    return -torch.tensor(ppl, dtype=torch.float64).log()


def test_perplexity_is_the_exponential_of_the_mean_negative_log_prob_over_the_mask():
    logprobs = torch.tensor([[math.log(0.5), math.log(0.125), -9.0], [math.log(0.25), -9.0, -9.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    close((-masked_mean(logprobs, mask)).exp(), [4.0, 4.0])  # (1/2 * 1/8)^(-1/2) and (1/4)^-1


def test_an_empty_mask_and_a_missing_log_prob_name_their_row():
    logprobs, mask = torch.zeros(2, 2), torch.tensor([[1, 1], [0, 0]])
    everyone = torch.ones(2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"rows \[1\] hold a log-prob that is missing"):
        require_finite(masked_mean(logprobs, mask), everyone)
    require_finite(masked_mean(logprobs, mask), torch.tensor([True, False]))  # nobody needs the empty row
    logprobs[0, 1] = torch.nan
    with pytest.raises(ValueError, match=r"rows \[0\] hold a log-prob that is missing"):
        require_finite(masked_mean(logprobs, torch.ones(2, 2)), everyone)
    with pytest.raises(ValueError, match="must be the same"):
        masked_mean(logprobs, torch.ones(2, 3))


def test_hard_but_right_gets_more_and_an_unsure_teacher_gets_less():
    mean, group = logp(2.0, 1.0, 4.0, 1.0), torch.tensor([0, 0, 0, 0])
    right = torch.tensor([True, True, False, False])
    student = path_weights(mean, right, group, 1.0, HARD)
    close(student, [2 * 2 / 3, 2 * 1 / 3, 0, 0])
    close(student / 2, [2 / 3, 1 / 3, 0, 0])  # over the size of the set: as the paper prints it, with sum 1
    close(path_weights(mean, right, group, 0.5, HARD), [2 * 4 / 5, 2 * 1 / 5, 0, 0])  # tau 1/2 squares the ratio
    close(path_weights(mean, ~right, group, 1.0, SURE), [0, 0, 2 * (1 / 4) / (1 / 4 + 1), 2 * 1 / (1 / 4 + 1)])


def test_groups_come_in_any_order_and_singletons_weigh_one():
    group = torch.tensor([5, 2, 5, 2])
    member = torch.tensor([True, True, True, False])
    close(path_weights(logp(3.0, 1.0, 1.0, 7.0), member, group, 1.0, HARD), [2 * 3 / 4, 1.0, 2 * 1 / 4, 0])


def test_an_empty_set_has_no_weight():
    nobody = torch.zeros(3, dtype=torch.bool)
    close(path_weights(logp(1.0, 1.0, 1.0), nobody, torch.zeros(3, dtype=torch.long), 1.0, HARD), [0, 0, 0])


@pytest.mark.parametrize("tau", [1e-3, 1.0, 1e3])
def test_nothing_overflows_between_mean_log_probs_of_minus_ten_thousand_and_zero(tau):
    logprob = masked_mean(torch.tensor([[-1e4], [0.0], [-5.0]]), torch.ones(3, 1))
    weight = group_softmax(-logprob / tau, torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.long))
    assert weight.isfinite().all() and weight.sum().item() == pytest.approx(3.0)
    assert weight[0] == weight.max()


@pytest.mark.parametrize("tau", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nor_do_the_weights_of_either_path_whatever_the_dtype_of_the_log_probs(tau, dtype):
    mean = masked_mean(torch.tensor([[-1e4], [0.0], [-5.0]], dtype=dtype), torch.ones(3, 1))
    assert mean.dtype == torch.float64 and mean.isfinite().all() and mean[2].item() == -5
    everyone, group = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.long)
    student, teacher = (path_weights(mean, everyone, group, tau, sign) for sign in (HARD, SURE))
    assert student.sum().item() == pytest.approx(3) and student[0] == student.max()
    assert teacher.sum().item() == pytest.approx(3) and teacher[1] == teacher.max()
    assert student.dtype == torch.float64 and student.isfinite().all() and teacher.isfinite().all()


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan, math.inf])
def test_tau_must_be_positive(tau):
    with pytest.raises(ValueError, match="tau must be a finite number greater than 0"):
        path_weights(logp(1.0), torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.long), tau, HARD)


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_a_perplexity_that_is_not_finite_never_enters_a_weight_unless_it_is_off_the_path(missing):
    mean, group = torch.tensor([-math.log(2), missing]), torch.tensor([0, 0])
    close(path_weights(mean, torch.tensor([True, False]), group, 1.0, HARD), [1.0, 0.0])
    with pytest.raises(ValueError, match=r"rows \[1\] have an exponent that is not finite"):
        path_weights(mean, torch.tensor([True, True]), group, 1.0, HARD)


def test_what_is_not_one_number_of_each_rollout_is_refused():
    with pytest.raises(ValueError, match=r"must be the same \(N,\), got \(2,\), \(1,\), \(1,\)"):
        path_weights(logp(1.0, 1.0), torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.long), 1.0, HARD)


def test_a_reward_is_standardized_inside_its_group():
    # group 0: 1, 0, 0, 0 has mean 1/4 and sample deviation 1/2; group 1 has no contrast
    value, group = torch.tensor([1.0, 0, 1, 0, 0, 1]), torch.tensor([0, 0, 1, 0, 0, 1])
    close(group_standardized(value, group, eps=0.0)[[0, 1, 3, 4]], [1.5, -0.5, -0.5, -0.5])
    close(group_standardized(value, group, eps=1e-6)[[2, 5]], [0, 0])
    # what is left of a group that lost its others
    close(group_standardized(torch.ones(1), torch.tensor([3]), eps=0.0), [0])


def test_a_reward_is_compared_with_the_mean_of_the_others():
    # group 0: 1 - 0, 0 - 1/3; 1 and 7 are alone
    value, group = torch.tensor([1.0, 0, 1, 0, 0, 1]), torch.tensor([0, 0, 1, 0, 0, 7])
    close(group_leave_one_out(value, group), [1, -1 / 3, 0, -1 / 3, -1 / 3, 0])
