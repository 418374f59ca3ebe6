"""Before any training: does every replica of a teacher give the same sound numbers, also for the longest request?"""

import asyncio

import numpy as np

from scope_openrlhf.algorithms.base.contract import Asks
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.prompts import as_text
from scope_openrlhf.models.loading import load_tokenizer
from scope_openrlhf.settings.resolved import Teacher
from scope_openrlhf.settings.sections import StudentConfig
from scope_openrlhf.teacher.connect import connect
from scope_openrlhf.teacher.contract import Endpoint, OtherTeacher, Score, TeacherError, check_score
from scope_openrlhf.teacher.group import wait_until_ready

TOLERANCE = {"float32": 1e-3}
"""Largest difference in nats between two scores of one token, by the type of the teacher's params."""
COARSE = 0.25
"""The same of all other types: in bfloat16 a logit of 30 is rounded to a multiple of 0.125."""


def probe_run(
    teacher: Teacher, student: StudentConfig, problem: Problem, longest: int
) -> tuple[list[str], list[float]]:
    """Probe one of a run's teachers, once its replicas are up, with one of the run's problems.

    longest: tokens of the longest request of the run. Returns what is to be said, and the log-probs of the problem's
    tokens in nats: a later run of this teacher must get the same. Raises TeacherError.
    """
    if teacher.started_here:
        wait_until_ready(teacher)
    tokenizer = load_tokenizer(student.path, trust_remote_code=student.trust_remote_code)
    text = as_text(tokenizer, problem.prompt, student) + problem.answer
    sequence = tokenizer(text, add_special_tokens=False)["input_ids"]

    async def all_replicas() -> tuple[list[str], list[float]]:
        endpoints = connect(teacher)
        try:
            return await probe(endpoints, text, sequence, longest, teacher.dtype, not teacher.started_here)
        finally:
            for endpoint in endpoints:
                await endpoint.close()

    return asyncio.run(all_replicas())


def longest_request(asks: Asks, teacher: Teacher, max_len: int) -> int:
    """Tokens of the longest request that a run makes: a rollout of max_len, or one beside a hint.

    The plan has made room for the latter in teacher.max_model_len, where the teacher scores contexts.
    """
    return teacher.max_model_len - 1 if asks.contexts_by_teacher else max_len


async def probe(
    endpoints: list[Endpoint], text: str, sequence: list[int], max_len: int, dtype: str, one_will_do: bool
) -> tuple[list[str], list[float]]:
    """One line for each replica, and the log-probs of the sequence, in nats.

    sequence: token ids of text, a problem and its answer. Each replica scores it twice, with a request of max_len
    tokens between. dtype: of the teacher's params, which says what differences are tolerated. one_will_do: a replica
    that gives no sound score is named and left, for its requests go to the others. Raises TeacherError, saying what to
    change, at the first replica that cannot be trusted.
    """
    said: list[str] = []
    faults: list[TeacherError] = []
    reference: Score | None = None
    whose = ""
    for endpoint in endpoints:
        try:
            await endpoint.open(text, sequence, max_len)
            first, again = await scored_twice(endpoint, sequence, max_len)
        except OtherTeacher:
            raise
        except TeacherError as error:
            if not one_will_do:
                raise
            faults.append(error)
            said.append(f"warning: the run goes on without {endpoint.name} until it gives sound scores: {error}")
            continue
        reference, whose = (first, endpoint.name) if reference is None else (reference, whose)
        repeat, beside = difference(first, again), difference(first, reference)
        refuse_differences(endpoint.name, whose, repeat, beside, dtype)
        said.append(
            f"{endpoint.name}: {len(sequence)} tokens twice within {repeat:.2g} nats, within {beside:.2g} of the "
            f"first, {max_len} tokens fit"
        )
    if reference is None:
        raise TeacherError("; ".join(map(str, faults)))
    return said, [round(float(x), 6) for x in reference.logprobs]


async def scored_twice(endpoint: Endpoint, sequence: list[int], max_len: int) -> tuple[Score, Score]:
    """A replica's scores of a sequence before and after a request of max_len tokens. Raises TeacherError."""
    first = await checked(endpoint, sequence)
    try:
        await checked(endpoint, (sequence * (max_len // len(sequence) + 1))[:max_len])
    except TeacherError as error:
        raise TeacherError(
            f"{endpoint.name} scored {len(sequence)} tokens, but not {max_len}, the longest request of this run: "
            f"{error}. Lower openrlhf.data.max_len; where memory ran out, also teacher.max_num_batched_tokens"
        ) from None
    return first, await checked(endpoint, sequence)


def refuse_differences(name: str, first: str, repeat: float, beside: float, dtype: str) -> None:
    """Raise OtherTeacher if the replica `name` differs too much from itself or from the replica `first`.

    repeat, beside: those differences, in nats.
    """
    tolerance = tolerated(dtype)
    if repeat > tolerance:
        raise OtherTeacher(
            f"{name} scored one sequence twice and differs from itself by {repeat:.3g} nats (tolerated {tolerance} for "
            f"{dtype}); switch its prefix caching off"
        )
    if beside > tolerance:
        raise OtherTeacher(
            f"{name} differs from {first} by {beside:.3g} nats on one sequence (tolerated {tolerance} for {dtype}); "
            "they must hold the same params, dtype and temperature"
        )


def tolerated(dtype: str) -> float:
    """Largest difference in nats between two scores of one token. dtype: of the teacher's params."""
    return TOLERANCE.get(dtype, COARSE)


async def checked(endpoint: Endpoint, token_ids: list[int]) -> Score:
    """A replica's score of a request. Raises TeacherError if it is unsound."""
    score = await endpoint.score(token_ids, 0)
    check_score(token_ids, score, 0, endpoint.name)
    return score


def difference(a: Score, b: Score) -> float:
    """Largest difference in nats between two scores of one request, over its tokens."""
    return float(np.abs(a.logprobs - b.logprobs).max())
