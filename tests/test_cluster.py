"""The examples for clusters say what scope-train understands; a real Ray of three nodes on this machine runs one (slow)."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_dry_run import deepmath  # noqa: F401  the fixture

from scope_openrlhf.train import main

CLUSTER = Path("examples/cluster")
BIN = Path(sys.executable).parent


def command_in(text: str) -> list[str]:
    """The arguments of its scope-train, over as many lines as it has."""
    found = re.search(r"scope-train ((?:[^\"\n\\]|\\\n|\n(?=\s+openrlhf))+)", text)
    assert found
    return shlex.split(found[1].replace("\\\n", " "))


@pytest.mark.parametrize("file", ["slurm.sh", "kuberay.yaml"])
def test_what_an_example_submits_resolves_on_its_nodes(file, deepmath, capfd):  # noqa: F811
    arguments = command_in((CLUSTER / file).read_text())
    assert main([*arguments, "--dry-run", deepmath]) == 0
    assert "scope, 16 GPUs" in capfd.readouterr().out


def test_the_rayjob_has_the_form_of_its_resource():
    """ray.io/v1 RayJob, as far as this one uses it: GPUs that Ray is told of are those that its containers get."""
    job = yaml.safe_load((CLUSTER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob") and set(job) == {"apiVersion", "kind", "metadata", "spec"}
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


@pytest.mark.slow
def test_a_run_submitted_to_three_nodes_has_student_rollouts_and_teacher_on_one_each(tmp_path):
    env = os.environ | {"BIN": str(BIN)}
    subprocess.run(["sh", CLUSTER / "local.sh", "up"], env=env, check=True, timeout=180, stdout=subprocess.DEVNULL)
    try:
        driver = (f"cd {Path.cwd()} && {BIN}/scope-train --config examples/cpu_tiny.yaml ray.address=auto runs={tmp_path} name=job steps=2 eval.path= "
                  "openrlhf.rollout.max_new_tokens=40")  # fmt: skip
        submit = [BIN / "ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--", "sh", "-c", driver]
        for _ in range(6):  # the dashboard may still be starting
            done = subprocess.run(submit, capture_output=True, text=True, timeout=420)
            if "No available agent" not in done.stdout + done.stderr:
                break
        assert done.returncode == 0, done.stdout[-3000:]
        assert (tmp_path / "job" / "summary.json").exists()
        who = subprocess.run([BIN / "ray", "list", "actors", "--address", "http://127.0.0.1:8265", "--limit", "1000", "--format", "yaml"],
                             capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
        nodes = {a["class_name"]: a["node_id"] for a in yaml.safe_load(who.stdout)}
        on = {
            name: node
            for name, node in nodes.items()
            if any(part in name for part in ("PolicyModelActor", "TeacherReplica", "RolloutRayActor"))
        }
        assert len(on) == 3 and len(set(on.values())) == 3, nodes
    finally:
        subprocess.run(["sh", CLUSTER / "local.sh", "down"], env=env, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
