import math

import pytest
import torch

from scope_openrlhf.equations.weights import (
    group_leave_one_out,
    group_softmax,
    group_standardized,
    mean_logprob,
    perplexity,
    student_path_weights,
    teacher_path_weights,
)


def close(tensor, numbers):
    assert torch.allclose(tensor, torch.tensor(numbers, dtype=torch.float64), rtol=1e-6, atol=1e-12), tensor


def test_perplexity_is_the_exponential_of_the_mean_negative_log_prob_over_the_mask():
    logprobs = torch.tensor([[math.log(0.5), math.log(0.125), -9.0], [math.log(0.25), -9.0, -9.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    close(perplexity(logprobs, mask), [4.0, 4.0])  # (1/2 * 1/8)^(-1/2) and (1/4)^-1


def test_an_empty_mask_and_a_missing_log_prob_name_their_row():
    logprobs, mask = torch.zeros(2, 2), torch.tensor([[1, 1], [0, 0]])
    with pytest.raises(ValueError, match=r"rows \[1\] have no response token"):
        perplexity(logprobs, mask)
    logprobs[0, 1] = torch.nan
    with pytest.raises(ValueError, match=r"rows \[0\] hold a log-prob that is missing"):
        perplexity(logprobs, torch.ones(2, 2))
    with pytest.raises(ValueError, match="must be the same"):
        perplexity(logprobs, torch.ones(2, 3))


def test_hard_but_right_gets_more_and_an_unsure_teacher_gets_less():
    ppl, group = torch.tensor([2.0, 1.0, 4.0, 1.0]), torch.tensor([0, 0, 0, 0])
    right = torch.tensor([True, True, False, False])
    close(student_path_weights(ppl, right, group, tau=1.0), [2 * 2 / 3, 2 * 1 / 3, 0, 0])
    close(student_path_weights(ppl, right, group, tau=1.0, mean_one=False), [2 / 3, 1 / 3, 0, 0])
    close(student_path_weights(ppl, right, group, tau=0.5), [2 * 4 / 5, 2 * 1 / 5, 0, 0])  # tau 1/2 squares the ratio
    close(teacher_path_weights(ppl, ~right, group, tau=1.0), [0, 0, 2 * (1 / 4) / (1 / 4 + 1), 2 * 1 / (1 / 4 + 1)])


def test_groups_come_in_any_order_and_singletons_weigh_one():
    ppl = torch.tensor([3.0, 1.0, 1.0, 7.0])
    group = torch.tensor([5, 2, 5, 2])
    member = torch.tensor([True, True, True, False])
    close(student_path_weights(ppl, member, group, tau=1.0), [2 * 3 / 4, 1.0, 2 * 1 / 4, 0])


def test_an_empty_set_has_no_weight():
    nobody = torch.zeros(3, dtype=torch.bool)
    close(student_path_weights(torch.ones(3), nobody, torch.zeros(3, dtype=torch.long), tau=1.0), [0, 0, 0])


@pytest.mark.parametrize("tau", [1e-3, 1.0, 1e3])
def test_nothing_overflows_between_mean_log_probs_of_minus_ten_thousand_and_zero(tau):
    logprob = mean_logprob(torch.tensor([[-1e4], [0.0], [-5.0]]), torch.ones(3, 1))
    weight = group_softmax(-logprob / tau, torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.long))
    assert weight.isfinite().all() and weight.sum().item() == pytest.approx(3.0)
    assert weight[0] == weight.max()


@pytest.mark.parametrize("tau", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nor_do_the_perplexities_themselves(tau, dtype):
    ppl = perplexity(torch.tensor([[-1e4], [0.0], [-5.0]], dtype=dtype), torch.ones(3, 1))
    assert ppl.dtype == torch.float64 and ppl.isfinite().all() and ppl[2].item() == pytest.approx(math.exp(5))
    everyone, group = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.long)
    student, teacher = (f(ppl, everyone, group, tau) for f in (student_path_weights, teacher_path_weights))
    assert student.sum().item() == pytest.approx(3) and student[0] == student.max()
    assert teacher.sum().item() == pytest.approx(3) and teacher[1] == teacher.max()


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan, math.inf])
def test_tau_must_be_positive(tau):
    with pytest.raises(ValueError, match="tau must be a finite number greater than 0"):
        student_path_weights(torch.ones(1), torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.long), tau=tau)


def test_a_perplexity_that_is_not_finite_never_enters_a_weight_unless_it_is_off_the_path():
    ppl, group = torch.tensor([2.0, torch.nan]), torch.tensor([0, 0])
    close(student_path_weights(ppl, torch.tensor([True, False]), group, tau=1.0), [1.0, 0.0])
    with pytest.raises(ValueError, match=r"ppl of rows \[1\] is not a finite positive number"):
        student_path_weights(ppl, torch.tensor([True, True]), group, tau=1.0)


def test_a_reward_is_standardized_inside_its_group():
    # group 0: 1, 0, 0, 0 has mean 1/4 and sample deviation 1/2; group 1 has no contrast
    value, group = torch.tensor([1.0, 0, 1, 0, 0, 1]), torch.tensor([0, 0, 1, 0, 0, 1])
    close(group_standardized(value, group, eps=0.0)[[0, 1, 3, 4]], [1.5, -0.5, -0.5, -0.5])
    close(group_standardized(value, group, eps=1e-6)[[2, 5]], [0, 0])
    close(
        group_standardized(torch.ones(1), torch.tensor([3]), eps=0.0), [0]
    )  # what is left of a group that lost its others


def test_a_reward_is_compared_with_the_mean_of_the_others():
    value, group = torch.tensor([1.0, 0, 1, 0, 0, 1]), torch.tensor([0, 0, 1, 0, 0, 7])
    close(
        group_leave_one_out(value, group), [1, -1 / 3, 0, -1 / 3, -1 / 3, 0]
    )  # group 0: 1 - 0, 0 - 1/3; 1 and 7 are alone
