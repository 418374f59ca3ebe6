"""Scores that are kept in a file, and taken from there instead of the teacher."""

import asyncio

import numpy as np
import pytest

from scope_openrlhf.teacher.client import TeacherClient
from scope_openrlhf.teacher.contract import Score, TeacherError
from scope_openrlhf.teacher.score_log import ScoreLog

SCORE = Score(
    np.array([6, 7], np.int32),
    np.array([-1.0, -0.25], np.float32),
    np.array([[6], [9]], np.int32),
    np.array([[-1.0], [-0.1]], np.float32),
)


class Counting:
    name = "counting"
    asked = 0

    async def score(self, token_ids, top_k):
        self.asked += 1
        return SCORE


def equal(a: Score, b: Score) -> bool:
    names = ("token_ids", "logprobs", "topk_ids", "topk_logprobs")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def test_a_score_is_asked_for_once_and_then_read_from_the_file(tmp_path):
    teacher = Counting()
    client = TeacherClient([teacher], 5.0, log=ScoreLog(tmp_path / "scores", {"path": "t"}))
    for _ in range(2):
        assert equal(asyncio.run(client.score([5, 6, 7], 1)), SCORE)
    assert teacher.asked == 1


def test_a_replay_needs_no_teacher_and_refuses_what_is_not_there(tmp_path):
    ScoreLog(tmp_path / "scores", {"path": "t"}).put([5, 6, 7], 1, SCORE)
    replay = TeacherClient([], 5.0, log=ScoreLog(tmp_path / "scores", {"path": "t"}))
    assert equal(asyncio.run(replay.score([5, 6, 7], 1)), SCORE)
    for tokens, top_k in (([5, 6, 8], 1), ([5, 6, 7], 0)):
        with pytest.raises(TeacherError, match="holds no score of a request of 3 tokens by this teacher"):
            asyncio.run(replay.score(tokens, top_k))


def test_another_teacher_has_other_scores(tmp_path):
    ScoreLog(tmp_path / "scores", {"path": "t"}).put([5, 6, 7], 1, SCORE)
    assert ScoreLog(tmp_path / "scores", {"path": "u"}).get([5, 6, 7], 1) is None
