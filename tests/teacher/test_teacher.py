import asyncio
import functools
import math
import os
import signal

import numpy as np
import psutil
import pytest
from hugging_face import teacher_logprobs

from scope_openrlhf.settings.sections import TeacherConfig
from scope_openrlhf.teacher.client import Score, TeacherClient, TeacherError, check_score
from scope_openrlhf.teacher.group import RayEndpoint, awake, place


def test_scores_equal_a_hugging_face_forward_at_the_same_temperature(teacher):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("examples/tiny/teacher")
    client = TeacherClient([RayEndpoint("scope-teacher-0")], deadline_seconds=60)
    texts = [
        rf"<|user|>{a}+7-5?<|assistant|>{a}+7={a + 7};{a + 7}-5={a + 2};\boxed{{{a + 2}}}<|end|>" for a in range(20, 60)
    ]
    sequences = [tokenizer(t)["input_ids"] for t in texts]
    sequences.append((sequences[0] * 6)[:127])  # the longest request that max_model_len 128 takes

    async def score_all():
        return await asyncio.gather(*(client.score(s, top_k=3) for s in sequences))

    together = asyncio.run(score_all())  # packed into a few engine steps
    for i in (len(sequences) - 1, 7, 0):  # and alone, in another order
        alone = asyncio.run(client.score(sequences[i], top_k=3))
        assert np.allclose(alone.logprobs, together[i].logprobs, rtol=1e-4, atol=1e-4)
    for sequence, score in zip(sequences, together, strict=True):
        logp = teacher_logprobs(sequence, 0.6)
        # float32 on both sides; log-probs go down to -30, where a relative error of 1e-4 is 3e-3
        close = functools.partial(np.allclose, rtol=1e-4, atol=1e-4)
        positions, likeliest = np.arange(len(logp)), -np.sort(-logp, axis=1)[:, :3]
        assert close(score.logprobs, logp[positions, sequence[1:]])
        assert close(score.topk_logprobs, likeliest) and close(np.take_along_axis(logp, score.topk_ids, 1), likeliest)


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
        ([6, 7], [-1.0, 0.5], "log-prob 0.5 at position 2"),
        ([6, 7], [0.0, 0.0], "every log-prob is exactly 0"),
    ],
)
def test_a_broken_answer_never_becomes_a_number(ids, logprobs, message):
    with pytest.raises(TeacherError, match=message):
        check_score([5, 6, 7], answer(ids, logprobs), 0, "scope-teacher-0")


def test_a_sound_answer_passes_and_a_broken_top_k_does_not():
    check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0]), 0, "scope-teacher-0")
    check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0], [[-0.5], [0.0]]), 1, "scope-teacher-0")
    with pytest.raises(TeacherError, match=r"its top-k has the shapes \(2, 0\), \(2, 0\), due was \(2, 1\)"):
        check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0]), 1, "scope-teacher-0")
    with pytest.raises(TeacherError, match="log-prob nan at position 2"):
        check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0], [[-0.5], [math.nan]]), 1, "scope-teacher-0")


class Fake:
    """A replica that answers as told: each entry of `script` is a Score, an error to raise, or seconds to sleep; the last one repeats."""

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
    client = TeacherClient(list(replicas), deadline, pause_seconds=0.05)

    async def all_of_them():
        return await asyncio.gather(*(client.score([5, 6, 7]) for _ in range(times)))

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


def test_requests_go_where_the_fewest_tokens_are_outstanding():
    slow = Fake("a", 0.2), Fake("b", 0.2)
    ask(*slow, times=10)
    assert [f.asked for f in slow] == [5, 5]


def test_an_engine_that_dies_is_started_again_and_the_request_is_answered(teacher, ray_session):
    """The engine core, which vLLM runs as a process of its own, is killed while it scores."""
    client = TeacherClient([RayEndpoint("scope-teacher-0")], deadline_seconds=200)
    sequence = [3, *(5 + i % 15 for i in range(120))]

    async def scored_through_a_kill():
        before = await client.score(sequence)
        under_way = [asyncio.create_task(client.score(sequence)) for _ in range(20)]
        await asyncio.sleep(0.01)
        os.kill(engine_core().pid, signal.SIGKILL)
        return before, await asyncio.gather(*under_way)

    before, after = asyncio.run(scored_through_a_kill())
    assert all(np.allclose(before.logprobs, score.logprobs, rtol=1e-4, atol=1e-5) for score in after)


def test_sleepers_are_awake_inside_the_block_and_one_that_fails_stops_nobody(ray_session, capfd):
    class Sleeper:
        """Notes what it is told; one that is `stubborn` fails to wake."""

        def __init__(self, stubborn):
            self.told, self.stubborn = [], stubborn

        def wake(self):
            self.told.append("wake")
            if self.stubborn:
                raise RuntimeError("no")

        def sleep(self):
            self.told.append("sleep")

        def heard(self):
            return self.told

    actors = [
        ray_session.remote(Sleeper).options(name=f"sleeper-{i}", num_cpus=0).remote(stubborn=i == 1) for i in range(2)
    ]
    with awake(["sleeper-0", "sleeper-1"], 30):
        assert ray_session.get([a.heard.remote() for a in actors]) == [["wake"], ["wake"]]
    assert ray_session.get([a.heard.remote() for a in actors]) == [["wake", "sleep"], ["wake", "sleep"]]
    assert "sleeper-1 could not be told to wake" in capfd.readouterr().err


def test_replicas_sit_where_the_config_says(ray_session):
    from ray.util.placement_group import placement_group, remove_placement_group

    assert place(TeacherConfig(tensor_parallel_size=2), 0, None) == {
        "num_gpus": 2,
        "num_cpus": 1,
        "scheduling_strategy": "DEFAULT",
    }
    assert place(TeacherConfig(gpu_fraction=0.5, placement="spread"), 1, None)["scheduling_strategy"] == "SPREAD"
    assert place(TeacherConfig(gpu_fraction=0.5), 1, None)["num_gpus"] == 0.5
    shared = placement_group([{"GPU": 1, "CPU": 1}] * 2)
    options = [place(TeacherConfig(placement="colocate"), i, shared) for i in range(3)]
    remove_placement_group(shared)
    assert [o["scheduling_strategy"].placement_group_bundle_index for o in options] == [0, 1, 0]
    assert all(o["num_gpus"] == o["num_cpus"] == 0.2 for o in options)


def engine_core() -> psutil.Process:
    """The one vLLM engine of this test session."""
    (core,) = [p for p in psutil.Process().children(recursive=True) if "EngineCore" in " ".join(p.cmdline())]
    return core
