"""The contract, held against every file in algorithms/, found by itself."""

import dataclasses
import math
import pickle

import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.batch import LossInput, Rollouts

NAN = math.nan


def rollouts(algorithm, seed=0, groups=3, n=4, width=6) -> Rollouts:
    """Twelve rollouts, every third one right; the teacher's rows are NaN where the algorithm asks for no score."""
    rng = torch.Generator().manual_seed(seed)
    num = groups * n
    lengths = torch.randint(1, width + 1, (num,), generator=rng)
    mask = torch.arange(width)[None] < lengths[:, None]
    right = torch.arange(num) % 3 == 0
    student = -torch.rand(num, width, generator=rng) * mask
    asked = torch.tensor([algorithm.needs_teacher(bool(x)) for x in right])
    teacher = (-torch.rand(num, width, generator=rng) * 3).masked_fill(~asked[:, None], NAN)
    return Rollouts(student, teacher, mask, right, torch.zeros(num, dtype=torch.bool), torch.arange(num) // n)


def loss_input(r: Rollouts, signal, logp) -> LossInput:
    weight_NT = signal.weight_N[:, None].float() * r.mask_NT
    return LossInput(logp, r.student_logp_NT, signal.advantage_NT, weight_NT, signal.path_N)


def total(sums: dict) -> torch.Tensor:
    return torch.stack(list(sums.values())).sum()


def every(test):
    return pytest.mark.parametrize("name", algorithms.known())(test)


@every
def test_masked_positions_change_nothing(name):
    algorithm = algorithms.load(name)
    r = rollouts(algorithm)
    logp = r.student_logp_NT + 0.1
    before = total(algorithm.loss(loss_input(r, algorithm.weigh(r), logp))[0])
    noise = torch.where(r.mask_NT, 0.0, 5.0)
    noisy = dataclasses.replace(r, student_logp_NT=r.student_logp_NT + noise, teacher_logp_NT=r.teacher_logp_NT - noise)
    after = total(algorithm.loss(loss_input(noisy, algorithm.weigh(noisy), logp - noise))[0])
    assert after.item() == pytest.approx(before.item(), rel=1e-6)


@every
def test_two_halves_equal_the_whole(name):
    algorithm = algorithms.load(name)
    r = rollouts(algorithm)
    batch = loss_input(r, algorithm.weigh(r), r.student_logp_NT + 0.1)
    halves = [LossInput(*(getattr(batch, f.name)[rows] for f in dataclasses.fields(batch))) for rows in (slice(0, 5), slice(5, None))]
    whole, (first, second) = algorithm.loss(batch)[0], [algorithm.loss(h)[0] for h in halves]
    for path in algorithm.paths:
        assert whole[path].item() == pytest.approx((first[path] + second[path]).item(), rel=1e-5, abs=1e-6)


@every
def test_the_gradient_is_finite_and_zero_off_the_mask(name):
    algorithm = algorithms.load(name)
    r = rollouts(algorithm)
    logp = r.student_logp_NT.clone().requires_grad_()
    total(algorithm.loss(loss_input(r, algorithm.weigh(r), logp))[0]).backward()
    assert logp.grad.isfinite().all() and (logp.grad[~r.mask_NT] == 0).all() and (logp.grad != 0).any()


@every
@pytest.mark.parametrize("right", [True, False])
def test_groups_that_are_all_right_or_all_wrong_are_weighed(name, right):
    algorithm = algorithms.load(name)
    r = rollouts(algorithm)
    teacher = -torch.ones_like(r.student_logp_NT) if algorithm.needs_teacher(right) else torch.full_like(r.student_logp_NT, NAN)
    r = dataclasses.replace(r, right_N=torch.full_like(r.right_N, right), teacher_logp_NT=teacher)
    signal = algorithm.weigh(r)
    assert signal.weight_N.isfinite().all() and signal.advantage_NT.isfinite().all()
    assert (signal.path_N < len(algorithm.paths)).all()


@every
def test_it_pickles_and_keeps_its_knobs(name):
    algorithm = algorithms.load(name, normalize="sequences")
    assert pickle.loads(pickle.dumps(algorithm)).config == algorithm.config


@every
def test_an_unknown_knob_is_refused_by_name(name):
    with pytest.raises(ValueError, match="unknown key algorithm.normalise; did you mean 'normalize'"):
        algorithms.load(name, normalise="tokens")


def test_an_unknown_algorithm_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no algorithm 'ppo'; known: .*scope"):
        algorithms.load("ppo")


def test_scope_routes_and_weighs_a_group_worked_by_hand():
    # one group: two right (PPL_S 2 and 4), two wrong (PPL_T 2 and 8); one token each
    logp = lambda *p: torch.tensor([[math.log(x)] for x in p])  # noqa: E731
    r = Rollouts(logp(1 / 2, 1 / 4, 1 / 2, 1 / 2), torch.cat([torch.full((2, 1), NAN), logp(1 / 2, 1 / 8)]), torch.ones(4, 1, dtype=torch.bool),
                 torch.tensor([True, True, False, False]), torch.zeros(4, dtype=torch.bool), torch.zeros(4, dtype=torch.long))  # fmt: skip
    scope = algorithms.load("scope")
    signal = scope.weigh(r)
    assert signal.path_N.tolist() == [0, 0, 1, 1]
    assert signal.weight_N.tolist() == pytest.approx([2 * 2 / 6, 2 * 4 / 6, 2 * (1 / 2) / (5 / 8), 2 * (1 / 8) / (5 / 8)])
    assert signal.advantage_NT.flatten().tolist() == pytest.approx([0, 0, 0, math.log(1 / 4)])
    sums, _ = scope.loss(loss_input(r, signal, r.student_logp_NT))
    assert sums["student"].item() == pytest.approx(2 / 3 * math.log(2) + 4 / 3 * math.log(4))
    assert sums["teacher"].item() == pytest.approx(-0.4 * math.log(1 / 4))  # ratio 1: -w * A


@pytest.mark.parametrize(
    ("knobs", "student", "teacher"),
    [
        ({}, [0.2602, 1.7398], [1.7398, 0.2602]),
        ({"preset": "released"}, [1.7398, 0.2602], [1.7398, 0.2602]),  # numbers of the published code for the same log-probs
        ({"preset": "released", "student_ppl_sign": 1, "teacher_ppl_sign": 1}, [0.2602, 1.7398], [0.2602, 1.7398]),
        ({"student_path_weights": False}, [1.0, 1.0], [1.7398, 0.2602]),
        ({"teacher_path_weights": False}, [0.2602, 1.7398], [1.0, 1.0]),
    ],
)
def test_the_presets_and_switches_change_what_they_say(knobs, student, teacher):
    # one group; mean log-probs -0.1 and -2.0 on each path, tau 1: softmax(-0.1, -2.0) * 2 = 1.7398, 0.2602
    logp = torch.tensor([[-0.1], [-2.0], [-0.1], [-2.0]])
    right = torch.tensor([True, True, False, False])
    r = Rollouts(
        logp, logp.masked_fill(right[:, None], NAN), torch.ones(4, 1, dtype=torch.bool), right, ~right & False, torch.zeros(4).long()
    )
    weight = algorithms.load("scope", **knobs).weigh(r).weight_N.tolist()
    assert weight == pytest.approx(student + teacher, abs=1e-4)


def test_scope_refuses_a_wrong_rollout_that_the_teacher_did_not_score():
    r = rollouts(algorithms.load("scope"))
    with pytest.raises(ValueError, match="missing or not finite"):
        algorithms.load("scope").weigh(dataclasses.replace(r, teacher_logp_NT=torch.full_like(r.teacher_logp_NT, NAN)))


def test_opd_distils_every_rollout_alike_and_refuses_a_missing_score():
    opd = algorithms.load("opd")
    assert opd.needs_teacher(True) and opd.needs_teacher(False) and not opd.uses_groups
    r = rollouts(opd)
    signal = opd.weigh(r)
    assert signal.weight_N.unique().tolist() == [1.0]
    assert torch.equal(signal.advantage_NT[r.mask_NT], (r.teacher_logp_NT - r.student_logp_NT)[r.mask_NT])
    r.teacher_logp_NT[4] = NAN
    with pytest.raises(ValueError, match=r"rows \[4\] hold a log-prob that is missing"):
        opd.weigh(r)


def test_grpo_needs_no_teacher_and_gives_every_token_its_rollouts_advantage():
    grpo = algorithms.load("grpo", eps=0.0)
    assert not grpo.uses_teacher and not grpo.needs_teacher(False)
    r = rollouts(grpo)  # group 0: right, wrong, wrong, right -> mean 1/2, sample deviation 1/sqrt(3)
    signal = grpo.weigh(r)
    for i, sign in enumerate((1, -1, -1, 1)):
        assert signal.advantage_NT[i][r.mask_NT[i]].tolist() == pytest.approx([sign * math.sqrt(3) / 2] * int(r.mask_NT[i].sum()))


@pytest.mark.parametrize(
    "knobs", [{"tau": 0}, {"tau": -1.0}, {"clip_low": 1.0}, {"normalize": "batch"}, {"preset": "mine"}, {"student_ppl_sign": 2}]
)
def test_scope_refuses_a_knob_that_cannot_work(knobs):
    with pytest.raises(ValueError, match=f"algorithm.{next(iter(knobs))}"):
        algorithms.load("scope", **knobs)
