"""CEPO, SMEPO, OPSD and SDPO: numbers worked by hand, and the limits in which they are another algorithm."""

import dataclasses
import math

import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.equations.batch import Attempt, LossInput, Rollouts, TopK
from scope_openrlhf.equations.losses import topk_kl

NAN = math.nan


def group(**contexts: list[float]) -> Rollouts:
    """One group of four rollouts of one token, the first right, each of log-prob -1.

    contexts: log-probs under each, NaN where there was no hint.
    """
    right = torch.tensor([True, False, False, False])
    logp = torch.full((4, 1), -1.0)
    under = {name: torch.tensor(values)[:, None] for name, values in contexts.items()}
    mask, prompt = torch.ones(4, 1, dtype=torch.bool), torch.zeros(4).long()
    return Rollouts(logp, torch.full((4, 1), NAN), mask, right, ~right & False, prompt, context_logp=under)


def attempts(*said: tuple[str, str | None, str]) -> list[Attempt]:
    problem = Problem(id="a", prompt="1+1?", answer="2", trace="1+1=2;")
    return [Attempt(problem, response, extracted, route) for response, extracted, route in said]


GRPO = algorithms.load("grpo")
PLAIN = GRPO.weigh(group()).advantage_NT  # (1 - 1/4) / (1/2) = 3/2 and (0 - 1/4) / (1/2) = -1/2


def test_cepo_holds_the_right_answer_against_a_wrong_one_worked_by_hand():
    # delta = log P_T+ - log P_T-: log 1.2, log 1.2, 0 and 5
    ln = math.log(1.2)
    r = group(with_right=[-1.0, -1.0, -3.0, 1.0], with_wrong=[-1 - ln, -1 - ln, -3.0, -4.0])
    a = algorithms.load("cepo").weigh(r).advantage_NT.flatten().tolist()
    # w = 1.2 where A > 0, 1/1.2 where A < 0; 1; exp(-5) clipped at 1 - 0.5. lambda = 0.5: A * (1/2 + w/2)
    assert a == pytest.approx([1.5 * 1.1, -0.5 * (0.5 + 0.5 / 1.2), -0.5, -0.5 * 0.75], rel=1e-5)


def test_cepos_lambda_falls_to_zero_in_25_steps_is_logged_and_then_asks_for_no_context():
    cepo = algorithms.load("cepo")
    assert [cepo.lambda_at(step) for step in (0, 5, 25, 100)] == [0.5, 0.4, 0.0, 0.0]
    assert cepo.contexts_at(24) == ("with_right", "with_wrong") and cepo.contexts_at(25) == ()
    r = group(with_right=[-1.0] * 4, with_wrong=[-2.0] * 4)
    assert cepo.weigh(dataclasses.replace(r, step=5)).metrics == pytest.approx(
        {"mix": 0.4, "delta_right": 1.0, "delta_wrong": 1.0}
    )
    ended = cepo.weigh(dataclasses.replace(group(), step=25))
    assert torch.equal(ended.advantage_NT, PLAIN) and ended.metrics == {"mix": 0.0}


@pytest.mark.parametrize("name", ["rlsd", "cepo"])
def test_lambda_zero_and_delta_zero_are_grpo_bit_for_bit(name):
    contexts = {c: [-0.3, -1.7, -0.1, -2.9] for c in algorithms.load(name).asks.contexts}
    told = group(**contexts)
    assert torch.equal(algorithms.load(name, mix=0.0).weigh(told).advantage_NT, PLAIN)
    if name == "rlsd":  # P_T+ = P_S
        told = group(with_answer=[-1.0] * 4)
    for step in range(0, 25, 7):  # under cepo r- = r+ all along
        assert torch.equal(algorithms.load(name).weigh(dataclasses.replace(told, step=step)).advantage_NT, PLAIN)


def test_the_ratio_of_a_loss_does_not_change_what_lambda_zero_gives():
    logp = torch.tensor([[-0.5], [-1.0], [-2.0], [-1.2]])
    losses, r = [], group()
    for algorithm in (GRPO, algorithms.load("cepo", mix=0.0)):
        signal = algorithm.weigh(r)
        batch = LossInput(logp, r.student_logp_NT, signal.advantage_NT, torch.ones(4, 1), signal.path_N)
        losses.append(algorithm.loss(batch)["policy"][0])
    assert torch.equal(*losses)


def test_a_group_without_a_rejected_answer_becomes_rlsd_or_grpo_as_the_knob_says():
    r = group(with_right=[-0.8] * 4, with_wrong=[NAN] * 4)
    rlsd = algorithms.load("rlsd", clip_weight=0.5).weigh(group(with_answer=[-0.8] * 4))
    assert torch.equal(algorithms.load("cepo").weigh(r).advantage_NT, rlsd.advantage_NT)
    assert torch.equal(algorithms.load("cepo", no_wrong="grpo").weigh(r).advantage_NT, PLAIN)


def test_the_wrong_answer_is_the_first_that_a_rejected_rollout_ended_with():
    cepo = algorithms.load("cepo", hint="={answer}")
    tried = attempts(
        ("\\boxed{2}", "2", "right"),
        ("none", None, "wrong"),
        ("\\boxed{5}", "5", "wrong"),
        ("\\boxed{7}", "7", "wrong"),
    )
    assert [cepo.hint("with_wrong", i, tried) for i in range(4)] == ["=5"] * 4
    assert cepo.hint("with_right", 3, tried) == "=2"
    cut = [dataclasses.replace(tried[0], route="wrong", truncated=True), *tried[1:2]]
    # a truncated rollout is no wrong answer: here it boxed the right one
    assert cepo.hint("with_wrong", 0, cut) is None


def test_cepo_refuses_a_missing_score_and_one_with_holes():
    with pytest.raises(ValueError, match=r"rows \[2\] hold a log-prob that is missing"):
        algorithms.load("cepo").weigh(group(with_right=[-1.0, -1.0, NAN, -1.0], with_wrong=[-1.0] * 4))
    zeros, mask, right = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.tensor([True])
    contexts = {"with_right": zeros, "with_wrong": torch.tensor([[-1.0, NAN]])}
    r = Rollouts(zeros, zeros, mask, right, ~right, torch.zeros(1).long(), context_logp=contexts)
    with pytest.raises(ValueError, match=r"rows \[0\] hold a log-prob that is missing"):
        algorithms.load("cepo").weigh(r)


def test_smepo_puts_the_masked_trace_after_the_problem_between_intro_and_tail():
    smepo = algorithms.load("smepo", intro=" I:", tail=" T")
    assert smepo.asks.traces and smepo.asks.hinted_prompts
    masked = " I:Step 1: [NUMBER]-[NUMBER]=[NUMBER]\nso \\boxed{[NUMBER]} T"
    assert smepo.prompt_hint("48", "Step 1: 59-2=57\nso \\boxed{48}") == (masked, False)
    assert smepo.prompt_hint("1", "Step 1: 59-58=\\boxed{1}")[1]  # a structural number that is the answer gives it away
    assert smepo.prompt_hint("48", "") == smepo.prompt_hint("48", None) == ("", False)
    half = algorithms.load("smepo", intro=" I:", tail=" T", ratio=0.7)
    assert half.prompt_hint("48", "Step 1: 59-2=57\nso \\boxed{48}")[0] == " I:Step 1: [NUMBER]-[NUMBER]=[NUMBER] T"
    with pytest.raises(ValueError, match="algorithm.ratio must be at least 0 and at most 1, got 2"):
        algorithms.load("smepo", ratio=2)


def test_smepo_with_ratio_zero_is_grpo():
    smepo = algorithms.load("smepo", ratio=0)
    # the prompt is the same
    assert smepo.prompt_hint("48", "59-2=57;") == ("", False)
    assert not smepo.asks.traces and not smepo.asks.hinted_prompts
    # and so is the objective
    assert torch.equal(smepo.weigh(group()).advantage_NT, PLAIN) and smepo.paths == GRPO.paths


@pytest.mark.parametrize("name", ["opsd", "sdpo"])
def test_self_distillation_takes_the_gap_to_the_student_that_knows_more_and_leaves_out_who_got_no_hint(name):
    algorithm = algorithms.load(name)
    signal = algorithm.weigh(group(privileged=[-0.4, -3.0, NAN, -1.0]))
    assert signal.advantage_NT.flatten().tolist() == pytest.approx([0.6, -2.0, 0.0, 0.0])
    assert signal.weight_N.tolist() == [1, 1, 0, 1] and signal.path_N.tolist() == [0, 0, -1, 0]
    # of the right one; of the two wrong ones that were scored
    assert signal.metrics == pytest.approx({"privileged": 3, "gap_right": 0.6, "gap_wrong": -1.0})
    # the student as it was at the start, which stands in a teacher group
    assert algorithm.asks.context_scorer == "initial" and algorithm.asks.teacher_scores == ()
    assert algorithm.asks.teacher and not algorithms.load(name, context_scorer="student").asks.teacher


def test_self_distillation_is_opd_where_everybody_has_a_hint():
    under = [-0.4, -3.0, -0.2, -1.0]
    by_teacher = dataclasses.replace(group(), teacher_logp_NT=torch.tensor(under)[:, None])
    assert torch.equal(
        algorithms.load("opsd").weigh(group(privileged=under)).advantage_NT,
        algorithms.load("opd").weigh(by_teacher).advantage_NT,
    )


def test_opsd_shows_the_solution_and_reads_no_reward():
    opsd = algorithms.load("opsd", hint="<{trace}|{answer}>")
    assert opsd.hint("privileged", 0, attempts(("x", None, "wrong"))) == "<1+1=2;|2>"
    without = Attempt(Problem(id="a", prompt="1+1?", answer="2"), "x", None, "wrong")
    assert opsd.hint("privileged", 0, [without]) is None
    assert opsd.asks.traces and not opsd.uses_groups and not algorithms.load("opsd", hint="{answer}").asks.traces
    r = group(privileged=[-0.4] * 4)
    assert torch.equal(opsd.weigh(r).advantage_NT, opsd.weigh(dataclasses.replace(r, right_N=~r.right_N)).advantage_NT)
    with pytest.raises(ValueError, match="algorithm.hint must contain"):
        algorithms.load("opsd", hint="think")


def test_sdpo_shows_another_right_rollout_without_its_thoughts_else_feedback_else_nothing():
    sdpo = algorithms.load("sdpo", hint="={solution}", truncated_feedback="cut", no_answer_feedback="none")
    tried = attempts(("<think>hm\n</think>\n1+1=2", "2", "right"), ("3", "3", "wrong"), ("so", None, "wrong"))
    assert [sdpo.hint("privileged", i, tried) for i in range(3)] == [None, "=1+1=2", "=1+1=2"]  # never itself
    opened = [dataclasses.replace(tried[0], response="hm</think>\n\n1+1=2"), tried[1]]  # the template had opened it
    assert sdpo.hint("privileged", 1, opened) == "=1+1=2"
    failed = [*tried[1:], dataclasses.replace(tried[1], truncated=True)]
    assert [sdpo.hint("privileged", i, failed) for i in range(3)] == [None, "none", "cut"]
    quiet = algorithms.load("sdpo", truncated_feedback="", no_answer_feedback="")
    assert [quiet.hint("privileged", i, failed) for i in range(3)] == [None] * 3


def test_the_training_engine_gives_no_top_k_and_the_teacher_group_does():
    with pytest.raises(ValueError, match="set algorithm.context_scorer=initial for a copy of the student"):
        algorithms.load("sdpo", divergence="topk_jsd", top_k=2, context_scorer="student")
    sdpo = algorithms.load("sdpo", divergence="topk_jsd", top_k=2, context_scorer="teacher")
    assert sdpo.asks.teacher and sdpo.asks.contexts_by_teacher and sdpo.asks.top_k == 2
    r = group(privileged=[-0.4, NAN, -0.4, -0.4])
    signal = sdpo.weigh(r)
    student = torch.log(torch.tensor([0.5, 0.25, 0.25])).expand(4, 1, 3).clone().requires_grad_()
    teacher = torch.log(torch.tensor([0.25, 0.5, 0.25])).expand(4, 1, 3).clone()
    teacher[1] = NAN
    logp, weight_NT = r.student_logp_NT, signal.weight_N[:, None].float()
    batch = LossInput(logp, logp, signal.advantage_NT, weight_NT, signal.path_N, TopK(student, teacher))
    sdpo.loss(batch)["teacher"][0].backward()
    assert (student.grad[1] == 0).all() and (student.grad[0] != 0).any()


def test_jensen_shannon_worked_by_hand_is_symmetric_and_bounded():
    p, q = torch.tensor([[[0.5, 0.5]]]).log(), torch.tensor([[[0.25, 0.75]]]).log()
    one = torch.ones(1, 1)
    # m = (0.375, 0.625)
    from_p = 0.5 * math.log(0.5 / 0.375) + 0.5 * math.log(0.5 / 0.625)
    from_q = 0.25 * math.log(0.25 / 0.375) + 0.75 * math.log(0.75 / 0.625)
    by_hand = 0.5 * from_p + 0.5 * from_q
    assert topk_kl(p, q, one, "jsd")[0].item() == pytest.approx(by_hand) == topk_kl(q, p, one, "jsd")[0].item()
    apart = torch.tensor([[[1 - 1e-7, 1e-7]]]).log(), torch.tensor([[[1e-7, 1 - 1e-7]]]).log()
    assert topk_kl(*apart, one, "jsd")[0].item() == pytest.approx(math.log(2), rel=1e-4)
    assert topk_kl(p, p, one, "jsd")[0].item() == pytest.approx(0, abs=1e-7)
    with pytest.raises(ValueError, match="direction must be reverse, forward or jsd"):
        topk_kl(p, q, one, "sideways")
