import math

import pytest
import torch

from scope_openrlhf.losses import clipped_surrogate, weighted_mle


def test_weighted_mle_sums_weighted_negative_log_probs():
    logp = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], requires_grad=True)
    loss = weighted_mle(logp, torch.tensor([[0.5, 0.5], [2.0, 0.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * 1 + 0.5 * 2 + 2 * 3)
    assert logp.grad.tolist() == [[-0.5, -0.5], [-2.0, 0.0]]


def test_the_surrogate_takes_the_smaller_gain_and_counts_what_it_clips():
    # ratios 1.5 and 0.5: with A = 1 the first is clipped at 1.2, with A = -1 the second is clipped at 0.8
    logp = torch.tensor([[math.log(1.5), math.log(0.5)]])
    loss, clipped = clipped_surrogate(logp, torch.zeros(1, 2), torch.tensor([[1.0, -1.0]]), torch.ones(1, 2), 0.2, 0.2)
    assert loss.item() == pytest.approx(-(1.2 - 0.8)) and clipped.item() == 2


def test_with_the_gap_as_advantage_its_gradient_is_that_of_the_sampled_reverse_kl():
    # at ratio 1 the gradient of -A * ratio is -A: log p is raised where the teacher likes the token more than the student did
    student, teacher = torch.tensor([[-1.0, -0.5]]), torch.tensor([[-0.25, -2.0]])
    logp = student.clone().requires_grad_()
    loss, _ = clipped_surrogate(logp, student, teacher - student, torch.ones(1, 2), 0.2, 0.2)
    loss.backward()
    assert logp.grad.tolist() == [[-0.75, 1.5]]
