"""Reward file for plain OpenRLHF: --reward.remote_url scope_openrlhf/verifier/reward.py

This plugin itself grades in host/rollout.py, where it also knows whether a response was cut short.
"""

import json

import torch

from scope_openrlhf.verifier import verify


def reward_func(queries: list[str], prompts: list[str], labels: list[str]) -> dict:
    """Reward of each response: 1 for right, 0 for wrong or undecided, as tensors of shape (N,).

    queries: prompt and response. labels: the gold answer, or a JSON object with "answer".
    """
    verdicts = [
        verify(gold_of(label), query.removeprefix(prompt)).verdict
        for query, prompt, label in zip(queries, prompts, labels, strict=True)
    ]
    rewards = torch.tensor([float(v == "right") for v in verdicts])
    failed = torch.tensor([float(v == "failed") for v in verdicts])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"grader_failed": failed}}


def gold_of(label: str) -> str:
    """Gold answer of a label, which is that answer or a row as JSON."""
    try:
        row = json.loads(label)
    except ValueError:
        return label
    return str(row["answer"]) if isinstance(row, dict) and "answer" in row else label
