import pytest
import torch

from scope_openrlhf.equations.routing import mask_tails, route


def test_a_rollout_without_a_token_is_dropped_whatever_its_verdict():
    assert route("right", False, "wrong", empty=True) == route("wrong", True, "mask_tail", empty=True) == "drop"


@pytest.mark.parametrize(
    ("verdict", "truncated", "policy", "way"),
    [
        ("right", False, "wrong", "right"),
        ("wrong", False, "drop", "wrong"),
        ("right", True, "wrong", "wrong"),  # it never ended
        ("right", True, "mask_tail", "wrong"),
        ("wrong", True, "drop", "drop"),
        ("right", True, "drop", "drop"),
        ("failed", False, "wrong", "drop"),  # nobody knows which path it belongs to
    ],
)
def test_a_rollout_goes_where_its_verdict_and_the_policy_say(verdict, truncated, policy, way):
    assert route(verdict, truncated, policy) == way


def test_the_tail_of_a_truncated_response_is_masked_and_its_first_token_stays():
    mask = torch.tensor([[0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 0, 1, 0]])
    cut = mask_tails(mask, torch.tensor([True, False, True]), share=0.5)
    assert cut.int().tolist() == [[0, 1, 1, 0, 0], [0, 1, 1, 1, 1], [0, 0, 0, 1, 0]]
