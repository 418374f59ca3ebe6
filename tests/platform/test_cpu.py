"""Each substitution has a test that says why it is there. They are active only where CUDA is absent."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from scope_openrlhf.platform import cpu

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the CPU platform is inactive where there is CUDA")


def test_openrlhf_moves_tensors_to_the_current_device_without_asking_for_cuda():
    assert torch.ones(1).to(torch.cuda.current_device()).device.type == "cpu"
    torch.cuda.set_device(0)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    assert torch.cuda.current_stream() is None


def test_flash_attns_padding_functions_invert_each_other_and_keep_the_gradient():
    from scope_openrlhf.platform.padding import index_first_axis, pad_input, rearrange, unpad_input

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


def test_the_engine_gathers_a_sync_and_reloads_once():
    """vLLM repacks CPU params, so that loading tensor by tensor fails: Parameter has no attribute 'weight_loader'."""

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
    received = [(name, t.tolist()) for name, t in engine.reloads[0]]
    assert received == [("a", [7.0, 7.0]), ("b", [7.0])] and not engine.pending
    with pytest.raises(ValueError, match="arrives as torch.bfloat16"):
        engine.update_weight("a", torch.bfloat16, (2,))


def test_after_a_sync_a_real_engine_scores_as_the_trainer_does():
    """Param group by param group: the head of a tied model once kept the embedding of the start."""
    command, env = [sys.executable, "tests/platform/sync_worker.py"], os.environ | {"SCOPE_RUN": "{}"}
    out = subprocess.run(command, capture_output=True, text=True, env=env)
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


def test_a_worker_follows_the_driver_and_does_not_look_for_cuda_itself(monkeypatch):
    monkeypatch.setenv("SCOPE_CPU", "0")
    monkeypatch.delenv("VLLM_USE_FLASHINFER_SAMPLER", raising=False)
    # nor does vLLM compile a sampler there, which it would never use
    assert not cpu.active() and cpu.environment() == {"SCOPE_CPU": "0", "VLLM_USE_FLASHINFER_SAMPLER": "0"}
    monkeypatch.setenv("SCOPE_CPU", "1")
    assert cpu.active() and cpu.environment()["DS_ACCELERATOR"] == "cpu"


def engine_config(length: int, most: int, layers: int = 30) -> SimpleNamespace:
    """What `kv_cache_bytes` reads of vLLM's config, for SmolLM2-135M: 3 heads of 64 in each layer, float32."""
    model = SimpleNamespace(
        is_hybrid=False, is_attention_free=False, use_mla=False, max_model_len=length, dtype=torch.float32,
        get_num_kv_heads=lambda parallel: 3, get_num_layers=lambda parallel: layers, get_head_size=lambda: 64,
    )  # fmt: skip
    return SimpleNamespace(
        model_config=model,
        parallel_config=None,
        cache_config=SimpleNamespace(block_size=128),
        scheduler_config=SimpleNamespace(max_num_seqs=most),
    )


def test_the_kv_cache_holds_what_an_engine_is_asked_for_at_once_and_no_gibibyte_more(monkeypatch):
    """vLLM touches all of it. A block of 128 tokens has 2 * 30 layers * 3 heads * 64 * 4 bytes a token: 5.6 MiB."""
    block = 128 * 2 * 30 * 3 * 64 * 4
    monkeypatch.setenv(cpu.SEQUENCES, "16")
    # 16 sequences of two blocks, and the one that vLLM keeps empty: 0.18 GiB, where it once was 1
    assert cpu.kv_cache_bytes(engine_config(256, most=128)) == 33 * block
    assert cpu.kv_cache_bytes(engine_config(257, most=4)) == (4 * 3 + 1) * block
    monkeypatch.delenv(cpu.SEQUENCES, raising=False)
    assert cpu.kv_cache_bytes(engine_config(256, most=128)) == (2**30 // block + 1) * block
    assert cpu.kv_cache_bytes(engine_config(64 * 1024, most=128)) == (512 + 1) * block  # one sequence fits in any case


def test_threads_wait_without_spinning_and_what_the_user_sets_stays(monkeypatch):
    """Two spinning threads took four times the CPU of two that sleep, on two cores that others used too."""
    for variable in (*cpu.SIZES, "OMP_WAIT_POLICY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SCOPE_CPU", "1")
    env = cpu.environment(threads=2, sequences=16)
    assert (env["OMP_NUM_THREADS"], env["OMP_WAIT_POLICY"], env[cpu.SEQUENCES]) == ("2", "passive", "16")
    assert cpu.environment()["OMP_NUM_THREADS"] == "1" and "OMP_WAIT_POLICY" not in cpu.environment()
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert cpu.environment(threads=2)["OMP_NUM_THREADS"] == "5"


def test_a_driver_that_is_prepared_itself_still_sizes_its_workers_by_the_run(monkeypatch):
    """Preparing it once left a single thread in its environment, which then passed for the user's wish."""
    code = (
        "import scope_openrlhf.host, os; from scope_openrlhf.platform import cpu; import torch; "
        "print('RESULT', os.environ.get('OMP_NUM_THREADS'), torch.get_num_threads(), "
        "*(cpu.environment(2, 16)[name] for name in cpu.SIZES))"
    )
    env = {k: v for k, v in os.environ.items() if k not in cpu.SIZES} | {"SCOPE_CPU": "1"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert out.partition("RESULT ")[2].split() == ["None", "1", "2", "16"]
