"""Reward file for plain OpenRLHF: --reward.remote_url scope_openrlhf/verifier/reward.py

This plugin itself grades in host/rollout.py, where it also knows whether a response was cut short.
"""

import torch

from scope_openrlhf.verifier import verify
from scope_openrlhf.verifier.gold import NoGold, read_gold, why_no_answer


def reward_func(queries: list[str], prompts: list[str], labels: list[str]) -> dict:
    """Reward of each response: 1 for right, 0 for wrong or undecided, as tensors of shape (N,).

    queries: prompt and response. labels: gold answers as training reads them, or rows as JSON with "answer", "gold" or
    verl's "reward_model". grader_failed is 1 where the grader could not decide or the label is no answer.
    """
    verdicts = [
        verdict_of(label, query.removeprefix(prompt))
        for query, prompt, label in zip(queries, prompts, labels, strict=True)
    ]
    rewards = torch.tensor([float(v == "right") for v in verdicts])
    failed = torch.tensor([float(v == "failed") for v in verdicts])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"grader_failed": failed}}


def verdict_of(label: object, response: str) -> str:
    """The verdict on a response: right, wrong or failed."""
    try:
        gold = read_gold(label)
    except NoGold:
        return "failed"
    return "failed" if why_no_answer(gold) else verify(gold, response).verdict
