"""Verdict and truncation -> route: what a rollout may train. The one place of training where they meet.

A truncated rollout never ended, so it is not right, whatever stands in it: maximum likelihood on it would teach to run
on. The policies:
    wrong       it is a wrong rollout like any other, also where the published reward finds a right answer in it. The
                default, since a student that rambles must be told where it went astray, and dropping its rollouts
                would leave it without that signal
    drop        it trains nothing and leaves its group's normalisation; for a length limit so tight that it cuts sound
                reasoning
    mask_tail   wrong, but its last part trains nothing: what comes after the reasoning has gone astray is poor
                supervision
A rollout whose grader failed is dropped: nobody knows which path it belongs to. So is one without a single token, which
has no log-prob to train and none to weigh it by. Dropped rollouts are counted in
metrics.jsonl. A further policy is a value of `Knobs.truncated` (algorithms/base/contract.py) and a line here; one that
masks is also applied in host/experience.py. Evaluation has no policies: `counts_as_right` in eval/grade.py.
"""

from typing import Literal

import torch
from torch import Tensor

Route = Literal["right", "wrong", "drop"]


def route(verdict: str, truncated: bool, policy: str, empty: bool = False) -> Route:
    """Route of a rollout.

    verdict: right | wrong | failed, as the verifier says. policy: wrong | drop | mask_tail. empty: without a token.
    """
    if empty or verdict == "failed" or (truncated and policy == "drop"):
        return "drop"
    return "wrong" if truncated or verdict == "wrong" else "right"


def mask_tails(mask_NT: Tensor, truncated_N: Tensor, share: float) -> Tensor:
    """Mask without the last `share` of the response tokens of each truncated rollout: (N, T) bool.

    The first token of a rollout always stays.
    """
    mask_NT = mask_NT.bool()
    kept_N = (mask_NT.sum(dim=1) * (1 - share)).ceil().clamp(min=1)
    head_NT = mask_NT & (mask_NT.cumsum(dim=1) <= kept_N[:, None])
    return torch.where(truncated_N.bool()[:, None], head_NT, mask_NT)
