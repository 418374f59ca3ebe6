"""What make hands to the programs: names with spaces stay whole, and no two models meet in one folder."""

import os
import shlex
import subprocess

import pytest


def command(*arguments: str) -> list[str]:
    """The last command that make would run."""
    # under `make test` the outer make hands on its flags
    alone = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    profile = [] if any(a.startswith("PROFILE=") for a in arguments) else ["PROFILE=cpu"]
    made = subprocess.run(["make", "-n", *profile, *arguments], capture_output=True, text=True, check=True, env=alone)
    return shlex.split(made.stdout.replace("\\\n", " ").strip().splitlines()[-1])


def test_a_config_keeps_its_own_name_unless_one_is_given():
    assert command("train", "CONFIG=my.yaml", "ARGS=steps=2")[1:] == ["run", "--config", "my.yaml", "steps=2"]
    assert command("train", "NAME=a b")[1:] == ["run", "--config", "examples/cpu_tiny.yaml", "name=a b"]
    assert "name=" not in command("submit", "CONFIG=my.yaml")[-1]
    assert shlex.split(command("submit", "NAME=a b")[-1])[-1] == "name=a b"


@pytest.mark.parametrize(
    "model, folder",
    [
        ("runs/x/model", "x"),
        ("./runs/my run/model/", "my run"),
        ("runs/x/exports/step20", "x--exports--step20"),
        ("Qwen/Qwen3-1.7B", "Qwen--Qwen3-1.7B"),
        ("/data/student", "data--student"),
    ],
)
def test_a_model_is_evaluated_into_a_folder_of_its_own(model, folder):
    arguments = command("eval", f"MODEL={model}", "BENCH=tiny")
    assert arguments[arguments.index("--model") + 1] == model
    assert arguments[arguments.index("--out") + 1] == f"runs/eval/{folder}"


def test_a_submit_without_a_cluster_says_so_before_ray_does():
    made = subprocess.run(
        ["make", "submit", "PROFILE=cpu", "READY=", "RAY_DASHBOARD=http://127.0.0.1:1"], capture_output=True, text=True
    )
    assert made.returncode == 2 and made.stderr.startswith("error: no Ray answers at http://127.0.0.1:1")
    assert "Traceback" not in made.stderr


def test_on_a_gpu_machine_the_tests_have_a_cpu_environment_of_their_own():
    assert command("test", "PROFILE=gpu")[:3] == ["build/cpu/bin/python", "-m", "pytest"]
    assert command("train", "PROFILE=gpu")[0] == ".venv/bin/scope-train"
