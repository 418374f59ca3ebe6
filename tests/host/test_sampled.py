"""Rollouts that rollouts.jsonl keeps of a step, by hand."""

import math

import torch

from scope_openrlhf.equations.batch import Rollouts, Signal
from scope_openrlhf.host import sampled
from scope_openrlhf.host.sampled import kept_of


def step(tokens: int = 2) -> tuple[Rollouts, Signal]:
    """Two prompts with two rollouts each: right, wrong; wrong, wrong. The teacher scored the wrong ones."""
    student = torch.full((4, tokens), -1.0)
    teacher = torch.tensor([[math.nan], [-1.5], [-4.0], [-2.0]]).expand(4, tokens)
    right = torch.tensor([True, False, False, False])
    nobody = torch.zeros(4, dtype=torch.bool)
    mask = torch.ones(4, tokens, dtype=torch.bool)
    rollouts = Rollouts(student, teacher, mask, right, nobody, torch.tensor([0, 0, 1, 1]))
    advantage = (teacher - student).masked_fill(right[:, None], 0.0)
    return rollouts, Signal(advantage, torch.tensor([1.0, 0.5, 1.0, 2.0]), torch.tensor([0, 1, 1, 1]))


def test_the_first_group_the_heaviest_and_the_farthest_are_kept_and_say_why():
    kept = kept_of(*step(), ("student", "teacher"))
    assert {k.index: k.numbers["why"] for k in kept} == {
        0: ["most weight on student"],
        1: [],
        2: ["most weight on teacher", "wrong and farthest from the teacher"],
        3: ["most weight on teacher", "wrong and farthest from the teacher"],
    }
    assert [k.numbers["group"] for k in kept] == [0, 0, 1, 1]


def test_the_numbers_of_a_token_are_its_log_probs_and_what_stands_before_it_in_the_loss():
    right, wrong, *_ = (k.numbers for k in kept_of(*step(), ("student", "teacher")))
    assert (right["path"], right["weight"], right["scored_by"], right["teacher"]) == ("student", 1.0, None, None)
    assert right["token_weight"] == [1.0, 1.0]  # likelihood: the rollout's weight, for there is no advantage
    assert (wrong["student"], wrong["teacher"], wrong["scored_by"]) == ([-1.0, -1.0], [-1.5, -1.5], "teacher")
    assert wrong["token_weight"] == [-0.25, -0.25]  # 0.5 (-1.5 + 1)


def test_of_a_long_response_the_first_and_the_last_tokens_are_kept(monkeypatch):
    monkeypatch.setattr(sampled, "HEAD", 2)
    monkeypatch.setattr(sampled, "TAIL", 1)
    long, whole = (kept_of(*step(tokens), ("student", "teacher"))[0] for tokens in (5, 3))
    assert (long.positions, long.numbers["head"], len(long.numbers["student"])) == ([0, 1, 4], 2, 3)
    assert whole.positions == [0, 1, 2]


def test_a_dropped_rollout_has_no_path_and_no_weight():
    rollouts, signal = step()
    signal.path_N[1] = -1
    assert [kept_of(rollouts, signal, ("student", "teacher"))[1].numbers[k] for k in ("path", "weight")] == [None, None]


def test_where_no_teacher_scored_the_last_context_stands_in_its_place():
    rollouts, signal = step()
    hinted = torch.full((4, 2), -3.0)
    rollouts = Rollouts(
        rollouts.student_logp_NT, torch.full((4, 2), math.nan), rollouts.mask_NT, rollouts.right_N,
        rollouts.truncated_N, rollouts.group_N, context_logp={"privileged": hinted},
    )  # fmt: skip
    assert kept_of(rollouts, signal, ("student", "teacher"))[0].numbers["scored_by"] == "context privileged"
