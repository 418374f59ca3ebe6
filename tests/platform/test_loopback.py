"""A Ray that a run starts, and what its processes open, cannot be reached from outside this machine."""

import json
import os
import socket
import subprocess
import sys

from scope_openrlhf.platform import loopback

STARTS_RAY = """
import ray  # before, as OpenRLHF's parser does
import json, psutil
from scope_openrlhf.platform import cluster
cluster.join_or_start("local", gpus=3, cpus=7, object_store_mib=100)
offered = ray.cluster_resources()
assert offered["GPU"] == 3 and offered["CPU"] >= 7 and offered["object_store_memory"] == 100 * 2**20, offered
ray.get(ray.remote(lambda: 1).remote())
processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
print(json.dumps([c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]))
"""

MAKES_A_STORE = """
import importlib, json, psutil, sys
from scope_openrlhf.platform import loopback
loopback.install()
port = int(sys.argv[1])
rendezvous = importlib.import_module("torch.distributed.rendezvous")  # as torch.distributed makes its store
store, *_ = next(rendezvous.rendezvous(f"tcp://127.0.0.1:{port}", 0, 1))
store.set("a", "b")
listening = [c.laddr for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]
print(json.dumps([address.ip for address in listening if address.port == port]))
"""


def test_a_ray_that_a_run_starts_listens_on_loopback_alone():
    env = os.environ | {"SCOPE_CPU": "1"}
    done = subprocess.run([sys.executable, "-c", STARTS_RAY], capture_output=True, text=True, env=env)
    addresses = json.loads(done.stdout.splitlines()[-1])
    assert len(addresses) > 5 and {a.removeprefix("::ffff:") for a in addresses} == {"127.0.0.1"}, done.stderr[-2000:]


def test_a_store_of_torch_listens_on_loopback_alone():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {loopback.VARIABLE: "1"}
    done = subprocess.run([sys.executable, "-c", MAKES_A_STORE, str(port)], capture_output=True, text=True, env=env)
    assert json.loads(done.stdout.splitlines()[-1]) == ["127.0.0.1"], done.stderr[-2000:]
