"""The verifier as a reward file for plain OpenRLHF: --reward.remote_url scope_openrlhf/verifier/reward.py

This plugin itself grades in rollout.py, where it also knows whether a response was cut short.
"""

import json

import torch

from scope_openrlhf.verifier import verify


def reward_func(queries: list[str], prompts: list[str], labels: list[str]) -> dict:
    """1 for right, 0 for wrong or undecided. queries: prompt and response; labels: the gold answer, or a JSON object with "answer"."""
    verdicts = [
        verify(gold_of(label), query.removeprefix(prompt)).verdict
        for query, prompt, label in zip(queries, prompts, labels, strict=True)
    ]
    rewards = torch.tensor([float(v == "right") for v in verdicts])
    failed = torch.tensor([float(v == "failed") for v in verdicts])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"grader_failed": failed}}


def gold_of(label: str) -> str:
    try:
        row = json.loads(label)
    except ValueError:
        return label
    return str(row["answer"]) if isinstance(row, dict) and "answer" in row else label
