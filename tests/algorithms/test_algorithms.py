"""The contract, held against every file in algorithms/, found by itself."""

import dataclasses
import math
import pickle

import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.equations.batch import Attempt, LossInput, Rollouts, TopK
from scope_openrlhf.equations.losses import with_tail

NAN = math.nan


def rollouts(algorithm, seed=0, groups=3, n=4, width=6) -> Rollouts:
    """Twelve rollouts, every third one right; the teacher's rows are NaN where the algorithm asks for no score."""
    rng = torch.Generator().manual_seed(seed)
    num = groups * n
    lengths = torch.randint(1, width + 1, (num,), generator=rng)
    mask = torch.arange(width)[None] < lengths[:, None]
    right = torch.arange(num) % 3 == 0
    student = -torch.rand(num, width, generator=rng) * mask
    asked = torch.tensor([("right" if x else "wrong") in algorithm.asks.teacher_scores for x in right])
    teacher = (-torch.rand(num, width, generator=rng) * 3).masked_fill(~asked[:, None], NAN)
    contexts = {name: -torch.rand(num, width, generator=rng) * mask for name in algorithm.asks.contexts}
    return Rollouts(
        student, teacher, mask, right, torch.zeros(num, dtype=torch.bool), torch.arange(num) // n, context_logp=contexts
    )


def loss_input(r: Rollouts, signal, logp) -> LossInput:
    weight_NT = signal.weight_N[:, None].float() * r.mask_NT
    return LossInput(logp, r.student_logp_NT, signal.advantage_NT, weight_NT, signal.path_N)


def total(losses: dict) -> torch.Tensor:
    return torch.stack([loss for loss, _ in losses.values()]).sum()


def variants() -> list[dict]:
    """Every file in algorithms/ with its defaults, and the distillation losses that a knob chooses."""
    distil = [{"name": name, "divergence": d} for name in ("opd", "sdpo") for d in ("k2", "k3")]
    return [{"name": name} for name in algorithms.known()] + distil


every = pytest.mark.parametrize("variant", variants(), ids=lambda v: "-".join(v.values()))


@every
def test_masked_positions_change_nothing(variant):
    algorithm = algorithms.load(**variant)
    r = rollouts(algorithm)
    logp = r.student_logp_NT + 0.1
    before = total(algorithm.loss(loss_input(r, algorithm.weigh(r), logp)))
    noise = torch.where(r.mask_NT, 0.0, 5.0)
    contexts = {name: logp_NT + noise for name, logp_NT in r.context_logp.items()}
    noisy = dataclasses.replace(
        r, student_logp_NT=r.student_logp_NT + noise, teacher_logp_NT=r.teacher_logp_NT - noise, context_logp=contexts
    )
    after = total(algorithm.loss(loss_input(noisy, algorithm.weigh(noisy), logp - noise)))
    assert after.item() == pytest.approx(before.item(), rel=1e-6)


@every
def test_two_halves_equal_the_whole(variant):
    algorithm = algorithms.load(**variant)
    r = rollouts(algorithm)
    batch = loss_input(r, algorithm.weigh(r), r.student_logp_NT + 0.1)
    tensors = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch) if f.name != "topk"}
    halves = [LossInput(**{name: t[rows] for name, t in tensors.items()}) for rows in (slice(0, 5), slice(5, None))]
    whole, first, second = (algorithm.loss(b) for b in (batch, *halves))
    for path in algorithm.paths:
        assert whole[path][0].item() == pytest.approx((first[path][0] + second[path][0]).item(), rel=1e-5, abs=1e-6)
        for metric, value in whole[path][1].items():
            assert float(value) == pytest.approx(
                float(first[path][1][metric] + second[path][1][metric]), rel=1e-5, abs=1e-6
            )


@every
def test_the_gradient_is_finite_and_zero_off_the_mask(variant):
    algorithm = algorithms.load(**variant)
    r = rollouts(algorithm)
    logp = r.student_logp_NT.clone().requires_grad_()
    total(algorithm.loss(loss_input(r, algorithm.weigh(r), logp))).backward()
    assert logp.grad.isfinite().all() and (logp.grad[~r.mask_NT] == 0).all() and (logp.grad != 0).any()


@every
@pytest.mark.parametrize("right", [True, False])
def test_groups_that_are_all_right_or_all_wrong_are_weighed(variant, right):
    algorithm = algorithms.load(**variant)
    r = rollouts(algorithm)
    asked = ("right" if right else "wrong") in algorithm.asks.teacher_scores
    teacher = torch.full_like(r.student_logp_NT, -1.0 if asked else NAN)
    r = dataclasses.replace(r, right_N=torch.full_like(r.right_N, right), teacher_logp_NT=teacher)
    signal = algorithm.weigh(r)
    assert signal.weight_N.isfinite().all() and signal.advantage_NT.isfinite().all()
    assert (signal.path_N < len(algorithm.paths)).all()


@every
def test_it_pickles_and_keeps_its_knobs(variant):
    algorithm = algorithms.load(**variant, normalize="sequences")
    assert pickle.loads(pickle.dumps(algorithm)).knobs == algorithm.knobs


@every
def test_an_unknown_knob_is_refused_by_name(variant):
    with pytest.raises(ValueError, match="unknown key algorithm.normalise; did you mean 'normalize'"):
        algorithms.load(**variant, normalise="tokens")


@every
def test_every_context_has_a_hint(variant):
    algorithm = algorithms.load(**variant)
    problem = Problem(id="a", prompt="1+1?", answer="2", trace="1+1=2;")
    group = [Attempt(problem, f"\\boxed{{{n}}}", n, way) for n, way in (("3", "wrong"), ("2", "right"))]
    assert all(algorithm.hint(context, 0, group) for context in algorithm.asks.contexts)


def test_an_unknown_algorithm_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no algorithm 'ppo'; known: .*scope"):
        algorithms.load("ppo")


def test_scope_routes_and_weighs_a_group_worked_by_hand():
    # one group: two right (PPL_S 2 and 4), two wrong (PPL_T 2 and 8); one token each
    logp = lambda *p: torch.tensor([[math.log(x)] for x in p])  # noqa: E731
    teacher = torch.cat([torch.full((2, 1), NAN), logp(1 / 2, 1 / 8)])
    mask, right = torch.ones(4, 1, dtype=torch.bool), torch.tensor([True, True, False, False])
    r = Rollouts(logp(1 / 2, 1 / 4, 1 / 2, 1 / 2), teacher, mask, right, right & False, torch.zeros(4).long())
    scope = algorithms.load("scope")
    signal = scope.weigh(r)
    assert signal.path_N.tolist() == [0, 0, 1, 1]
    assert signal.weight_N.tolist() == pytest.approx(
        [2 * 2 / 6, 2 * 4 / 6, 2 * (1 / 2) / (5 / 8), 2 * (1 / 8) / (5 / 8)]
    )
    assert signal.advantage_NT.flatten().tolist() == pytest.approx([0, 0, 0, math.log(1 / 4)])
    sums = {path: loss for path, (loss, _) in scope.loss(loss_input(r, signal, r.student_logp_NT)).items()}
    assert sums["student"].item() == pytest.approx(2 / 3 * math.log(2) + 4 / 3 * math.log(4))
    assert sums["teacher"].item() == pytest.approx(-0.4 * math.log(1 / 4))  # ratio 1: -w * A


@pytest.mark.parametrize(
    ("knobs", "student", "teacher"),
    [
        ({}, [0.2602, 1.7398], [1.7398, 0.2602]),
        # numbers of the published code for the same log-probs
        ({"preset": "released"}, [1.7398, 0.2602], [1.7398, 0.2602]),
        ({"preset": "released", "student_ppl_sign": 1, "teacher_ppl_sign": 1}, [0.2602, 1.7398], [0.2602, 1.7398]),
        ({"student_path_weights": False}, [1.0, 1.0], [1.7398, 0.2602]),
        ({"sequence_weights": False}, [1.0, 1.0], [1.0, 1.0]),
        ({"teacher_path_weights": False}, [0.2602, 1.7398], [1.0, 1.0]),
    ],
)
def test_the_presets_and_switches_change_what_they_say(knobs, student, teacher):
    # one group; mean log-probs -0.1 and -2.0 on each path, tau 1: softmax(-0.1, -2.0) * 2 = 1.7398, 0.2602
    logp = torch.tensor([[-0.1], [-2.0], [-0.1], [-2.0]])
    right = torch.tensor([True, True, False, False])
    teacher_logp, mask = logp.masked_fill(right[:, None], NAN), torch.ones(4, 1, dtype=torch.bool)
    r = Rollouts(logp, teacher_logp, mask, right, ~right & False, torch.zeros(4).long())
    weight = algorithms.load("scope", **knobs).weigh(r).weight_N.tolist()
    assert weight == pytest.approx(student + teacher, abs=1e-4)


def test_scope_refuses_a_wrong_rollout_that_the_teacher_did_not_score():
    r = rollouts(algorithms.load("scope"))
    with pytest.raises(ValueError, match="missing or not finite"):
        algorithms.load("scope").weigh(dataclasses.replace(r, teacher_logp_NT=torch.full_like(r.teacher_logp_NT, NAN)))


def test_opd_distils_every_rollout_alike_and_refuses_a_missing_score():
    opd = algorithms.load("opd")
    assert opd.asks.teacher_scores == ("right", "wrong") and opd.asks.teacher and not opd.uses_groups
    r = rollouts(opd)
    signal = opd.weigh(r)
    assert signal.weight_N.unique().tolist() == [1.0]
    assert torch.equal(signal.advantage_NT[r.mask_NT], (r.teacher_logp_NT - r.student_logp_NT)[r.mask_NT])
    teacher = r.teacher_logp_NT.clone()
    teacher[4] = NAN
    with pytest.raises(ValueError, match=r"rows \[4\] hold a log-prob that is missing"):
        opd.weigh(dataclasses.replace(r, teacher_logp_NT=teacher))


def test_grpo_needs_no_teacher_and_gives_every_token_its_rollouts_advantage():
    grpo = algorithms.load("grpo", eps=0.0)
    assert not grpo.asks.teacher and grpo.asks.teacher_scores == ()
    r = rollouts(grpo)  # group 0: right, wrong, wrong, right -> mean 1/2, sample deviation 1/sqrt(3)
    signal = grpo.weigh(r)
    for i, sign in enumerate((1, -1, -1, 1)):
        assert signal.advantage_NT[i][r.mask_NT[i]].tolist() == pytest.approx(
            [sign * math.sqrt(3) / 2] * int(r.mask_NT[i].sum())
        )


def test_released_gives_the_weights_of_the_published_code_on_a_group_of_eight():
    # numbers that the published function gave for these mean log-probs, rewards 1 1 1 0 0 0 0 0, both its signs
    # positive, tau 0.7
    student = [-0.31, -0.05, -0.92, -0.4, -0.11, -1.7, -0.6, -0.2]
    teacher = [-1.0, -2.0, -0.5, -0.8, -3.1, -0.02, -1.4, -0.75]
    group_of_8 = torch.tensor(student)[:, None], torch.tensor(teacher)[:, None]
    right = torch.arange(8) < 3
    r = Rollouts(*group_of_8, torch.ones(8, 1, dtype=torch.bool), right, right & False, torch.zeros(8).long())
    weight = algorithms.load("scope", preset="released", tau=0.7).weigh(r).weight_N.tolist()
    assert weight == pytest.approx(
        [1.045968, 1.516448, 0.437584, 0.895541, 0.033506, 2.729063, 0.380043, 0.961848], abs=1e-5
    )


def test_rloo_and_reinforce_baseline_worked_by_hand():
    r = rollouts(algorithms.load("rloo"))  # group 0: right, wrong, wrong, right
    rloo = algorithms.load("rloo").weigh(r).advantage_NT[:4, 0].tolist()
    assert rloo == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])
    # rewards minus group means 1/2, 1/4, 1/4, then whitened over tokens
    centred = torch.tensor([0.5, -0.5, -0.5, 0.5, -0.25, -0.25, 0.75, -0.25, -0.25, 0.75, -0.25, -0.25])
    assert r.right_N.tolist() == (centred > 0).tolist()
    a = algorithms.load("reinforce_baseline").weigh(r).advantage_NT[r.mask_NT]
    assert a.mean().item() == pytest.approx(0, abs=1e-6) and a.std(correction=0).item() == pytest.approx(1, rel=1e-5)
    spread = algorithms.load("reinforce_baseline").weigh(r).advantage_NT[:, 0]
    gap = (spread[6] - spread[4]) / (spread[0] - spread[1])
    assert gap.item() == pytest.approx(1.0)  # both gaps are 1 before the whitening


def hinted(r: Rollouts, by: float, step: int = 0) -> Rollouts:
    """The same rollouts, each token `by` nats likelier once the student knows the answer."""
    return dataclasses.replace(r, context_logp={"with_answer": r.student_logp_NT + by}, step=step)


def test_rlsd_spreads_grpos_advantage_and_becomes_grpo_when_its_schedule_ends():
    rlsd, grpo = algorithms.load("rlsd", mix=0.5, mix_steps=50, clip_weight=0.2), algorithms.load("grpo")
    r = rollouts(rlsd)
    plain = grpo.weigh(r).advantage_NT
    up = rlsd.weigh(hinted(r, math.log(1.1)))
    # w = 1.1 where A > 0 and 1/1.1 where A < 0; (1 - 1/2) + 1/2 * w
    assert torch.allclose(up.advantage_NT, plain * torch.where(plain > 0, 1.05, 0.5 + 0.5 / 1.1))
    clipped = rlsd.weigh(hinted(r, 3.0))  # at 1 +- 0.2
    assert torch.allclose(clipped.advantage_NT, plain * torch.where(plain > 0, 1.1, 0.9))
    assert rlsd.weigh(hinted(r, 3.0, step=25)).metrics["mix"] == 0.25
    assert torch.equal(rlsd.weigh(hinted(r, 3.0, step=50)).advantage_NT, plain)
    assert torch.equal(rlsd.weigh(hinted(r, 0.0)).advantage_NT, plain)


def test_rlsd_shows_the_gold_answer_and_refuses_a_missing_score():
    rlsd = algorithms.load("rlsd")
    attempt = Attempt(Problem(id="a", prompt="1+1?", answer="2"), "3", "3", "wrong")
    assert rlsd.hint("with_answer", 0, [attempt]) == "\n\nThe correct answer is 2."
    r = hinted(rollouts(rlsd), 1.0)
    r.context_logp["with_answer"][3] = NAN
    with pytest.raises(ValueError, match=r"rows \[3\] hold a log-prob that is missing"):
        rlsd.weigh(r)
    with pytest.raises(ValueError, match="algorithm.hint must contain"):
        algorithms.load("rlsd", hint="think")


def test_distillation_from_the_top_k_needs_its_k_and_reads_the_teachers_tokens():
    with pytest.raises(ValueError, match="algorithm.top_k must be at least 1"):
        algorithms.load("opd", divergence="topk_forward")
    with pytest.raises(ValueError, match="and 0 without; got 4"):
        algorithms.load("scope", top_k=4)
    with pytest.raises(ValueError, match="k1: its gradient as a loss does not depend on the teacher"):
        algorithms.load("scope", divergence="k1")
    scope = algorithms.load("scope", divergence="topk_reverse", top_k=2)
    r = rollouts(scope)
    student, teacher = (with_tail(torch.rand(12, 6, 5).log_softmax(-1)[..., :2]) for _ in range(2))
    topk = TopK(student.requires_grad_(), teacher.masked_fill(r.right_N[:, None, None], NAN))
    batch = dataclasses.replace(loss_input(r, scope.weigh(r), r.student_logp_NT), topk=topk)
    losses = scope.loss(batch)
    losses["teacher"][0].backward()
    on_path = r.mask_NT & ~r.right_N[:, None]
    assert losses["teacher"][0].item() > 0
    assert ((student.grad != 0).any(dim=-1) == on_path).all()


@pytest.mark.parametrize(
    "knobs",
    [
        {"tau": 0},
        {"tau": -1.0},
        {"clip_low": 1.0},
        {"normalize": "batch"},
        {"preset": "mine"},
        {"student_ppl_sign": 2},
        {"truncated": "right"},
        {"masked_tail": 1.0},
        {"tau": "much"},
        {"top_k": 2.5},
        {"clip_high": 0.3, "divergence": "k2"},
    ],
)
def test_scope_refuses_a_knob_that_cannot_work(knobs):
    with pytest.raises(ValueError, match=next(iter(knobs))):
        algorithms.load("scope", **knobs)


def test_a_number_that_yaml_reads_as_text_is_a_number():
    assert algorithms.load("grpo", eps="1e-4").knobs.eps == 1e-4
