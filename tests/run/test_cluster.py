"""The examples for clusters say what scope-train understands.

A real Ray of three nodes on this machine runs one of them (slow).
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import yaml

from scope_openrlhf.platform import cluster
from scope_openrlhf.run.cli import main

CLUSTER = Path("examples/cluster")
EXAMPLES = ["slurm.sh", "kuberay.yaml", "skypilot.yaml"]
BIN = Path(sys.executable).parent


def command_in(file: str) -> list[str]:
    """Arguments of the scope-train that an example runs, over as many lines as it has."""
    text = (CLUSTER / file).read_text().replace("\\\n", " ")
    found = re.search(r"scope-train (run (?:[^\"&\n]|\n(?=\s+openrlhf))+)", text)
    assert found
    return shlex.split(found[1])


@pytest.mark.parametrize("file", EXAMPLES)
def test_what_an_example_submits_resolves_on_its_nodes(file, deepmath, capfd):
    arguments = command_in(file)
    assert arguments == command_in("slurm.sh")
    assert main(["plan", *arguments[1:], deepmath]) == 0
    assert "scope, 16 GPUs" in capfd.readouterr().out


def test_the_examples_and_the_dockerfile_name_the_same_image_and_the_same_volumes():
    docker = Path("Dockerfile").read_text()
    (volumes,) = re.findall(r"^VOLUME (.*)$", docker, re.MULTILINE)
    (workdir,) = re.findall(r"^WORKDIR (.*)$", docker, re.MULTILINE)
    assert json.loads(volumes) == [f"{workdir}/runs", "/hub"] and "HF_HOME=/hub" in docker
    (image,) = set(re.findall(r"\bscope:[\d.]+", docker))
    for file in EXAMPLES:
        text = (CLUSTER / file).read_text()
        assert set(re.findall(r"\bscope:[\d.]+", text)) == {image}
        assert all(re.search(rf"{path}\b", text) for path in json.loads(volumes))
        assert "sh examples/cluster/node.sh" in text and "sleep" not in text


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


def test_the_task_of_skypilot_has_the_form_of_its_schema():
    """Keys of sky/utils/schemas.py of SkyPilot, as far as this one uses them; volumes map a path to a name."""
    task = yaml.safe_load((CLUSTER / "skypilot.yaml").read_text())
    assert set(task) == {"name", "num_nodes", "resources", "volumes", "config", "run"}
    resources = task["resources"]
    assert set(resources) == {"infra", "accelerators", "cpus", "memory", "image_id", "job_recovery"}
    assert re.fullmatch(r"docker:\S+", resources["image_id"]) and re.fullmatch(r"\d+\+", resources["memory"])
    assert set(resources["job_recovery"]) == {"max_restarts_on_errors"}
    assert all(isinstance(volume, str) for volume in task["volumes"].values())
    kind, _, gpus = resources["accelerators"].partition(":")
    assert kind and task["num_nodes"] * int(gpus) == 16


@pytest.mark.parametrize("file", ["slurm.sh", "local.sh", "node.sh", "skypilot.yaml"])
def test_the_scripts_are_sound_shell(file):
    text = (CLUSTER / file).read_text()
    shell = "bash" if "#!/bin/bash" in text else "sh"
    script = yaml.safe_load(text)["run"] if file.endswith("yaml") else text
    assert subprocess.run([shell, "-n"], input=script, text=True).returncode == 0
    if linter := shutil.which("shellcheck"):
        said = subprocess.run([linter, "--shell", shell, "-"], input=script, text=True, capture_output=True)
        assert said.returncode == 0, said.stdout


STAND_INS = {
    # the command of every task, each as a node of its own, and the first exit code that is not 0
    "srun": """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for ((SLURM_NODEID = 0; SLURM_NODEID < SLURM_JOB_NUM_NODES; SLURM_NODEID++)); do
    export SLURM_NODEID
    "$@" &
    tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || code=${code:-$?}; done
exit "${code:-0}"
""",
    "scontrol": """#!/bin/sh
[ "$1" = show ] && printf '127.0.0.1\\n127.0.0.1\\n' || echo "$@" >>"$TMPDIR/asked"
""",
    # Ray's nodes on one machine need ports of their own and GPUs in name; a dashboard is of no use here
    "ray": """#!/bin/sh
case "$*" in *--head*) set -- "$@" --include-dashboard false ;; esac
[ "$1" = start ] && set -- "$@" --node-ip-address 127.0.0.1 --num-gpus 8 --num-cpus 1 \\
    --object-store-memory 100000000 --dashboard-agent-listen-port $((50000 + $$ % 9000))
exec "$PYTHON" -m scope_openrlhf.platform.loopback "$@"
""",
    "scope-train": """#!/bin/sh
shift
"${PYTHON%/*}/scope-train" plan "$@" data.path="$DATA" >"$TMPDIR/planned"
""",
}


@pytest.fixture
def two_nodes(tmp_path, deepmath):
    """Environment of a job of two nodes: stand-ins of this machine for Slurm, the parts of Ray and scope-train."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name, text in STAND_INS.items():
        (bin_dir / name).write_text(text)
        (bin_dir / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    short = tempfile.mkdtemp(prefix="ray")  # the paths of Ray's sockets may have 107 characters
    yield os.environ | {
        "PATH": f"{bin_dir}:{os.environ['PATH']}", "BIN": str(bin_dir), "PYTHON": sys.executable, "RAY_PORT": port,
        "TMPDIR": str(tmp_path), "RAY_TMPDIR": short, "RAY_WAIT": "300", "DATA": deepmath.partition("=")[2],
        "HF_HUB_OFFLINE": "1", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_NUM_NODES": "2", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.1",
    }  # fmt: skip
    shutil.rmtree(short, ignore_errors=True)


def test_slurm_puts_a_job_back_into_the_queue_before_its_time_is_up(two_nodes, tmp_path):
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\nsleep 2\nexit 3\n")
    with subprocess.Popen(["bash", CLUSTER.resolve() / "slurm.sh"], env=two_nodes) as job:
        time.sleep(0.7)
        job.send_signal(signal.SIGUSR1)
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    assert job.returncode == 3  # the signal ended no step


@pytest.mark.parametrize("image", ["", "scope:0.1.0"])
def test_slurm_gives_the_image_its_volumes_where_one_is_named(two_nodes, tmp_path, image):
    (tmp_path / "bin" / "srun").write_text('#!/bin/sh\nprintf "%s\\n" "$@" $HF_HOME >"$TMPDIR/asked"\n')
    env = two_nodes | {"IMAGE": image, "HUB": str(tmp_path / "hub")}
    assert subprocess.run(["bash", CLUSTER.resolve() / "slurm.sh", "steps=3"], env=env).returncode == 0
    *asked, last, hub = (tmp_path / "asked").read_text().splitlines()
    assert last == "steps=3" and hub == ("/hub" if image else str(tmp_path / "hub"))
    mounts = f"--container-mounts={tmp_path}/runs:/scope/runs,{tmp_path}/hub:/hub"
    wanted = ["--container-image=scope:0.1.0", "--container-workdir=/scope", mounts] if image else []
    assert [option for option in asked if option.startswith("--container")] == wanted


@pytest.mark.slow
@pytest.mark.parametrize("file", EXAMPLES)
def test_an_example_starts_two_nodes_and_comes_to_its_run(file, two_nodes, tmp_path):
    """Real nodes of Ray, two of one machine; in the run's place stands scope-train plan."""
    (tmp_path / "examples").symlink_to(Path("examples").resolve())
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(tmp_path / "bin")
    whole = (CLUSTER / file).read_text()
    if file == "slurm.sh":
        commands = [(["bash", "examples/cluster/slurm.sh"], {})]
    elif file == "skypilot.yaml":
        script = yaml.safe_load(whole)["run"].replace("cd /scope || exit\n", "")
        commands = [(["sh", "-c", script], {"SKYPILOT_NODE_RANK": rank}) for rank in ("0", "1")]
    else:
        entry = yaml.safe_load(whole)["spec"]["entrypoint"].replace("cd /scope && ", "")
        # KubeRay starts the nodes and submits its job to the head
        node = "sh examples/cluster/node.sh"
        operator = [f"{node} 0 127.0.0.1 1 {entry}", f"{node} 1 127.0.0.1 2 true"]
        commands = [(["sh", "-c", command], {}) for command in operator]
    own = {"cwd": tmp_path, "start_new_session": True}  # what ends in it must not end the tests
    nodes = [subprocess.Popen(command, env=two_nodes | env, **own) for command, env in commands]
    assert [node.wait(timeout=400) for node in nodes] == [0] * len(nodes)
    assert "scope, 16 GPUs" in (tmp_path / "planned").read_text()


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
