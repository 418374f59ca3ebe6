"""Each substitution has a test that says why it is there. They are active only where CUDA is absent."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scope_openrlhf.platform import cpu

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the CPU platform is inactive where there is CUDA")


@pytest.fixture(scope="module", autouse=True)
def installed():
    cpu.install_openrlhf()


def test_openrlhf_moves_tensors_to_the_current_device_without_asking_for_cuda():
    assert torch.ones(1).to(torch.cuda.current_device()).device.type == "cpu"
    torch.cuda.set_device(0)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    assert torch.cuda.current_stream() is None


def test_the_device_mesh_that_openrlhf_asks_for_on_cuda_is_built_on_the_cpu(tmp_path):
    import torch.distributed as dist
    from openrlhf.utils.deepspeed.deepspeed import init_device_mesh

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cuda", (1, 1, 1), mesh_dim_names=("dp", "sp", "tp"))
        assert mesh.device_type == "cpu" and mesh["dp"].size() == 1
    finally:
        dist.destroy_process_group()


def test_flash_attns_padding_functions_invert_each_other_and_keep_the_gradient():
    from flash_attn.bert_padding import index_first_axis, pad_input, rearrange, unpad_input

    hidden = torch.arange(12.0).reshape(2, 3, 2).requires_grad_()
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    rows, indices, cu_seqlens, longest, lengths = unpad_input(hidden, mask)
    assert indices.tolist() == [0, 1, 3, 4, 5] and cu_seqlens.tolist() == [0, 2, 5]
    assert longest == 3 and lengths.tolist() == [2, 3]
    padded = pad_input(rows, indices, 2, 3)
    assert torch.equal(padded, hidden * mask[:, :, None])
    padded.sum().backward()
    assert torch.equal(hidden.grad, mask[:, :, None].expand(2, 3, 2).float())
    assert torch.equal(index_first_axis(rearrange(hidden, "b s h -> (b s) h"), indices), rows)


def test_sample_packing_gives_the_log_probs_of_padded_rows():
    """The stand-ins serve openrlhf's packing: transformers masks packed rows from their position ids under sdpa."""
    from openrlhf.models import Actor

    ids = torch.tensor([[3, 6, 7, 8, 4, 9, 1], [3, 9, 4, 5, 1, 0, 0]])
    attention, action = (ids != 0).long(), torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 0, 0]])
    attention[0, :] = 1
    padded, packed = (
        Actor("examples/tiny/student", attn_implementation="sdpa", packing_samples=p).eval()(ids, action, attention)
        for p in (False, True)
    )
    assert torch.allclose(padded, packed, atol=1e-4)


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


def test_the_engine_gathers_a_sync_and_reloads_once():
    """vLLM repacks CPU params, so loading tensor by tensor fails: 'Parameter' object has no attribute 'weight_loader'."""

    class Engine(cpu.CpuWorkerWrap):  # stands for vLLM's worker
        reloads: list = []
        pending: list = []
        model_config = type("ModelConfig", (), {"dtype": torch.float32})
        sync_group = type("Group", (), {"broadcast": staticmethod(lambda tensor, src: tensor.fill_(7.0))})

        @property
        def model_runner(self):
            reload = staticmethod(lambda weights_iterator: self.reloads.append(list(weights_iterator)))
            return type("Runner", (), {"reload_weights": reload, "get_model": torch.nn.Module})

    engine = Engine()
    engine.update_weight("a", torch.float32, (2,))
    assert engine.reloads == []
    engine.update_weight("b", torch.float32, (1,), empty_cache=True)
    assert [(name, t.tolist()) for name, t in engine.reloads[0]] == [
        ("a", [7.0, 7.0]),
        ("b", [7.0]),
    ] and not engine.pending
    with pytest.raises(ValueError, match="arrives as torch.bfloat16"):
        engine.update_weight("a", torch.bfloat16, (2,))


def test_after_a_sync_a_real_engine_scores_as_the_trainer_does():
    """Param group by param group: the head of a tied model once kept the embedding of the start."""
    out = subprocess.run(
        [sys.executable, "tests/platform/sync_worker.py"],
        capture_output=True,
        text=True,
        env=os.environ | {"SCOPE_RUN": "{}"},
    )
    gaps = json.loads(out.stdout.strip().splitlines()[-1])
    assert len(gaps) == 7 and max(gaps.values()) < 1e-4, gaps


def test_vllm_builds_float32_engines_without_partial_prefills_inside_a_run():
    """A partial prefill rewinds a seeded request's generator by an offset, which CPU generators do not have."""
    code = """
from vllm import EngineArgs
c = EngineArgs(model="examples/tiny/student", dtype="bfloat16", max_model_len=128, enforce_eager=True,
               worker_extension_cls="openrlhf.trainer.ray.vllm_worker_wrap.WorkerWrap").create_engine_config()
print("RESULT", c.model_config.dtype, c.scheduler_config.enable_chunked_prefill, c.parallel_config.worker_extension_cls)
"""
    run = {k: v for k, v in os.environ.items() if k != "SCOPE_RUN"}
    inside, outside = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        .stdout.partition("RESULT ")[2]
        .split()
        for env in (run | {"SCOPE_RUN": "{}"}, run)
    )
    assert inside == ["torch.float32", "False", "scope_openrlhf.platform.cpu.CpuWorkerWrap"]
    assert outside == ["torch.bfloat16", "True", "openrlhf.trainer.ray.vllm_worker_wrap.WorkerWrap"]


def test_nothing_is_touched_where_cuda_is_present():
    code = """
import torch
torch.cuda.is_available = lambda: True
before = torch.cuda.current_device, torch.distributed.device_mesh.init_device_mesh
from scope_openrlhf.platform import cpu
cpu.install(); cpu.install_openrlhf(); cpu.install_vllm()
import sys
print((torch.cuda.current_device, torch.distributed.device_mesh.init_device_mesh) == before, "flash_attn" in sys.modules)
"""
    env = {k: v for k, v in os.environ.items() if k != "SCOPE_CPU"}  # this process has decided for its children
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert out.split() == ["True", "False"]


def test_a_worker_follows_the_driver_and_does_not_look_for_cuda_itself(monkeypatch):
    monkeypatch.setenv("SCOPE_CPU", "0")
    assert not cpu.active() and cpu.environment() == {"SCOPE_CPU": "0"}
    monkeypatch.setenv("SCOPE_CPU", "1")
    assert cpu.active() and cpu.environment()["DS_ACCELERATOR"] == "cpu"


def test_deepspeed_compiles_nothing_so_that_no_killed_compile_can_block_a_later_run():
    ds_comm = importlib.import_module("deepspeed.comm.torch")
    cpu.install_openrlhf()
    assert ds_comm.TorchBackend.__init__.__globals__["build_shm_op"]() is None
    assert (
        "if self.shm_comm_op != None" in Path(str(ds_comm.__file__)).read_text()
    )  # None is an answer that DeepSpeed expects
