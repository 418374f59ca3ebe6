"""A real replica of the tiny teacher: its numbers, its death, its sleep, its place."""

import asyncio
import functools
import itertools
import os
import signal
import time

import numpy as np
import psutil
import ray
import resolved
from hugging_face import teacher_logprobs

from scope_openrlhf.teacher import group
from scope_openrlhf.teacher.client import TeacherClient
from scope_openrlhf.teacher.group import TeacherGroup, actor_names, awake, place, sleepers, starts
from scope_openrlhf.teacher.ray_endpoint import RayEndpoint


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

    alone = {"num_gpus": 2, "num_cpus": 1, "scheduling_strategy": "DEFAULT"}
    assert place(resolved.teacher(tensor_parallel_size=2), 0, None) == alone
    halves = resolved.teacher(gpu_fraction=0.5, placement="spread")
    assert place(halves, 1, None)["scheduling_strategy"] == "SPREAD"
    assert place(resolved.teacher(gpu_fraction=0.5), 1, None)["num_gpus"] == 0.5
    shared = placement_group([{"GPU": 1, "CPU": 1}] * 2)
    ray_session.get(shared.ready(), timeout=60)  # Ray keeps the GPUs of one that is removed while it is being made
    options = [place(resolved.teacher(placement="colocate"), i, shared) for i in range(3)]
    remove_placement_group(shared)
    assert [o["scheduling_strategy"].placement_group_bundle_index for o in options] == [0, 1, 0]
    assert all(o["num_gpus"] == o["num_cpus"] == 0.2 for o in options)


def test_replicas_that_share_a_gpu_start_one_after_the_other_each_asleep_before_the_next(
    ray_session, tmp_path, monkeypatch
):
    """Five replicas on two logical GPUs of the student: of each GPU the times never overlap."""
    from ray.util.placement_group import placement_group, remove_placement_group

    class Loads:
        """Takes a while to load, and notes when it was loading."""

        def __init__(self, teacher, seed):
            self.began = time.time()
            time.sleep(0.3)

        def ready(self):
            return True

        def sleep(self):
            (gpu,) = ray.get_gpu_ids()
            (tmp_path / f"{self.began}").write_text(f"{gpu} {time.time()}")

        def stalled_seconds(self):
            return 0.0

    monkeypatch.setattr(group, "TeacherReplica", Loads)
    bundles = placement_group([{"GPU": 1, "CPU": 1}] * 2)
    ray_session.get(bundles.ready(), timeout=60)
    beside = TeacherGroup(resolved.teacher(name="beside", placement="colocate", sleep=True, replicas=5))
    try:
        beside.start(1, bundles)
    finally:
        beside.close()
        remove_placement_group(bundles)
    times: dict[str, list[tuple[float, float]]] = {}
    for file in tmp_path.iterdir():
        gpu, end = file.read_text().split()
        times.setdefault(gpu, []).append((float(file.name), float(end)))
    assert sorted(len(spans) for spans in times.values()) == [2, 3]
    for spans in times.values():
        spans.sort()
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_replicas_with_gpus_of_their_own_start_at_once():
    assert starts(resolved.teacher(replicas=3), 1) == [range(3)]
    assert starts(resolved.teacher(replicas=2, gpu_fraction=0.5), 1) == [range(1), range(1, 2)]
    assert starts(resolved.teacher(replicas=3, placement="colocate"), 2) == [range(2), range(2, 3)]


def test_only_replicas_of_a_group_that_sleep_are_sleepers():
    math = resolved.teacher(name="math", sleep=True, replicas=2)
    teachers = {
        "": resolved.teacher(),
        "math": math,
        "far": resolved.teacher(name="far", sleep=True, urls=["http://h"]),
    }
    assert actor_names(teachers[""]) == ["scope-teacher-0"]
    assert sleepers(teachers) == actor_names(math) == ["scope-teacher-math-0", "scope-teacher-math-1"]


def engine_core() -> psutil.Process:
    """The one vLLM engine of this test session."""
    (core,) = [p for p in psutil.Process().children(recursive=True) if "EngineCore" in " ".join(p.cmdline())]
    return core
