"""A replica of the group as its callers reach it: what its engine leaves out never becomes a number."""

import asyncio
from types import SimpleNamespace

import pytest

from scope_openrlhf.teacher import ray_endpoint
from scope_openrlhf.teacher.client import TeacherClient
from scope_openrlhf.teacher.contract import TeacherError
from scope_openrlhf.teacher.ray_endpoint import RayEndpoint
from scope_openrlhf.teacher.replica import TeacherReplica


class Replica(TeacherReplica):
    """A replica whose engine says the same to every request; beside it, what Ray makes of its methods."""

    def __init__(self, **said) -> None:
        self.said = SimpleNamespace(**said)

    async def _ask(self, token_ids, **params):
        yield self.said


def reached(monkeypatch, replica: Replica) -> TeacherClient:
    remote = {name: SimpleNamespace(remote=getattr(replica, name)) for name in ("score", "generate")}
    monkeypatch.setattr(ray_endpoint.ray, "get_actor", lambda name: SimpleNamespace(**remote))
    return TeacherClient([RayEndpoint("scope-teacher-0")], deadline_seconds=0.3, pause_seconds=0.1)


class Flat(SimpleNamespace):
    """vLLM's flat log-probs of a prompt: of each position the token itself, then the top_k."""

    def __len__(self):
        return self.positions


def score(monkeypatch, ids, logprobs, positions=3, top_k=1):
    replica = Replica(prompt_logprobs=ids and Flat(token_ids=ids, logprobs=logprobs, positions=positions))

    async def once():
        return await reached(monkeypatch, replica).score([5, 6, 7], top_k)

    return asyncio.run(once())


def test_what_a_replica_scores_is_read_by_position(monkeypatch):
    scored = score(monkeypatch, [6, 8, 7, 7], [-1.0, -0.5, -0.25, -0.25])
    assert scored.logprobs.tolist() == [-1.0, -0.25] and scored.topk_ids.tolist() == [[8], [7]]


@pytest.mark.parametrize(
    ("ids", "logprobs", "message"),
    [
        ([6, 8, 7, 7], [-1.0, -0.5, None, -0.25], "log-prob nan at position 2"),
        ([6, 8, 7, 7], [-1.0, None, -0.25, -0.25], "log-prob nan at position 1"),
        ([6, 8, 7, 7], [float("-inf"), -0.5, -0.25, -0.25], "log-prob -inf at position 1"),
        ([6, 8, 7, 7], [-9999.0, -0.5, -0.25, -0.25], "log-prob -9999.0 at position 1"),
        ([6, 8, 7, 7], [-1.0, -0.5, -0.25], "failed on 3 tokens: ValueError: cannot reshape"),
        ([6, 8, 7], [-1.0, -0.5, -0.25], "failed on 3 tokens: ValueError: cannot reshape"),
        ([6, 8, 9, 7], [-1.0, -0.5, -0.25, -0.25], "position 2 was scored as token 9, sent was 7"),
        (None, None, "failed on 3 tokens: TypeError"),
    ],
)
def test_a_log_prob_that_is_missing_or_none_is_an_error_that_names_the_replica(monkeypatch, ids, logprobs, message):
    with pytest.raises(TeacherError, match=f"scope-teacher-0.*{message}"):
        score(monkeypatch, ids, logprobs)


@pytest.mark.parametrize(
    ("ids", "reason", "message"),
    [
        ([7, 9], "abort", "the completion ended by abort, which is no answer"),
        ([7, 9], None, "the completion ended by None"),
        ([7, 9, 9], "stop", "wrote 3 tokens where 2 were asked for"),
    ],
)
def test_a_completion_that_is_none_is_an_error_that_names_the_replica(monkeypatch, ids, reason, message):
    async def once(replica):
        return await reached(monkeypatch, replica).generate([5, 6], 2, seed=1)

    whole = Replica(outputs=[SimpleNamespace(token_ids=[7, 9], finish_reason="length")])
    assert asyncio.run(once(whole)).truncated
    with pytest.raises(TeacherError, match=f"scope-teacher-0.*{message}"):
        asyncio.run(once(Replica(outputs=[SimpleNamespace(token_ids=ids, finish_reason=reason)])))
