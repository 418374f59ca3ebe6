"""Before any training: does every replica of the teacher give the same sound numbers, also for the longest request?"""

import asyncio
import json
from pathlib import Path

import numpy as np

from scope_openrlhf.algorithms.base import Algorithm
from scope_openrlhf.data.problems import LABEL_COLUMN, as_text
from scope_openrlhf.settings.sections import TeacherConfig
from scope_openrlhf.teacher.client import Endpoint, Score, TeacherError, check_score
from scope_openrlhf.teacher.group import connect, wait_until_ready

TOLERANCE = {"float32": 1e-3}
"""Largest difference in nats between two scores of one token. Others than float32 get 0.25: a logit of 30 has a rounding of 0.125 in bfloat16."""
COARSE = 0.25


def probe_run(
    name: str, config: TeacherConfig, student: str, prompts: Path, max_len: int
) -> tuple[list[str], list[float]]:
    """Probe one of a run's teachers, once its replicas are up, with the run's first problem.

    What is to be said, and the log-probs: what a later run of this teacher must get too. Raises TeacherError.
    """
    from transformers import AutoTokenizer

    if config.started_here:
        wait_until_ready(name, config)
    tokenizer = AutoTokenizer.from_pretrained(student)
    with prompts.open() as lines:
        row = json.loads(json.loads(next(lines))[LABEL_COLUMN])
    text = as_text(tokenizer, row["prompt"]) + row["answer"]
    sequence = tokenizer(text, add_special_tokens=False)["input_ids"]

    async def all_replicas() -> tuple[list[str], list[float]]:
        endpoints = connect(name, config)
        try:
            for endpoint in endpoints:
                await endpoint.open(text, sequence, max_len)
            return await probe(endpoints, sequence, max_len, config.dtype)
        finally:
            for endpoint in endpoints:
                await endpoint.close()

    return asyncio.run(all_replicas())


def longest_request(algorithm: Algorithm, teacher: TeacherConfig, max_len: int) -> int:
    """Tokens of the longest sequence that a run has scored: a rollout, or one beside a hint, for which plan.py made room."""
    return teacher.max_model_len - 1 if algorithm.teacher_scores_contexts else max_len


async def probe(
    endpoints: list[Endpoint], sequence: list[int], max_len: int, dtype: str
) -> tuple[list[str], list[float]]:
    """One line for each replica, and the log-probs of the sequence. Raises TeacherError, saying what to change, at the first that cannot be trusted.

    sequence: token ids of a problem and its answer. It is scored twice by each replica, with the longest request of a run between.
    """
    tolerance = tolerated(dtype)
    longest = (sequence * (max_len // len(sequence) + 1))[:max_len]
    said, reference = [], None
    for endpoint in endpoints:
        first = await checked(endpoint, sequence)
        try:
            await checked(endpoint, longest)
        except TeacherError as error:
            raise TeacherError(
                f"{endpoint.name} cannot score a request of {max_len} tokens, the longest of this run: {error}. Lower openrlhf.data.max_len or "
                "teacher.max_num_batched_tokens, or give the teacher more memory"
            ) from None
        again = await checked(endpoint, sequence)
        reference = first if reference is None else reference
        repeat, beside = difference(first, again), difference(first, reference)
        if repeat > tolerance:
            raise TeacherError(
                f"{endpoint.name} scored one sequence twice and differs from itself by {repeat:.3g} nats (tolerated {tolerance} for {dtype}); "
                "switch its prefix caching off"
            )
        if beside > tolerance:
            raise TeacherError(
                f"{endpoint.name} differs from {endpoints[0].name} by {beside:.3g} nats on one sequence (tolerated {tolerance} for {dtype}); "
                "they must hold the same params, dtype and temperature"
            )
        said.append(
            f"{endpoint.name}: {len(sequence)} tokens twice within {repeat:.2g} nats, within {beside:.2g} of the first, {max_len} tokens fit"
        )
    assert reference is not None
    return said, [round(float(x), 6) for x in reference.logprobs]


def tolerated(dtype: str) -> float:
    return TOLERANCE.get(dtype, COARSE)


async def checked(endpoint: Endpoint, token_ids: list[int]) -> Score:
    score = await endpoint.score(token_ids, 0)
    check_score(token_ids, score, 0, endpoint.name)
    return score


def difference(a: Score, b: Score) -> float:
    return float(np.abs(a.logprobs - b.logprobs).max())
