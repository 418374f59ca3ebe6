"""Every method, as it is by default and as released, against a page of plain Python: weights, losses and gradients."""

import re
from pathlib import Path

import golden
import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.data.masking import whole_lines
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.equations import losses
from scope_openrlhf.equations.batch import Attempt, LossInput, Rollouts
from scope_openrlhf.equations.losses import with_tail
from scope_openrlhf.host.path_loss import path_counts

FORMS = [
    ({"name": "scope"}, golden.scope()),
    ({"name": "scope", "preset": "paper"}, golden.scope(scale="sum_one")),
    ({"name": "scope", "preset": "released"}, golden.scope(student_power=-1.0, all_tokens=True, dual=3.0)),
    ({"name": "opd"}, golden.distilled()),
    ({"name": "opd", "dual_clip": 3.0}, golden.distilled(dual=3.0)),
    ({"name": "grpo"}, golden.grpo()),
    ({"name": "grpo", "dual_clip": 3.0}, golden.grpo(dual=3.0)),
    ({"name": "rlsd"}, golden.rlsd()),
    ({"name": "rlsd", "preset": "released"}, golden.rlsd(mix=0.5 * 59 / 60, high=0.28, dual=3.0)),
    ({"name": "cepo"}, golden.cepo()),
    ({"name": "cepo", "preset": "released"}, golden.cepo(clip=0.2, high=0.28, dual=3.0)),
    ({"name": "smepo"}, golden.grpo()),
    ({"name": "smepo", "preset": "released"}, golden.smepo_released()),
    ({"name": "opsd"}, golden.distilled()),
    ({"name": "sdpo"}, golden.distilled()),
]


def table(rows: list[list[float]], fill: float) -> torch.Tensor:
    return torch.tensor([row + [fill] * (3 - len(row)) for row in rows], dtype=torch.float64)


def step(algorithm) -> Rollouts:
    mask = table(golden.OLD, 1.0) < 0
    right = torch.tensor(golden.RIGHT, dtype=torch.bool)
    asked = torch.tensor([("right" if r else "wrong") in algorithm.asks.teacher_scores for r in golden.RIGHT])
    teacher = table(golden.TEACHER, 0.0).masked_fill(~asked[:, None], torch.nan)
    told = {"with_wrong": golden.OTHER}
    contexts = {name: table(told.get(name, golden.TEACHER), 0.0) for name in algorithm.asks.contexts}
    group = torch.tensor(golden.GROUP)
    return Rollouts(table(golden.OLD, 0.0), teacher, mask, right, right & False, group, context_logp=contexts)


def found(knobs: dict) -> dict:
    """What an algorithm makes of the golden step, each path divided by its own count."""
    algorithm = algorithms.load(**knobs)
    r = step(algorithm)
    signal = algorithm.weigh(r)
    weight_NT = signal.weight_N[:, None] * r.mask_NT
    if algorithm.knobs.normalize == "sequences":
        weight_NT = weight_NT / r.mask_NT.sum(dim=1, keepdim=True)
    now = table(golden.NOW, 0.0).requires_grad_()
    of_path = algorithm.loss(LossInput(now, r.student_logp_NT, signal.advantage_NT, weight_NT, signal.path_N))
    counts = dict(zip(algorithm.paths, path_counts(algorithm, signal.path_N, r.mask_NT), strict=True))
    sums = {name: loss / counts[name] for name, (loss, _) in of_path.items()}
    torch.stack(list(sums.values())).sum().backward()
    gradient = [row[: len(old)].tolist() for row, old in zip(now.grad, golden.OLD, strict=True)]
    return {"losses": {k: v.item() for k, v in sums.items()}, "gradient": gradient, "weight": signal.weight_N.tolist()}


@pytest.mark.parametrize(
    "knobs, worked_out", FORMS, ids=lambda v: "-".join(map(str, v.values())) if "name" in v else ""
)
def test_a_method_has_the_weights_losses_and_gradient_of_its_formula(knobs, worked_out):
    ours = found(knobs)
    assert ours["losses"] == pytest.approx(worked_out["losses"], rel=1e-9)
    assert ours["weight"] == pytest.approx(worked_out["weight"], rel=1e-9)
    for row, expected in zip(ours["gradient"], worked_out["gradient"], strict=True):
        assert row == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_page_of_the_algorithms_shows_these_losses():
    text = Path("docs/algorithms.md").read_text()
    shown = {
        tuple(words.split()): [float(n) for n in numbers.split(" + ")]
        for words, numbers in re.findall(r"^\| `(\w+(?: \w+=\w+)*)` \| ([\d.+ -]+) \|", text, re.MULTILINE)
    }
    for knobs, worked_out in FORMS:
        words = (knobs["name"], *(f"{k}={v}" for k, v in knobs.items() if k != "name"))
        if words in shown:
            assert shown.pop(words) == pytest.approx(list(worked_out["losses"].values()), abs=5e-5)
    assert not shown


def test_the_printed_weights_of_a_group_sum_to_one_and_each_prompt_counts_alike():
    weight, mean_one = found({"name": "scope", "preset": "paper"})["weight"], found({"name": "scope"})["weight"]
    # the student path: one right of group 0, three of group 1; four rollouts on it, two groups
    assert weight[0] == pytest.approx(2.0) and sum(weight[4:7]) == pytest.approx(2.0)
    assert mean_one[0] == pytest.approx(1.0) and sum(mean_one[4:7]) == pytest.approx(3.0)
    # the same without the mean over prompts: 1 in each group
    assert weight[0] * 2 / 4 == pytest.approx(1.0) == pytest.approx(sum(weight[4:7]) * 2 / 4)


def test_a_weight_that_underflows_counts_in_no_denominator():
    scope = algorithms.load("scope", tau=0.001)
    r = step(scope)
    signal = scope.weigh(r)
    assert signal.path_N.tolist() == [0, -1, 1, -1, -1, 0, -1, 1]  # of each group's path one takes all
    assert path_counts(scope, signal.path_N, r.mask_NT).tolist() == [6.0, 3.0]


def test_the_released_k3_is_clamped_and_has_no_gradient_beyond():
    scope = algorithms.load("scope", preset="released", divergence="k3")
    assert (scope.knobs.kl_clamp, scope.knobs.dual_clip, scope.knobs.teacher_denominator) == (10.0, 0.0, "path")
    now, teacher = torch.tensor([[-6.0, -1.0]], requires_grad=True), torch.tensor([[-0.1, -1.5]])
    loss, _ = losses.reverse_kl(now, teacher, torch.ones(1, 2), "k3", largest=10.0)
    loss.backward()
    # exp(5.9) - 1 - 5.9 = 358.1 becomes 10; exp(-0.5) - 1 + 0.5 = 0.10653
    assert loss.item() == pytest.approx(10.10653, abs=1e-5) and now.grad[0, 0] == 0 and now.grad[0, 1] > 0


@pytest.mark.parametrize(
    "knobs, message",
    [
        ({"name": "scope", "preset": "mine"}, "preset must be one of"),
        ({"name": "scope", "teacher_denominator": "all", "divergence": "k2"}, "teacher_denominator all counts tokens"),
        ({"name": "scope", "preset": "released", "normalize": "sequences"}, "set algorithm.teacher_denominator=path"),
        ({"name": "scope", "kl_clamp": 10}, "algorithm.kl_clamp bounds divergence k3"),
        ({"name": "grpo", "dual_clip": 0.5}, "algorithm.dual_clip must be above 1, or 0"),
        ({"name": "opd", "divergence": "k2", "dual_clip": 3}, "dual_clip belong to divergence policy_gradient"),
        ({"name": "rlsd", "hint": "{trace} {solution}"}, r"algorithm.hint has \{solution\}, which nothing fills; use"),
        ({"name": "cepo", "hint": "{trace}"}, r"algorithm.hint has \{trace\}, which nothing fills; use \{answer\}"),
        ({"name": "opsd", "hint": "{trace} {reason}"}, r"use \{trace\} or \{answer\}"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_to_do(knobs, message):
    with pytest.raises(ValueError, match=message):
        algorithms.load(**knobs)


def test_what_is_set_beside_a_preset_comes_first():
    knobs = algorithms.load("rlsd", preset="released", clip_high=0.5, mix_steps=10).knobs
    assert (knobs.clip_high, knobs.mix_steps, knobs.dual_clip, knobs.mix_first_step) == (0.5, 10, 3.0, 1)


def test_lambda_rises_falls_starts_and_stays_as_it_is_told():
    at = lambda **knobs: [algorithms.load("rlsd", **knobs).lambda_at(s) for s in (0, 1, 2, 59, 60)]  # noqa: E731
    assert at() == pytest.approx([0.5, 0.49, 0.48, 0, 0])
    assert at(preset="released") == pytest.approx([0.5 * 59 / 60, 0.5 * 58 / 60, 0.5 * 57 / 60, 0, 0])
    assert at(mix_warmup=2, mix_steps=100) == pytest.approx([0, 0.25, 0.5, 0.5 * 43 / 100, 0.5 * 42 / 100])
    assert at(mix_steps=0) == [0.5] * 5
    assert algorithms.load("rlsd", mix_warmup=2).contexts_at(0) == ()


def test_a_hint_shows_the_trace_or_the_answer_where_there_is_none_and_braces_of_a_trace_are_text():
    rlsd = algorithms.load("rlsd", hint=r"<{trace}|{answer}|\text{answer}>")
    attempt = lambda trace: Attempt(Problem(id="a", prompt="?", answer="2", trace=trace), "", None, "wrong")  # noqa: E731
    assert rlsd.hint("with_answer", 0, [attempt("so {answer}")]) == r"<so {answer}|2|\text{answer}>"
    assert rlsd.hint("with_answer", 0, [attempt("")]) == r"<2|2|\text{answer}>"
    assert rlsd.asks.traces and not algorithms.load("rlsd").asks.traces
    assert algorithms.load("rlsd", preset="released").asks.traces


def test_smepo_as_released_leaves_out_the_line_of_the_answer():
    trace = "Half of 48 is 24.\nTogether 72.\n#### 72"
    masked = "Half of [NUMBER] is [NUMBER].\nTogether [NUMBER]."
    released = algorithms.load("smepo", preset="released", intro="", tail="")
    assert released.prompt_hint("72", trace) == (masked, False)
    assert algorithms.load("smepo", intro="", tail="").prompt_hint("72", trace)[0] == f"{masked}\n#### [NUMBER]"
    assert whole_lines("ab\ncd\nef", 0.7) == "ab" and whole_lines("abcdef", 0.5) == "abc"


def test_the_top_two_with_a_bucket_and_renormalised():
    student, teacher = (with_tail(torch.tensor([[p[:2]]]).log()) for p in (golden.STUDENT_5, golden.TEACHER_5))
    loss, _ = losses.topk_kl(student, teacher, torch.ones(1, 1), "jsd")
    whole = golden.divergence(golden.STUDENT_5, golden.TEACHER_5)
    assert loss.item() == pytest.approx(golden.top_two(bucket=True), abs=1e-6)
    # what the bucket loses of the divergence over all five, and what renormalising makes of it
    assert (whole, golden.top_two(True), golden.top_two(False)) == pytest.approx((0.1068, 0.1024, 0.1401), abs=1e-4)
