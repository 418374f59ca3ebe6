"""Whether this machine has CUDA, and what torch and vLLM need where it has none.

OpenRLHF 0.11.2 and what it stands on name CUDA in a few places and never ask whether it is there. Where CUDA is absent
these places are substituted, each with a real implementation on the CPU; where it is present `active()` is False and
nothing is touched. Two files know of CPUs, and nothing else does:

    platform/cpu.py  this one
    host/cpu.py      OpenRLHF's and DeepSpeed's own names

Three doors lead here, one for each kind of process:

    cpu.install()           the driver, and every Ray worker by `worker_process_setup_hook`, before other imports
    host.machine.install()  the processes that train, once OpenRLHF's modules may be imported
    cpu.install_vllm()      all that build or run a vLLM engine, engine cores included, by vllm_plugin.py
"""

import functools
import os
from datetime import timedelta
from typing import Any

from scope_openrlhf.platform import flash_attn, loopback

# torch and vLLM take seconds to import, also for commands that need neither: so they are imported inside the functions

SEQUENCES = "SCOPE_CPU_SEQUENCES"
"""Variable of a worker: the most sequences that its engine is asked for at once; 0: as many as vLLM takes."""
SIZES = ("OMP_NUM_THREADS", SEQUENCES)
"""Variables of `environment` that depend on the run."""
MOST_KV_CACHE = 2**30
"""Bytes of the KV cache of an engine, unless a single sequence needs more."""

_installed = False
_vllm_installed = False


def active() -> bool:
    """True where there is no CUDA device. SCOPE_CPU=1 or 0 decides it, as the driver does for its workers.

    A worker must not look for itself: that would initialise CUDA before Ray has told it which device is its own.
    """
    if os.environ.get("SCOPE_CPU") in ("0", "1"):
        return os.environ["SCOPE_CPU"] == "1"
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # asks the driver library without initialising CUDA
    import torch  # seconds, see above

    return not torch.cuda.is_available()


def environment(threads: int = 1, sequences: int = 0) -> dict[str, str]:
    """Environment of every worker: the platform, and on a CPU what its engines and threads are sized by.

    threads: of each process, unless OMP_NUM_THREADS says it. sequences: the most that an engine is asked for at once,
    see `kv_cache_bytes`; 0: as many as vLLM takes.
    """
    if not active():
        # vLLM's sampler for top_p of requests without a seed, which would be compiled by nvcc; ours have seeds
        return {"SCOPE_CPU": "0", "VLLM_USE_FLASHINFER_SAMPLER": os.environ.get("VLLM_USE_FLASHINFER_SAMPLER", "0")}
    return {
        "SCOPE_CPU": "1",
        SEQUENCES: os.environ.get(SEQUENCES, str(sequences)),
        "DS_ACCELERATOR": "cpu",
        "VLLM_CPU_OMP_THREADS_BIND": os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        # the worker inside the engine core: one process less for each engine (vLLM parts them to bind threads)
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        # openrlhf.models compiles its entropy; without a C++ compiler at hand that must fall back to plain torch
        "TORCHDYNAMO_DISABLE": "1",
        # student, rollout engine and teacher share the cores: a thread that waits must not spin on one
        **({"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")} if threads > 1 else {}),
    }


def install() -> None:
    """Substitute torch's CUDA calls in this process, see to its sockets and to what it lacks of flash_attn. Idempotent.

    Where CUDA is present its calls are left alone.
    """
    global _installed
    loopback.install()
    flash_attn.install()
    if _installed or not active():
        return
    _installed = True
    # sizes are for workers alone: in this environment they would pass for the user's wish, in commands under it too
    os.environ.update({name: value for name, value in environment().items() if name not in SIZES})
    import torch  # seconds, see above
    import torch.distributed.device_mesh as device_mesh

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)

    # OpenRLHF moves tensors to torch.cuda.current_device() and synchronises around collectives
    torch.cuda.current_device = lambda: torch.device("cpu")
    torch.cuda.set_device = lambda device: None
    torch.cuda.synchronize = lambda device=None: None
    torch.cuda.empty_cache = lambda: None
    torch.cuda.current_stream = lambda device=None: None

    original_mesh = device_mesh.init_device_mesh

    @functools.wraps(original_mesh)
    def init_device_mesh(device_type, *args, **kwargs):
        return original_mesh("cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    device_mesh.init_device_mesh = init_device_mesh


def install_vllm() -> None:
    """Let every vLLM engine of this process be built for a CPU. Idempotent; does nothing where CUDA is present.

    The params are float32: CPUs without bf16 instructions emulate it several times slower, and student and engine then
    agree to the last digits. OpenRLHF's worker extension is exchanged for `CpuWorkerWrap`.
    """
    global _vllm_installed
    if _vllm_installed or not active():
        return
    _vllm_installed = True
    import torch  # seconds, see above
    from vllm.platforms.cpu import CpuPlatform  # seconds, see above

    original = CpuPlatform.check_and_update_config.__func__

    def check_and_update_config(cls, vllm_config):
        original(cls, vllm_config)
        model, scheduler, parallel = vllm_config.model_config, vllm_config.scheduler_config, vllm_config.parallel_config
        if model is not None and model.dtype == torch.bfloat16:
            model.dtype = torch.float32
        # a partial prefill rewinds the request's generator by an offset, which CPU generators do not have: seeded
        # requests would crash
        if model is not None and scheduler.enable_chunked_prefill:
            scheduler.enable_chunked_prefill = False
            scheduler.max_num_batched_tokens = max(scheduler.max_num_batched_tokens, model.max_model_len)
        if model is not None and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
            vllm_config.cache_config.kv_cache_memory_bytes = kv_cache_bytes(vllm_config)
        if parallel.worker_extension_cls == "openrlhf.trainer.ray.vllm_worker_wrap.WorkerWrap":
            parallel.worker_extension_cls = "scope_openrlhf.platform.cpu.CpuWorkerWrap"

    CpuPlatform.check_and_update_config = classmethod(check_and_update_config)


def kv_cache_bytes(vllm_config: Any) -> int:
    """Size of an engine's KV cache: room for all sequences that it is asked for, at most MOST_KV_CACHE.

    vLLM touches all of it, so what is too large is memory lost. A single sequence has room in any case.
    """
    model, parallel = vllm_config.model_config, vllm_config.parallel_config
    if model.is_hybrid or model.is_attention_free or model.use_mla:  # they keep something else for a token
        return MOST_KV_CACHE
    heads, layers = model.get_num_kv_heads(parallel), model.get_num_layers(parallel)
    block = vllm_config.cache_config.block_size
    of_block = block * 2 * layers * heads * model.get_head_size() * model.dtype.itemsize
    most = vllm_config.scheduler_config.max_num_seqs
    sequences = min(int(os.environ.get(SEQUENCES, 0)) or most, most)
    of_sequence = -(-model.max_model_len // block)
    blocks = min(sequences * of_sequence, MOST_KV_CACHE // of_block)
    return (max(blocks, of_sequence) + 1) * of_block  # vLLM keeps one block empty


class GlooGroup:
    """The broadcast that OpenRLHF's weight sync needs, over a gloo group of its own.

    Its members are rank 0 of the trainer and every engine worker.
    """

    def __init__(self, master_address: str, master_port: int, rank: int, world_size: int, device) -> None:
        """Take part in the group. Called as OpenRLHF's stateless_init_process_group; device is not used."""
        import torch.distributed as dist  # seconds, see above

        timeout = timedelta(minutes=5)
        store = loopback.tcp_store(master_address, master_port, world_size, is_master=rank == 0, timeout=timeout)
        self.group = dist.ProcessGroupGloo(store, rank, world_size, timeout)

    def broadcast(self, tensor, src: int, stream=None) -> None:
        """Fill the tensor of every member with that of rank src. stream is CUDA's and not used."""
        from torch.distributed import BroadcastOptions  # seconds, see above

        options = BroadcastOptions()
        options.rootRank = src
        options.rootTensor = 0
        self.group.broadcast([tensor], options).wait()


class CpuWorkerWrap:
    """vLLM worker extension with the methods of OpenRLHF's that a CPU engine needs.

    OpenRLHF's own (openrlhf.trainer.ray.vllm_worker_wrap.WorkerWrap) allocates on "cuda" and calls load_weights for
    each tensor, which fails on a CPU because vLLM has repacked its params. Here the tensors of one sync are collected,
    and the model is reloaded once, with the last of them.
    """

    model_config: Any
    model_runner: Any
    """Of the vLLM worker that this class is mixed into, both."""

    def init_process_group(
        self, master_address, master_port, rank_offset, world_size, group_name, backend="gloo", use_ray=False
    ):
        """Join the group in which the trainer sends its params."""
        import torch  # seconds, see above

        rank = torch.distributed.get_rank() + rank_offset
        self.sync_group = GlooGroup(master_address, master_port, rank, world_size, "cpu")
        self.pending: list = []

    def update_weight(self, name, dtype, shape, empty_cache=False):
        """Receive one tensor of a sync. empty_cache: it is the last one. Raises ValueError if its type is another."""
        import torch  # seconds, see above

        engine_dtype = self.model_config.dtype
        if dtype != engine_dtype:
            raise ValueError(f"{name} arrives as {dtype}, the engine holds {engine_dtype}")
        param = torch.empty(shape, dtype=dtype)
        self.sync_group.broadcast(param, src=0)
        self.pending.append((name, param))
        if empty_cache:
            self.model_runner.reload_weights(weights_iterator=iter(self.pending))
            pack_shared_anew(self.model_runner.get_model())
            self.pending = []


def pack_shared_anew(model) -> None:
    """Pack the params of layers that share those of another one, after a reload.

    vLLM's reload packs every layer that was sent params. A head that shares the embedding's is sent none and would go
    on with its first ones.
    """
    seen: set[int] = set()
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if weight is not None and id(weight) in seen:
            module.quant_method.process_weights_after_loading(module)
        seen.add(id(weight))
