"""Whether workers have CUDA follows from the GPUs of the Ray that is joined, not from those of the driver's machine."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from scope_openrlhf.platform import cluster, cpu

HEAD = {"Alive": True, "Resources": {"CPU": 8.0, "node:__internal_head__": 1.0}}
H100 = {"Alive": True, "Resources": {"CPU": 64.0, "GPU": 8.0, "accelerator_type:H100": 1.0}}
LOGICAL = {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}}


@pytest.mark.parametrize(
    "nodes, real",
    [
        ([HEAD, H100, H100], True),  # a head without a GPU
        ([HEAD, LOGICAL], False),
        ([H100], True),
        ([HEAD], None),
        ([HEAD, H100 | {"Alive": False}], None),
        ([], None),
    ],
)
def test_ray_tells_gpus_that_it_has_seen_from_numbers(nodes, real):
    assert cluster.has_real_gpus(nodes) is real


@pytest.mark.parametrize("nodes, word", [([HEAD, H100], "0"), ([HEAD, LOGICAL], "1"), ([HEAD], None)])
def test_the_driver_takes_its_platform_from_the_nodes_and_hands_it_on(monkeypatch, nodes, word):
    import ray

    monkeypatch.setenv("SCOPE_CPU", "to be put back")
    monkeypatch.delenv("SCOPE_CPU")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    cluster.settle_platform("auto")
    assert os.environ.get("SCOPE_CPU") == word
    assert cpu.environment()["SCOPE_CPU"] == word or word is None


def test_a_ray_that_is_started_here_has_this_machines_gpus_and_is_not_asked(monkeypatch):
    monkeypatch.setenv("SCOPE_CPU", "to be put back")
    monkeypatch.delenv("SCOPE_CPU")
    cluster.settle_platform("local")
    assert "SCOPE_CPU" not in os.environ


@pytest.mark.parametrize("host, alone", [("127.0.0.1", True), ("0.0.0.0", False)])
def test_a_ray_that_listens_on_loopback_alone_is_joined_there(monkeypatch, host, alone):
    """Ray would look for it at the machine's address in its network, for minutes."""
    from ray._private import services

    monkeypatch.setattr(services, "get_node_ip_address", lambda: "127.0.0.2")  # stands for that address
    with socket.create_server((host, 0)) as listening:
        port = listening.getsockname()[1]
        assert cluster.listens_on_loopback_alone(f"127.0.0.1:{port}") is alone
        assert cluster.listens_on_loopback_alone(f"localhost:{port}") is alone
        assert not cluster.listens_on_loopback_alone(f"192.0.2.7:{port}")
    assert not cluster.listens_on_loopback_alone("")


RAY_NODE = [sys.executable, "-m", "scope_openrlhf.platform.loopback", "start", "--node-ip-address", "127.0.0.1"]
SETTLE = """
import os
from scope_openrlhf.platform import cluster
cluster.settle_platform("127.0.0.1:6391")
print(os.environ["SCOPE_CPU"])
"""


@pytest.fixture
def nodes():
    """Starts nodes of a Ray at port 6391, the first of them its head."""
    folder = tempfile.mkdtemp(prefix="ray")  # a socket's path has at most 107 bytes
    kept = {k: v for k, v in os.environ.items() if k not in ("SCOPE_CPU", "RAY_ADDRESS")}
    clean = kept | {"RAY_TMPDIR": folder}
    env = clean | {cluster.CLUSTER_VARIABLE: "6391", "RAY_raylet_start_wait_time_s": "200"}  # of a busy machine

    def start(*arguments: str) -> None:
        command = [*RAY_NODE, *arguments, "--num-cpus", "4", "--object-store-memory", "300000000"]
        subprocess.run([*command, "--disable-usage-stats"], env=env, check=True, stdout=subprocess.DEVNULL, timeout=300)

    yield start, clean
    cluster.end_local_cluster("6391")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_driver_whose_node_has_no_gpu_trains_on_the_nodes_that_have(nodes, tmp_path):
    """Two steps: the head has no (logical) GPU, the other node has three, which Ray has not seen; then it sees some."""
    start, env = nodes
    start("--head", "--port", "6391", "--num-gpus", "0", "--include-dashboard", "false")
    start("--address", "127.0.0.1:6391", "--num-gpus", "3", "--dashboard-agent-listen-port", "52399")
    command = [Path(sys.executable).parent / "scope-train", "run", "--config", "examples/cpu_tiny.yaml"]
    command += ["ray.address=127.0.0.1:6391", f"runs={tmp_path}", "name=away", "steps=2", "eval.path="]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "away" / "metrics.jsonl").read_text().count("\n") == 2
    assert subprocess.check_output([sys.executable, "-c", SETTLE], env=env, text=True).strip() == "1"
    start("--address", "127.0.0.1:6391", "--num-gpus", "1", "--resources", '{"accelerator_type:H100": 1}',
          "--dashboard-agent-listen-port", "52400")  # fmt: skip
    assert subprocess.check_output([sys.executable, "-c", SETTLE], env=env, text=True).strip() == "0"
