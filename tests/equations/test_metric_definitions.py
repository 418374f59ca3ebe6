"""Every key of a row of metrics.jsonl has one definition."""

from collections import Counter

import torch

from scope_openrlhf.equations import losses, metric_definitions
from scope_openrlhf.equations.batch import Rollouts, Signal
from scope_openrlhf.equations.health import path_health, step_health
from scope_openrlhf.equations.metric_definitions import COMMON, Metric, definition

PATHS = ("student", "teacher")


def test_a_metric_is_defined_once_and_says_what_it_is_and_how_it_is_taken():
    assert [name for name, count in Counter(m.name for m in COMMON).items() if count > 1] == []
    for metric in COMMON:
        assert metric.meaning.endswith(".") and metric.taken and not metric.taken.endswith("."), metric


def test_a_name_with_places_is_found_by_what_stands_there_and_by_nothing_else():
    own = (Metric("gap_<verdict>", "What the hint adds.", "mean"),)
    found = {"weight_min_teacher": "weight_min_<path>", "ppl_student_wrong_p90": "ppl_student_<verdict>_p90",
             "teacher_asked_math-7b": "teacher_asked_<teacher>", "gap_right": "gap_<verdict>",
             "truncated": "truncated", "truncated_student": "truncated_<path>",
             "seconds.generate": "seconds.generate"}  # fmt: skip
    for key, name in found.items():
        metric = definition(key, PATHS, own)
        assert metric is not None and metric.name == name
    for key in ("weight_min_policy", "weight_min_<path>", "ppl_student_drop", "gap_right_p10", "secondsXgenerate", "x"):
        assert definition(key, PATHS, own) is None, key
    assert definition("gap_right", PATHS, ()) is None


def test_what_health_tells_of_a_step_and_of_its_paths_is_defined():
    logp = torch.full((4, 1), -1.0)
    right = torch.tensor([True, False, False, False])
    rollouts = Rollouts(logp, logp, torch.ones(4, 1, dtype=torch.bool), right, ~right, torch.tensor([0, 0, 1, 1]))
    signal = Signal(torch.zeros(4, 1), torch.ones(4, dtype=torch.float64), torch.tensor([0, 1, 1, 1]))
    one, distribution = torch.zeros(1, 1), torch.tensor([[[0.5, 0.5]]]).log()
    of_losses = [
        losses.weighted_mle(one, one),
        losses.clipped_surrogate(one, one, one, one, 0.2, 0.2),
        losses.reverse_kl(one, one, one, "k2"),
        losses.topk_kl(distribution, distribution, one, "reverse"),
    ]
    # the host adds those three to a loss's own
    sums = {name for _, of_loss in of_losses for name in of_loss} | {"tokens", "entropy", "grad"}
    status = {f"sum_{name}_{path}": 1.0 for name in sums for path in PATHS}
    row = step_health(rollouts, signal, PATHS) | path_health(status, PATHS)
    assert len(row) > 40 and {"grad_share_student", "student_tail_teacher", "groups_mixed"} <= row.keys()
    assert [key for key in row if definition(key, PATHS, ()) is None] == []


def test_openrlhfs_names_are_ours_by_one_table():
    assert metric_definitions.RENAMED == {
        "policy_loss": "loss",
        "actor_grad_norm": "grad_norm",
        "actor_lr": "learning_rate",
    }
    # the order is that of a row's `seconds`
    assert list(metric_definitions.SECONDS.items()) == [
        ("timing/generation", "generate"),
        ("timing/make_experience", "experience"),
        ("timing/ppo_train", "update"),
        ("timing/broadcast", "sync"),
        ("timing/teacher", "teacher"),
        ("timing/context", "context"),
    ]
    assert set(metric_definitions.INSIDE_OTHERS) < set(metric_definitions.SECONDS.values())
    assert not set(metric_definitions.LEFT_OUT) & {metric.name for metric in COMMON}
