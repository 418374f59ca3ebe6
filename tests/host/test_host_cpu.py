"""Each exchanged name of OpenRLHF and DeepSpeed has a test that says why. They are exchanged where CUDA is absent."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scope_openrlhf.host import machine
from scope_openrlhf.platform import cpu

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the CPU platform is inactive where there is CUDA")


@pytest.fixture(scope="module", autouse=True)
def installed():
    machine.install()


def test_the_device_mesh_that_openrlhf_asks_for_on_cuda_is_built_on_the_cpu(tmp_path):
    import torch.distributed as dist
    from openrlhf.utils.deepspeed.deepspeed import init_device_mesh

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cuda", (1, 1, 1), mesh_dim_names=("dp", "sp", "tp"))
        assert mesh.device_type == "cpu" and mesh["dp"].size() == 1
    finally:
        dist.destroy_process_group()


def test_the_replay_buffer_can_be_built_though_it_spells_its_device_cuda():
    from openrlhf.trainer.ppo_utils import NaiveReplayBuffer

    assert NaiveReplayBuffer(4).target_device.type == "cpu"
    assert torch.cuda.current_device().type == "cpu"  # what its constructor needed was put back


def test_the_update_computes_in_float32_with_torchs_adam():
    """bf16 is emulated on most CPUs, and DeepSpeed's own Adam would need a C++ compiler at start-up."""
    from openrlhf.utils.deepspeed import deepspeed as strategy
    from openrlhf.utils.utils import convert_to_torch_dtype

    assert convert_to_torch_dtype("bf16") is torch.float32
    config = strategy.get_train_ds_config(offload=False, optim_config={"type": "AdamW", "params": {"lr": 1.0}})
    assert not config["bf16"]["enabled"] and config["optimizer"]["params"]["torch_adam"] is True
    assert not strategy.get_eval_ds_config(offload=False)["bf16"]["enabled"]


def test_weight_sync_broadcasts_over_gloo_where_openrlhf_builds_nccl():
    from concurrent.futures import ThreadPoolExecutor
    from socket import socket

    import openrlhf.trainer.ray.ppo_actor as ppo_actor

    assert ppo_actor.stateless_init_process_group is cpu.GlooGroup
    with socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    tensors = [torch.full((3,), float(rank + 1)) for rank in range(2)]

    def member(rank):
        group = cpu.GlooGroup("127.0.0.1", port, rank, 2, "cpu")
        group.broadcast(tensors[rank], src=0)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(member, range(2)))
    assert tensors[1].tolist() == [1.0, 1.0, 1.0]


def test_nothing_is_touched_where_cuda_is_present():
    code = """
import torch
torch.cuda.is_available = lambda: True
import torch.distributed.device_mesh as meshes
before = torch.cuda.current_device, meshes.init_device_mesh
from scope_openrlhf.host import cpu as host_cpu
from scope_openrlhf.platform import cpu
cpu.install(); host_cpu.install_openrlhf(); cpu.install_vllm()
import sys
print((torch.cuda.current_device, meshes.init_device_mesh) == before, "flash_attn" in sys.modules)
"""
    env = {k: v for k, v in os.environ.items() if k != "SCOPE_CPU"}  # this process has decided for its children
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert out.split() == ["True", "False"]


def test_deepspeed_compiles_nothing_so_that_no_killed_compile_can_block_a_later_run():
    ds_comm = importlib.import_module("deepspeed.comm.torch")
    machine.install()
    assert ds_comm.TorchBackend.__init__.__globals__["build_shm_op"]() is None
    # None is an answer that DeepSpeed expects
    assert "if self.shm_comm_op != None" in Path(str(ds_comm.__file__)).read_text()
