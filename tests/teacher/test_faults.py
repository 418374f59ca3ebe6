"""Two real replicas of the tiny teacher: killed, stopped, broken, or served by somebody else."""

import asyncio
import json
import shutil
import signal
import subprocess
import time

import numpy as np
import psutil
import pytest
import resolved
from commands import TINY_RUN
from hugging_face import teacher_logprobs
from served import serve

from scope_openrlhf.teacher.client import TeacherClient
from scope_openrlhf.teacher.contract import TeacherError
from scope_openrlhf.teacher.group import TeacherGroup
from scope_openrlhf.teacher.http_endpoint import HttpEndpoint
from scope_openrlhf.teacher.ray_endpoint import RayEndpoint
from scope_openrlhf.teacher.replica import EXTENSION

pytestmark = pytest.mark.slow
OTHERS: set[int] = set()
"""Engine cores that the session runs beside the pair."""
SEQUENCES = [[3, *(5 + (i * j) % 15 for i in range(3, 120))] for j in range(1, 41)]


@pytest.fixture(scope="module")
def pair(ray_session):
    OTHERS.update(core.pid for core in engine_cores())
    group = TeacherGroup(resolved.teacher(name="pair", replicas=2, hang_seconds=6.0))
    group.start(seed=1)
    ray_session.get([h.ready.remote() for h in group.handles], timeout=180)
    yield [RayEndpoint(name) for name in group.names]
    group.close()


def score_all(endpoints, disturb=lambda: None, deadline=150.0):
    client = TeacherClient(endpoints, deadline)

    async def all_of_them():
        tasks = [asyncio.create_task(client.score(s)) for s in SEQUENCES]
        await asyncio.sleep(0.02)
        disturb()
        return await asyncio.gather(*tasks)

    start = time.monotonic()
    return asyncio.run(all_of_them()), time.monotonic() - start


def engine_cores() -> list[psutil.Process]:
    """Processes of the pair's vLLM engines."""
    cores = [p for p in psutil.Process().children(recursive=True) if "EngineCore" in " ".join(p.cmdline())]
    return [core for core in cores if core.pid not in OTHERS]


def same(a, b) -> bool:
    return all(np.allclose(x.logprobs, y.logprobs, rtol=1e-4, atol=1e-4) for x, y in zip(a, b, strict=True))


def test_one_killed_the_other_answers_and_the_first_comes_back(pair):
    undisturbed, _ = score_all(pair)
    killed, seconds = score_all(pair, lambda: engine_cores()[0].kill())
    assert same(undisturbed, killed) and seconds < 10  # nobody waited for the restart
    alone, _ = score_all(pair[:1])
    other, _ = score_all(pair[1:])
    assert same(undisturbed, alone) and same(undisturbed, other)  # both are back


def test_both_killed_the_requests_wait_until_one_is_back(pair):
    undisturbed, _ = score_all(pair)
    after, _ = score_all(pair, lambda: [core.kill() for core in engine_cores()])
    assert same(undisturbed, after)


def test_one_that_hangs_is_started_again_and_its_requests_are_answered_by_the_other(pair):
    undisturbed, _ = score_all(pair)
    stopped = engine_cores()[0]
    after, seconds = score_all(pair, lambda: stopped.send_signal(signal.SIGSTOP))
    assert same(undisturbed, after) and seconds < 60
    assert not stopped.is_running() or stopped.status() == psutil.STATUS_ZOMBIE


def test_past_the_deadline_the_error_says_which_replica_and_what_to_do(pair):
    said = r"no replica scored a request of \d+ tokens within teacher.deadline_seconds 2: scope-teacher-pair-\d"
    with pytest.raises(TeacherError, match=said):
        score_all(pair, lambda: [core.kill() for core in engine_cores()], deadline=2.0)
    score_all(pair)  # and they come back


def test_nothing_is_held_once_the_scores_are_used(pair):
    """What 3,000 scores need stays with the allocators; 3,000 more must not add to it."""
    children = psutil.Process().children(recursive=True)
    processes = [psutil.Process(), *(p for p in children if p.name().startswith(("ray::TeacherRep", "VLLM")))]
    assert len(processes) >= 5

    async def score(num):
        client = TeacherClient(pair, deadline_seconds=150)
        sequences = [[3, *(5 + (i * j) % 15 for i in range(3, 120))] for j in range(num)]
        scores = await asyncio.gather(*map(client.score, sequences))
        return sum(len(s.logprobs) for s in scores)

    resident = []
    for _ in range(3):
        assert asyncio.run(score(3000)) == 3000 * 117
        resident.append(sum(p.memory_info().rss for p in processes) / 2**20)
    # MiB; the scores of one round alone take 3, the requests of them in vLLM far more
    assert resident[2] - resident[1] < 25, resident


def train(tmp_path, name, *overrides, wait=True):
    settings = [f"runs={tmp_path}", f"name={name}", "steps=4", "eval.path=", "teacher.replicas=2", *overrides]
    process = subprocess.Popen([*TINY_RUN, *settings], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return (process, process.communicate(timeout=400)[0]) if wait else (process, "")


def replica(run: subprocess.Popen) -> psutil.Process:
    """Process of one of the run's teacher actors."""
    children = psutil.Process(run.pid).children(recursive=True)
    return next(p for p in children if "TeacherReplica" in " ".join(p.cmdline()))


def rows(tmp_path, name) -> list[dict]:
    file = tmp_path / name / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_training_run_whose_replica_is_killed_ends_with_the_numbers_of_an_undisturbed_one(tmp_path):
    process, said = train(tmp_path, "calm")
    assert process.returncode == 0, said[-2000:]
    process, _ = train(tmp_path, "killed", wait=False)
    while not rows(tmp_path, "killed") and process.poll() is None:
        time.sleep(0.05)
    replica(process).kill()
    said = process.communicate(timeout=400)[0]
    assert process.returncode == 0, said[-2000:]
    for calm, killed in zip(rows(tmp_path, "calm"), rows(tmp_path, "killed"), strict=True):
        for key in ("loss", "grad_norm", "reverse_kl", "ppl_teacher_wrong", "right", "teacher_scored"):
            assert killed[key] == pytest.approx(calm[key], rel=1e-3), (calm["step"], key)


def test_where_no_replica_ever_comes_back_the_run_stops_after_a_checkpoint_of_its_last_step(tmp_path):
    gone = tmp_path / "teacher"
    shutil.copytree("examples/tiny/teacher", gone)
    settings = (
        f"teacher.path={gone}",
        "teacher.replicas=1",
        "teacher.deadline_seconds=60",
        "steps=40",
        "openrlhf.ckpt.save_steps=100",
    )
    process, _ = train(tmp_path, "r", *settings, wait=False)
    while len(rows(tmp_path, "r")) < 3 and process.poll() is None:
        time.sleep(0.2)
    shutil.move(gone, tmp_path / "hidden")  # so that it cannot be started again
    replica(process).kill()
    said = process.communicate(timeout=400)[0]
    done = len(rows(tmp_path, "r"))
    assert process.returncode == 1, said[-2000:]
    assert "could not be scored, teacher.drop_budget is 0" in said and "scope-teacher-0" in said, said[-2000:]
    assert (tmp_path / "r" / "checkpoints" / "_actor" / "latest").read_text() == f"global_step{done}"


def test_a_teacher_with_broken_params_is_refused_before_the_first_step(tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "teacher"
    shutil.copytree("examples/tiny/teacher", broken)
    params = load_file(broken / "model.safetensors")
    params["model.norm.weight"] = torch.full_like(params["model.norm.weight"], float("nan"))
    save_file(params, broken / "model.safetensors", metadata={"format": "pt"})
    process, said = train(tmp_path, "nan", f"teacher.path={broken}")
    assert process.returncode == 1 and "log-prob nan at position" in said
    assert not rows(tmp_path, "nan")


@pytest.fixture(scope="module")
def served():
    with serve("--api-key", "secret", "--dtype", "float32", "--worker-extension-cls", EXTENSION) as url:
        yield url


def test_a_served_teacher_gives_the_same_scores_at_the_same_temperature(served, monkeypatch):
    async def score(key):
        monkeypatch.setenv("SCOPE_TEACHER_API_KEY", key)
        endpoint = HttpEndpoint(served, 0.6)
        try:
            await endpoint.open("12+7?", [6, 7, 15, 12, 20], 127)
            client = TeacherClient([endpoint], deadline_seconds=30)
            await client.score(SEQUENCES[0])
            # as if started again
            await endpoint._call("POST", "/collective_rpc", {"method": "set_temperature", "args": ["1"]})
            return [await client.score(s, top_k=3) for s in SEQUENCES]
        finally:
            await endpoint.close()

    for sequence, score_of in zip(SEQUENCES, asyncio.run(score("secret")), strict=True):
        logp = teacher_logprobs(sequence, 0.6)
        assert np.allclose(score_of.logprobs, logp[range(len(sequence) - 1), sequence[1:]], rtol=1e-3, atol=1e-3)
        assert np.allclose(score_of.topk_logprobs, -np.sort(-logp, axis=1)[:, :3], rtol=1e-3, atol=1e-3)
    with pytest.raises(TeacherError, match="answered 401"):
        asyncio.run(score("wrong"))


def test_a_server_without_our_extension_is_taken_at_temperature_1_alone():
    async def score(url, temperature):
        endpoint = HttpEndpoint(url, temperature)
        try:
            await endpoint.open("12+7?", [6, 7, 15, 12, 20], 127)
            return await TeacherClient([endpoint], deadline_seconds=30).score(SEQUENCES[0], top_k=2)
        finally:
            await endpoint.close()

    with serve("--dtype", "float32") as url:
        logp = teacher_logprobs(SEQUENCES[0], 1.0)
        scored = asyncio.run(score(f"{url}/v1", 1.0))
        assert np.allclose(scored.logprobs, logp[range(len(SEQUENCES[0]) - 1), SEQUENCES[0][1:]], atol=1e-3)
        with pytest.raises(TeacherError, match=r"cannot be set to 0\.6 .*--worker-extension-cls"):
            asyncio.run(score(url, 0.6))
