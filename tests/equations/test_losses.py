import math

import pytest
import torch

from scope_openrlhf.equations.losses import (
    clipped_surrogate,
    reverse_kl,
    topk_kl,
    weighted_mle,
    with_tail,
)
from scope_openrlhf.equations.vocabulary import topk_logp


def test_weighted_mle_sums_weighted_negative_log_probs():
    logp = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], requires_grad=True)
    loss, sums = weighted_mle(logp, torch.tensor([[0.5, 0.5], [2.0, 0.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * 1 + 0.5 * 2 + 2 * 3)
    assert logp.grad.tolist() == [[-0.5, -0.5], [-2.0, 0.0]]
    assert sums["nll"].item() == 1 + 2 + 3  # the fourth token is off the path


def test_the_surrogate_takes_the_smaller_gain_and_counts_what_it_clips():
    # ratios 1.5 and 0.5: with A = 1 the first is clipped at 1.2, with A = -1 the second is clipped at 0.8
    logp = torch.tensor([[math.log(1.5), math.log(0.5)]])
    loss, sums = clipped_surrogate(logp, torch.zeros(1, 2), torch.tensor([[1.0, -1.0]]), torch.ones(1, 2), 0.2, 0.2)
    assert loss.item() == pytest.approx(-(1.2 - 0.8)) and sums["clip_ratio"].item() == 2


def test_with_the_gap_as_advantage_its_gradient_is_that_of_the_sampled_reverse_kl():
    # at ratio 1 the gradient of -A * ratio is -A: log p is raised where the teacher likes the token more than the
    # student did
    student, teacher = torch.tensor([[-1.0, -0.5]]), torch.tensor([[-0.25, -2.0]])
    logp = student.clone().requires_grad_()
    loss, _ = clipped_surrogate(logp, student, teacher - student, torch.ones(1, 2), 0.2, 0.2)
    loss.backward()
    assert logp.grad.tolist() == [[-0.75, 1.5]]


def test_k2_and_k3_worked_by_hand_and_k2_has_the_gradient_of_the_reverse_kl():
    # d = log p_S - log p_T = log 2 at the first token; the second is off the path and its teacher is missing
    logp, teacher = torch.log(torch.tensor([[0.5, 0.5]])).requires_grad_(), torch.tensor([[math.log(0.25), math.nan]])
    weight = torch.tensor([[2.0, 0.0]])
    k2, sums = reverse_kl(logp, teacher, weight, "k2")
    k2.backward()
    assert k2.item() == pytest.approx(2 * math.log(2) ** 2 / 2)
    assert sums["kl"].item() == pytest.approx(math.log(2) ** 2 / 2)
    assert logp.grad.tolist() == [[pytest.approx(2 * math.log(2)), 0.0]]  # w * d, as the policy gradient's -w * A
    assert reverse_kl(logp, teacher, weight, "k3")[0].item() == pytest.approx(2 * (0.5 - 1 + math.log(2)))


def test_k3_is_finite_and_never_stops_pushing_away_what_the_teacher_rejects():
    # the teacher is sure of the first token and rejects the second
    logp = torch.tensor([[-200.0, 0.0]]).requires_grad_()
    loss, _ = reverse_kl(logp, torch.tensor([[0.0, -25.0]]), torch.ones(1, 2), "k3")
    loss.backward()
    assert loss.isfinite() and logp.grad[0, 0].isfinite() and logp.grad[0, 1].item() == pytest.approx(1)


def test_k1_as_a_loss_is_refused_because_it_holds_no_teacher():
    one = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="does not depend on the teacher"):
        reverse_kl(one, one, one, "k1")
    with pytest.raises(ValueError, match="must be k2 or k3"):
        reverse_kl(one, one, one, "k4")


def test_a_top_k_kl_counts_the_tail_as_one_bucket():
    # over (a, b, rest); the second position is off the path and was never scored
    of_student, of_teacher, unscored = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [math.nan] * 3
    student, teacher = (torch.tensor([[position, unscored]]).log() for position in (of_student, of_teacher))
    weight = torch.tensor([[3.0, 0.0]])
    reverse, sums = topk_kl(student.requires_grad_(), teacher, weight, "reverse")
    reverse.backward()
    assert reverse.item() == pytest.approx(3 * (0.5 * math.log(2) + 0.25 * math.log(0.5)))
    assert sums["kl"].item() == pytest.approx(reverse.item() / 3) and sums["student_tail"].item() == pytest.approx(0.25)
    assert student.grad[0, 0].isfinite().all() and not student.grad[0, 1].any()
    forward = topk_kl(student, teacher, weight, "forward")[0].item()
    assert forward == pytest.approx(3 * (0.25 * math.log(0.5) + 0.5 * math.log(2)))
    assert topk_kl(student, student, weight, "reverse")[0].item() == pytest.approx(0)
    with pytest.raises(ValueError, match="must be reverse, forward or jsd"):
        topk_kl(student, teacher, weight, "sideways")


def test_the_bucket_pulls_mass_back_however_little_the_student_left_in_it():
    # forward KL, teacher .4 .3 and .3 for the rest: the exact gradient at the logits of the rest is their share of
    # p_S(rest) - .3
    teacher = with_tail(torch.tensor([[[0.4, 0.3]]]).log())
    for gap in (5.0, 15.0, 25.0):
        logits = torch.tensor([[0.0, 0.0, -gap, -gap]]).requires_grad_()
        student = topk_logp(logits, logits.logsumexp(-1), torch.tensor([[0, 1]]))
        assert student.exp().sum().item() == pytest.approx(1)
        topk_kl(student[None], teacher, torch.ones(1, 1), "forward")[0].backward()
        first, second, rest = (student[0].exp() - torch.tensor([0.4, 0.3, 0.3])).tolist()
        assert logits.grad[0].tolist() == pytest.approx([first, second, rest / 2, rest / 2])


def test_a_teacher_whose_top_k_hold_all_the_mass_keeps_the_loss_finite():
    logits = torch.zeros(1, 4).requires_grad_()
    student = topk_logp(logits, logits.logsumexp(-1), torch.tensor([[0, 1]]))
    teacher = with_tail(torch.tensor([[[0.9, 0.1]]]).log())
    for direction in ("forward", "reverse"):
        assert topk_kl(student[None], teacher, torch.ones(1, 1), direction)[0].isfinite()
