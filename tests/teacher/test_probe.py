"""What the start-up probe says of replicas that cannot be trusted."""

import asyncio

import numpy as np
import pytest

from scope_openrlhf.teacher.client import Score, TeacherError
from scope_openrlhf.teacher.probe import probe
from scope_openrlhf.teacher.served import parse_positions


class Replica:
    """Scores token t as -t / 10, plus `drift` more with every request; refuses requests longer than `room`."""

    def __init__(self, name, shift=0.0, drift=0.0, room=1000):
        self.name, self.shift, self.drift, self.room, self.asked = name, shift, drift, room, 0

    async def score(self, token_ids, top_k):
        if len(token_ids) > self.room:
            raise TeacherError("out of memory")
        ids = np.array(token_ids[1:])
        logprobs = (-ids / 10 - self.shift - self.drift * self.asked).astype(np.float32)
        self.asked += 1
        return Score(ids, logprobs, np.zeros((len(ids), 0), np.int32), np.zeros((len(ids), 0), np.float32))


def run(*replicas, dtype="bfloat16"):
    return asyncio.run(probe(list(replicas), [3, 5, 6, 7], 64, dtype))


def test_sound_replicas_get_a_line_each():
    said, logprobs = run(Replica("a"), Replica("b", shift=0.1))
    assert said == [
        "a: 4 tokens twice within 0 nats, within 0 of the first, 64 tokens fit",
        "b: 4 tokens twice within 0 nats, within 0.1 of the first, 64 tokens fit",
    ]
    assert logprobs == [-0.5, -0.6, -0.7]


@pytest.mark.parametrize(
    ("replicas", "dtype", "message"),
    [
        ([Replica("a"), Replica("b", shift=0.5)], "bfloat16", "b differs from a by 0.5 nats.*they must hold the same params"),
        ([Replica("a"), Replica("b", shift=0.1)], "float32", "b differs from a by 0.1 nats"),
        ([Replica("a", drift=0.2)], "bfloat16", "a scored one sequence twice and differs from itself by 0.4.*prefix caching off"),
        ([Replica("a", room=63)], "bfloat16", "a cannot score a request of 64 tokens, the longest of this run: out of memory. Lower openrlhf.data.max_len"),
    ],
)  # fmt: skip
def test_a_replica_that_cannot_be_trusted_is_refused_with_what_to_change(replicas, dtype, message):
    with pytest.raises(TeacherError, match=message):
        run(*replicas, dtype=dtype)


def test_an_answer_over_http_is_read_by_token_id_and_rank():
    positions = [
        {"7": {"logprob": -2.0, "rank": 3}, "4": {"logprob": -0.1, "rank": 1}, "9": {"logprob": -1.0, "rank": 2}},
        {"9": {"logprob": None, "rank": 1}, "4": {"logprob": -3.0, "rank": 2}},
    ]
    score = parse_positions([5, 7, 9], positions, 2, "url")
    assert score.token_ids.tolist() == [7, 9] and score.topk_ids.tolist() == [[4, 9], [9, 4]]
    assert score.logprobs[0] == -2.0 and np.isnan(score.logprobs[1])  # which the client's check refuses
    with pytest.raises(TeacherError, match="position 1 holds no log-prob of token 8"):
        parse_positions([5, 8, 9], positions, 2, "url")
    with pytest.raises(TeacherError, match="position 2 lacks some of the 3 likeliest"):
        parse_positions([5, 7, 9], positions, 3, "url")
