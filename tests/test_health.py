import math

import pytest
import torch

from scope_openrlhf.batch import Rollouts, Signal
from scope_openrlhf.health import spread, step_health, weight_health

NAN = math.nan


def test_a_step_worked_by_hand():
    # two prompts with two rollouts of one token: right (PPL_S 2), wrong (PPL_S 4, PPL_T 8), wrong twice
    logp = lambda *p: torch.tensor([[math.log(1 / x)] for x in p])  # noqa: E731
    teacher = torch.cat([torch.full((1, 1), NAN), logp(8, 2, 2)])
    r = Rollouts(logp(2, 4, 2, 2), teacher, torch.ones(4, 1, dtype=torch.bool), torch.tensor([True, False, False, False]),
                 torch.tensor([False, True, False, False]), torch.tensor([0, 0, 1, 1]))  # fmt: skip
    signal = Signal(torch.zeros(4, 1), torch.tensor([1.0, 1.0, 1.5, 0.5], dtype=torch.float64), torch.tensor([0, 1, 1, 1]))
    h = step_health(r, signal, ("student", "teacher"))
    assert (h["rollouts"], h["right"], h["wrong"], h["truncated"]) == (4, 1, 3, 1)
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
