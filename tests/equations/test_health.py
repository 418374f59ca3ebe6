import math

import pytest
import torch

from scope_openrlhf.equations.batch import Rollouts, Signal
from scope_openrlhf.equations.health import (
    logit_gradient_square,
    overlap,
    path_health,
    spread,
    step_health,
    weight_health,
)
from scope_openrlhf.equations.losses import topk_kl, with_tail
from scope_openrlhf.equations.vocabulary import concentration_of, topk_logp

NAN = math.nan


def test_a_step_worked_by_hand():
    # two prompts with two rollouts of one token: right (PPL_S 2), wrong (PPL_S 4, PPL_T 8), wrong twice
    logp = lambda *p: torch.tensor([[math.log(1 / x)] for x in p])  # noqa: E731
    teacher = torch.cat([torch.full((1, 1), NAN), logp(8, 2, 2)])
    mask, right = torch.ones(4, 1, dtype=torch.bool), torch.tensor([True, False, False, False])
    truncated, prompt = torch.tensor([False, True, False, False]), torch.tensor([0, 0, 1, 1])
    r = Rollouts(logp(2, 4, 2, 2), teacher, mask, right, truncated, prompt)
    weight = torch.tensor([1.0, 1.0, 1.5, 0.5], dtype=torch.float64)
    signal = Signal(torch.zeros(4, 1), weight, torch.tensor([0, 1, 1, 1]))
    h = step_health(r, signal, ("student", "teacher"))
    assert (h["right"], h["wrong"]) == (1, 3)
    assert (h["groups_all_right"], h["groups_all_wrong"], h["groups_mixed"]) == (0.0, 0.5, 0.5)
    assert h["ppl_student_right"] == pytest.approx(2)
    assert h["ppl_teacher_wrong"] == pytest.approx((8 + 2 + 2) / 3)
    assert math.isnan(h["ppl_teacher_right"])  # never scored, and no number made up for it
    assert h["reverse_kl"] == pytest.approx((math.log(8 / 4) + 0 + 0) / 3)
    assert (h["rollouts_teacher"], h["truncated_teacher"], h["weight_max_teacher"]) == (3, pytest.approx(1 / 3), 1.5)


def test_weights_are_described_by_entropy_and_effective_sample_size():
    uniform = weight_health("p", torch.ones(4, dtype=torch.float64))
    assert uniform == pytest.approx({"weight_min_p": 1, "weight_max_p": 1, "weight_entropy_p": 1, "weight_ess_p": 1})
    one_takes_all = weight_health("p", torch.tensor([4.0, 0.0, 0.0, 0.0], dtype=torch.float64))
    assert one_takes_all["weight_ess_p"] == pytest.approx(0.25)
    assert one_takes_all["weight_entropy_p"] == pytest.approx(0)
    assert all(math.isnan(v) for v in weight_health("p", torch.zeros(0)).values())


def test_a_spread_is_mean_and_deciles():
    assert spread("x", torch.arange(11.0)) == pytest.approx({"x": 5, "x_p10": 1, "x_p90": 9})


@pytest.mark.parametrize("peak", [0.0, 8.0, 18.0])
@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_the_squared_gradient_at_the_logits_is_what_autograd_says_however_sure_the_student(peak, direction):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 300, generator=rng)
    logits[:, 7] += peak
    ids = torch.stack([torch.randperm(300, generator=rng)[:4] for _ in range(50)])
    # half of the teachers name the student's favourite
    ids[:25, 0] = torch.where((ids[:25] == 7).any(dim=1), ids[:25, 0], 7)
    teacher = with_tail(torch.rand(50, 300, generator=rng).log_softmax(-1).gather(1, ids))

    exact = logits.double().requires_grad_()
    ones = torch.ones(1, 50)
    topk_kl(topk_logp(exact, exact.logsumexp(-1), ids)[None], teacher[None].double(), ones, direction)[0].backward()
    student = topk_logp(logits, logits.logsumexp(-1), ids)[None].requires_grad_()
    topk_kl(student, teacher[None], ones, direction)[0].backward()
    concentration = concentration_of(logits.clone(), ids)
    square = logit_gradient_square(student.grad, student.detach(), concentration[None])
    # float32 knows no smaller one than the tolerance
    assert square.item() == pytest.approx((exact.grad**2).sum().item(), rel=1e-3, abs=1e-5)


def test_sums_by_path_become_means_over_its_tokens_and_shares_of_the_gradient():
    of_a = {"sum_tokens_a": 4.0, "sum_nll_a": 2.0, "sum_grad_a": 1.0}
    of_b = {"sum_tokens_b": 0.0, "sum_nll_b": 0.0, "sum_grad_b": 3.0}
    status = of_a | of_b | {"loss_a": 9.0}
    metrics = path_health(status, ("a", "b"))
    assert status == {"loss_a": 9.0}
    assert math.isnan(metrics.pop("nll_b"))  # no token, no mean
    assert metrics == {"nll_a": 0.5, "grad_share_a": 0.25, "grad_share_b": 0.75}


def test_the_teachers_time_is_the_union_of_its_answers_and_hidden_while_others_still_generate():
    # 1-3 and 2-4 cover 3 s, 6-8 covers 2 s; generation ends at 7
    assert overlap([(6, 8), (1, 3), (2, 4)], until=7) == (5, pytest.approx(4 / 5))
    assert overlap([], until=7)[0] == 0 and math.isnan(overlap([], until=7)[1])
