"""What the start-up probe says of replicas that cannot be trusted."""

import asyncio

import numpy as np
import pytest
import resolved

from scope_openrlhf.data.problem import Problem
from scope_openrlhf.models.loading import load_tokenizer
from scope_openrlhf.settings.sections import StudentConfig
from scope_openrlhf.teacher import probe as probing
from scope_openrlhf.teacher.contract import Score, TeacherError
from scope_openrlhf.teacher.probe import probe, probe_run


class Replica:
    """Scores token t as -t / 10, plus `drift` more with every request; refuses requests longer than `room`."""

    def __init__(self, name, shift=0.0, drift=0.0, room=1000):
        self.name, self.shift, self.drift, self.room, self.asked = name, shift, drift, room, 0
        self.scored, self.opened = [], []

    async def open(self, *asked):
        self.opened.append(asked)

    async def close(self):
        self.opened.append("closed")

    async def score(self, token_ids, top_k):
        self.scored.append(token_ids)
        if len(token_ids) > self.room:
            raise TeacherError("out of memory")
        ids = np.array(token_ids[1:])
        logprobs = (-ids / 10 - self.shift - self.drift * self.asked).astype(np.float32)
        self.asked += 1
        return Score(ids, logprobs, np.zeros((len(ids), 0), np.int32), np.zeros((len(ids), 0), np.float32))


def run(*replicas, dtype="bfloat16", one_will_do=False):
    return asyncio.run(probe(list(replicas), "1+1?2", [3, 5, 6, 7], 64, dtype, one_will_do))


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
        (
            [Replica("a"), Replica("b", shift=0.5)],
            "bfloat16",
            "b differs from a by 0.5 nats.*they must hold the same params",
        ),
        ([Replica("a"), Replica("b", shift=0.1)], "float32", "b differs from a by 0.1 nats"),
        (
            [Replica("a", drift=0.2)],
            "bfloat16",
            "a scored one sequence twice and differs from itself by 0.4.*prefix caching off",
        ),
        (
            [Replica("a", room=63)],
            "bfloat16",
            "a scored 4 tokens, but not 64, the longest request of this run: out of memory. Lower openrlhf.data",
        ),
    ],
)
def test_a_replica_that_cannot_be_trusted_is_refused_with_what_to_change(replicas, dtype, message):
    with pytest.raises(TeacherError, match=message):
        run(*replicas, dtype=dtype)


class Silent(Replica):
    async def open(self, *asked):
        raise TeacherError("c answered 503: later")


def test_a_fleet_goes_on_without_a_server_that_gives_no_sound_score_and_names_it():
    said, logprobs = run(Silent("c"), Replica("a"), Replica("b", room=63), one_will_do=True)
    assert said[0] == "warning: the run goes on without c until it gives sound scores: c answered 503: later"
    assert said[1].startswith("a: 4 tokens twice") and logprobs == [-0.5, -0.6, -0.7]
    assert "without b until it gives sound scores: b scored 4 tokens, but not 64" in said[2]
    with pytest.raises(TeacherError, match="c answered 503: later; b scored 4 tokens, but not 64"):
        run(Silent("c"), Replica("b", room=63), one_will_do=True)
    with pytest.raises(TeacherError, match="^c answered 503: later$"):
        run(Replica("a"), Silent("c"))  # replicas of one group are alike, so that one of them says it of all


@pytest.mark.parametrize("other", [Replica("b", shift=0.5), Replica("b", drift=0.2)])
def test_a_server_of_another_model_is_refused_however_many_others_there_are(other):
    with pytest.raises(TeacherError, match="b differs from a by 0.5|b scored one sequence twice"):
        run(Silent("c"), Replica("a"), other, one_will_do=True)


def test_a_run_is_probed_with_a_problem_and_its_answer_read_by_the_tokenizer_as_the_student_allows(monkeypatch):
    replica, loaded = Replica("a"), []

    def load(path, **kwargs):
        loaded.append((path, kwargs))
        return load_tokenizer(path)

    monkeypatch.setattr(probing, "connect", lambda teacher: [replica])
    monkeypatch.setattr(probing, "load_tokenizer", load)
    student = StudentConfig(path="examples/tiny/student", trust_remote_code=True)
    problem = Problem(id="train-7", prompt="1+1?", answer="2")
    said, logprobs = probe_run(resolved.teacher(urls=["http://host"]), student, problem, 20)
    text = "<|user|>1+1?<|assistant|>2"
    ids = load_tokenizer(student.path)(text)["input_ids"]
    assert loaded == [(student.path, {"trust_remote_code": True})]
    assert replica.scored == [ids, (ids * 3)[:20], ids] and replica.opened == [(text, ids, 20), "closed"]
    assert logprobs == pytest.approx([-i / 10 for i in ids[1:]]) and "20 tokens fit" in said[0]
