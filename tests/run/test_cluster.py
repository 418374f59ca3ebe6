"""The examples for clusters say what scope-train understands.

A real Ray of three nodes on this machine runs one of them (slow).
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from scope_openrlhf.platform import cluster
from scope_openrlhf.run.cli import main

CLUSTER = Path("examples/cluster")
BIN = Path(sys.executable).parent


def command_in(text: str) -> list[str]:
    """Arguments of the scope-train in a script, over as many lines as it has."""
    found = re.search(r"scope-train ((?:[^\"\n\\]|\\\n|\n(?=\s+openrlhf))+)", text)
    assert found
    return shlex.split(found[1].replace("\\\n", " "))


@pytest.mark.parametrize("file", ["slurm.sh", "kuberay.yaml"])
def test_what_an_example_submits_resolves_on_its_nodes(file, deepmath, capfd):
    arguments = command_in((CLUSTER / file).read_text())
    assert main(["plan", *arguments[1:], deepmath]) == 0
    assert "scope, 16 GPUs" in capfd.readouterr().out


def test_the_rayjob_has_the_form_of_its_resource():
    """ray.io/v1 RayJob, as far as this one uses it: GPUs that Ray is told of are those that its containers get."""
    job = yaml.safe_load((CLUSTER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(job["spec"]) == {"entrypoint", "shutdownAfterJobFinishes", "backoffLimit", "rayClusterSpec"}
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) == {"headGroupSpec", "workerGroupSpecs"}
    (workers,) = cluster["workerGroupSpecs"]
    assert set(workers) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    gpus = 0
    for group, nodes in ((cluster["headGroupSpec"], 1), (workers, workers["replicas"])):
        (container,) = group["template"]["spec"]["containers"]
        limit = container["resources"]["limits"]["nvidia.com/gpu"]
        assert group["rayStartParams"]["num-gpus"] == str(limit)  # Ray's parameters are texts there
        volumes = {v["name"] for v in group["template"]["spec"]["volumes"]}
        assert {m["name"] for m in container["volumeMounts"]} == volumes
        gpus += limit * nodes
    assert gpus == 16


@pytest.mark.parametrize("file", ["slurm.sh", "local.sh"])
def test_the_scripts_are_sound_shell(file):
    shell = (CLUSTER / file).read_text().partition("\n")[0].removeprefix("#!")
    assert subprocess.run([shell, "-n", CLUSTER / file]).returncode == 0


@pytest.fixture
def three_nodes():
    env = os.environ | {"BIN": str(BIN)}

    def local(what: str) -> None:
        command, null = ["sh", CLUSTER / "local.sh", what], subprocess.DEVNULL
        subprocess.run(command, env=env, check=what == "up", timeout=180, stdout=null, stderr=null)

    local("up")
    yield local
    local("down")


def test_cluster_down_ends_what_cluster_up_started_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # whatever Ray runs here, its address stays as it is
    sleepers = [
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=os.environ | env)
        for env in ({cluster.CLUSTER_VARIABLE: "1"}, {cluster.CLUSTER_VARIABLE: "2"}, {})
    ]
    try:
        assert cluster.end_local_cluster("1") == 1
        assert [s.poll() is None for s in sleepers] == [False, True, True]
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


def test_auto_joins_no_ray_that_a_command_started_for_itself(monkeypatch, tmp_path, ray_session):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConnectionError, match="no `ray start` has left an address here"):
        cluster.join_or_start("auto", gpus=1, cpus=1, object_store_mib=100)


def test_an_address_that_an_ended_ray_left_is_told_at_once(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="127.0.0.1:1: .*Connection refused"):
        cluster.join_or_start("auto", gpus=1, cpus=1, object_store_mib=100)
    assert time.monotonic() - start < 30  # of which importing Ray is most; Ray itself tries for minutes


@pytest.mark.slow
def test_no_process_of_a_local_ray_outlives_its_killed_command_for_long():
    code = (
        "import time; from scope_openrlhf.platform.cluster import join_or_start; "
        "join_or_start('local', gpus=1, cpus=2, object_store_mib=100); print('up', flush=True); time.sleep(100)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as ours:
        assert ours.stdout and ours.stdout.readline()
        started = psutil.Process(ours.pid).children(recursive=True)
        ours.kill()
    assert started and psutil.wait_procs(started, timeout=30)[1] == []  # Ray's agents took a minute


def submit(folder: Path, *overrides: str) -> subprocess.Popen:
    """scope-train as a job of the cluster, its output into a file of this folder."""
    driver = (
        f"cd {Path.cwd()} && {BIN}/scope-train run --config examples/cpu_tiny.yaml ray.address=auto runs={folder} "
        f"name=job eval.path= openrlhf.rollout.max_new_tokens=40 {' '.join(overrides)}"
    )
    command = [BIN / "ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--", "sh", "-c", driver]
    for _ in range(6):  # the dashboard may still be starting
        job = subprocess.Popen(command, stdout=(folder / "said").open("a"), stderr=subprocess.STDOUT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.wait(timeout=15)
        if "No available agent" not in (folder / "said").read_text():
            return job
        (folder / "said").write_text("")
    raise AssertionError("the dashboard's agent did not start")


def steps_done(folder: Path) -> int:
    file = folder / "job" / "metrics.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


@pytest.mark.slow
def test_a_run_submitted_to_three_nodes_has_student_rollouts_and_teacher_on_one_each(three_nodes, tmp_path):
    job = submit(tmp_path, "steps=2")
    assert job.wait(timeout=420) == 0, (tmp_path / "said").read_text()[-3000:]
    assert (tmp_path / "job" / "summary.json").exists()
    command = [BIN / "ray", "list", "actors", "--address", "http://127.0.0.1:8265", "--limit", "1000"]
    command += ["--format", "yaml"]
    who = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    nodes = {a["class_name"]: a["node_id"] for a in yaml.safe_load(who.stdout)}
    parts = ("PolicyModelActor", "TeacherReplica", "RolloutRayActor")
    on = {name: node for name, node in nodes.items() if any(part in name for part in parts)}
    assert len(on) == 3 and len(set(on.values())) == 3, nodes


@pytest.mark.slow
def test_a_job_goes_on_where_an_engine_died_and_where_the_head_was_restarted(three_nodes, tmp_path):
    overrides = ("steps=8", "openrlhf.ckpt.save_steps=2")
    job = submit(tmp_path, *overrides)
    deadline = time.time() + 400
    while steps_done(tmp_path) < 3:
        assert job.poll() is None and time.time() < deadline, (tmp_path / "said").read_text()[-3000:]
        time.sleep(0.1)
    engines = [p for p in psutil.process_iter() if p.cmdline() and "RolloutRayActor" in p.cmdline()[0]]
    (engine,) = [p for p in engines if str(tmp_path) in p.environ().get("SCOPE_RUN", "")]  # of this run, of no other
    engine.kill()
    while "starting again from global_step2" not in (tmp_path / "said").read_text() or steps_done(tmp_path) < 5:
        assert job.poll() is None and time.time() < deadline, (tmp_path / "said").read_text()[-3000:]
        time.sleep(0.1)
    three_nodes("down")
    job.wait(timeout=60)  # with 0, though its cluster went: what Ray's command says then
    assert 5 <= steps_done(tmp_path) < 8
    three_nodes("up")
    job = submit(tmp_path, *overrides)
    assert job.wait(timeout=420) == 0, (tmp_path / "said").read_text()[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "job" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 9))
