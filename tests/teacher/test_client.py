"""The one door to teachers: what it refuses, whom it asks, and how long it waits."""

import asyncio
import math
import time

import numpy as np
import pytest
import resolved

from scope_openrlhf.teacher import client
from scope_openrlhf.teacher.client import TeacherClient
from scope_openrlhf.teacher.contract import Score, TeacherError, check_score


def answer(ids, logprobs, topk=None) -> Score:
    topk = np.array(topk or [[]] * len(logprobs), dtype=np.float32)
    return Score(np.array(ids), np.array(logprobs, dtype=np.float32), np.zeros(topk.shape, dtype=np.int32), topk)


@pytest.mark.parametrize(
    "ids, logprobs, message",
    [
        ([6, 7], [-1.0], "1 log-probs came back, 2 were due"),
        ([6, 8], [-1.0, -2.0], "position 2 was scored as token 8, sent was 7"),
        ([6, 7], [-1.0, math.nan], "log-prob nan at position 2"),
        ([6, 7], [-math.inf, -1.0], "log-prob -inf at position 1"),
        ([6, 7], [-1.0, -9999.0], "log-prob -9999.0 at position 2 is not a number above -9999 and at most 0"),
        ([6, 7], [-1.0, 2e-6], "log-prob .* at position 2"),
        ([6], [-1.0, -1.0], "1 token ids came back, 2 were due"),
        ([6, 7], [-1.0, 0.5], "log-prob 0.5 at position 2"),
        ([6, 7], [0.0, 0.0], "every log-prob is exactly 0"),
    ],
)
def test_a_broken_answer_never_becomes_a_number(ids, logprobs, message):
    with pytest.raises(TeacherError, match=message):
        check_score([5, 6, 7], answer(ids, logprobs), 0, "scope-teacher-0")


def test_a_sound_answer_passes_and_a_broken_top_k_does_not():
    check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0]), 0, "scope-teacher-0")
    check_score([5, 6, 7], answer([6, 7], [-9998.0, 5e-7]), 0, "scope-teacher-0")  # rounding above 0
    check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0], [[-0.5], [0.0]]), 1, "scope-teacher-0")
    with pytest.raises(TeacherError, match=r"its top-k has the shapes \(2, 0\), \(2, 0\), due was \(2, 1\)"):
        check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0]), 1, "scope-teacher-0")
    for broken in (math.nan, -math.inf, -9999.0):
        with pytest.raises(TeacherError, match=f"log-prob {broken} at position 2"):
            check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0], [[-0.5], [broken]]), 1, "scope-teacher-0")


class Fake:
    """A replica that answers as told.

    Each entry of `script` is a Score, an error to raise, or seconds to sleep; the last one repeats.
    """

    def __init__(self, name: str, *script) -> None:
        self.name, self.script, self.asked = name, list(script), 0

    async def score(self, token_ids, top_k):
        self.asked += 1
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, float):
            await asyncio.sleep(step)
        if isinstance(step, TeacherError):
            raise step
        return step if isinstance(step, Score) else GOOD


GOOD = answer([6, 7], [-1.0, -2.0])
NAN = answer([6, 7], [-1.0, math.nan])


def ask(*replicas, deadline=5.0, times=1):
    door = TeacherClient(list(replicas), deadline, pause_seconds=0.05)

    async def all_of_them():
        return await asyncio.gather(*(door.score([5, 6, 7]) for _ in range(times)))

    return asyncio.run(all_of_them())


def test_a_bad_answer_is_asked_again_of_another_replica_and_the_bad_one_rests():
    bad, good = Fake("a", NAN), Fake("b", GOOD)
    assert ask(bad, good) == [GOOD]
    assert (bad.asked, good.asked) == (1, 1)


def test_a_replica_that_is_back_is_asked_again():
    back = Fake("a", TeacherError("a died"), TeacherError("a is starting"), GOOD)
    assert ask(back) == [GOOD] and back.asked == 3


def test_where_no_replica_gives_a_sound_answer_the_error_names_each_failure():
    with pytest.raises(TeacherError) as error:
        ask(Fake("a", NAN), Fake("b", TeacherError("b died")), deadline=0.5)
    assert "no replica scored a request of 3 tokens within teacher.deadline_seconds 0.5" in str(error.value)
    assert "a, request of 3 tokens: log-prob nan at position 2" in str(error.value) and "b died" in str(error.value)


def test_a_silent_replica_is_an_error_at_the_deadline():
    with pytest.raises(TeacherError, match="a was still silent at the deadline"):
        ask(Fake("a", 60.0), deadline=0.2)


def test_a_replica_that_spoke_and_rests_at_the_deadline_is_not_called_silent():
    with pytest.raises(TeacherError) as error:
        asyncio.run(TeacherClient([Fake("a", TeacherError("a answered 500"))], 0.3, pause_seconds=0.2).score([5, 6, 7]))
    assert "a answered 500" in str(error.value) and "silent" not in str(error.value)


def test_a_silent_replica_costs_half_of_the_deadline_and_rests_as_long_as_it_was_silent():
    silent, good = Fake("a", 60.0), Fake("b", GOOD)
    door = TeacherClient([silent, good], deadline_seconds=1.0)

    async def twice():
        start = time.monotonic()
        await door.score([5, 6, 7])
        first = time.monotonic()
        await door.score([5, 6, 7])
        return first - start, time.monotonic() - first

    first, second = asyncio.run(twice())
    assert 0.5 <= first < 0.9 and second < 0.2 and (silent.asked, good.asked) == (1, 2)


def test_requests_go_where_the_fewest_tokens_are_outstanding():
    slow = Fake("a", 0.2), Fake("b", 0.2)
    ask(*slow, times=10)
    assert [f.asked for f in slow] == [5, 5]


class Slow:
    """A replica that answers one request at a time, and refuses those that begin with 9."""

    name = "slow"

    def __init__(self) -> None:
        self.lock, self.scored, self.closed = asyncio.Lock(), [], False

    async def score(self, token_ids, top_k):
        async with self.lock:
            await asyncio.sleep(0.01)
        if token_ids[0] == 9:
            raise TeacherError("no nines")
        self.scored.append(tuple(token_ids))
        return answer(token_ids[1:], [-1.0] * (len(token_ids) - 1))

    async def close(self):
        self.closed = True


def test_many_scores_come_in_order_each_asked_once_and_wait_outside_their_deadline(monkeypatch):
    replica = Slow()
    monkeypatch.setattr(client, "connect", lambda teacher: [replica])
    monkeypatch.setattr(client, "AT_ONCE", 4)
    requests = [[i % 100, i % 7, 3] for i in range(150) if i % 100 != 9]

    async def inside_a_loop():
        return client.score_all(resolved.teacher(deadline_seconds=0.5), requests, 0, lambda: moved.append(1))

    moved = []
    scores = asyncio.run(inside_a_loop())  # all of them take a second and a half, each its turn among four
    assert [s.token_ids.tolist() for s in scores] == [ids[1:] for ids in requests] and replica.closed
    assert len(replica.scored) == len(set(map(tuple, requests))) == len(moved)


def test_a_teacher_that_answers_nobody_costs_one_deadline_and_not_one_for_each_that_waits(monkeypatch):
    monkeypatch.setattr(client, "connect", lambda teacher: [Slow()])
    monkeypatch.setattr(client, "AT_ONCE", 2)
    start = time.monotonic()
    nines = [[9, 1, i] for i in range(20)]
    answers = client.score_all(resolved.teacher(deadline_seconds=0.3), nines, 0, lambda: None)
    assert all(isinstance(a, TeacherError) and "no nines" in str(a) for a in answers) and time.monotonic() - start < 2
