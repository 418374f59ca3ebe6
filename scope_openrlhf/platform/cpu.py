"""Everything that OpenRLHF, DeepSpeed and vLLM need in order to run on a machine without CUDA. Nothing else knows of it.

OpenRLHF 0.11.2 names CUDA in a few places and never asks whether it is there. Where CUDA is absent these places are
substituted, each with a real implementation on the CPU; where CUDA is present `active()` is False and nothing is touched.

Three doors lead here, one per kind of process:
    install()           the driver, and every Ray worker by `worker_process_setup_hook`: torch and flash_attn, before any import
    install_openrlhf()  the processes that train: OpenRLHF's own names, once its modules may be imported
    install_vllm()      every process that builds or runs a vLLM engine, engine cores included, by vllm_plugin.py
"""

import functools
import importlib
import importlib.machinery
import os
import sys
import types

from scope_openrlhf.platform import loopback

_installed = False


def active() -> bool:
    """True where there is no CUDA device. SCOPE_CPU=1 or 0 decides it, as the driver does for its workers.

    A worker must not look for itself: that would initialise CUDA before Ray has told it which device is its own.
    """
    if os.environ.get("SCOPE_CPU") in ("0", "1"):
        return os.environ["SCOPE_CPU"] == "1"
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # asks the driver library without initialising CUDA
    import torch

    return not torch.cuda.is_available()


def environment() -> dict[str, str]:
    """Environment of every worker: the platform, and on a CPU one thread a process and a small KV cache for vLLM."""
    if not active():
        return {"SCOPE_CPU": "0"}
    return {
        "SCOPE_CPU": "1",
        "DS_ACCELERATOR": "cpu",
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
        "VLLM_CPU_OMP_THREADS_BIND": os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        # the worker inside the engine core: one process less per engine. (vLLM parts them to bind threads, which we don't.)
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        # openrlhf.models compiles its entropy; without a C++ compiler at hand that must fall back to plain torch
        "TORCHDYNAMO_DISABLE": "1",
    }


def install() -> None:
    """Substitute torch's CUDA calls and flash_attn's padding functions. Idempotent; where CUDA is present only the sockets are seen to."""
    global _installed
    loopback.install()
    if _installed or not active():
        return
    _installed = True
    os.environ.update(environment())
    import torch
    import torch.distributed.device_mesh as device_mesh

    # OpenRLHF moves tensors to torch.cuda.current_device() and synchronises around collectives.
    torch.cuda.current_device = lambda: torch.device("cpu")  # type: ignore[assignment, return-value]
    torch.cuda.set_device = lambda device: None
    torch.cuda.synchronize = lambda device=None: None
    torch.cuda.empty_cache = lambda: None
    torch.cuda.current_stream = lambda device=None: None  # type: ignore[assignment, return-value]

    original_mesh = device_mesh.init_device_mesh

    @functools.wraps(original_mesh)
    def init_device_mesh(device_type, *args, **kwargs):
        return original_mesh("cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    device_mesh.init_device_mesh = init_device_mesh
    _install_flash_attn()


def _install_flash_attn() -> None:
    """openrlhf.models.ring_attn_utils imports these at module level; with them sample packing works on a CPU too."""

    def module(name: str, **members) -> None:
        stub = types.ModuleType(name)
        stub.__spec__ = importlib.machinery.ModuleSpec(name, None)  # transformers asks importlib for it
        stub.__dict__.update(members)
        sys.modules[name] = stub

    import einops

    module("flash_attn")
    module("flash_attn.bert_padding", index_first_axis=index_first_axis, pad_input=pad_input, unpad_input=unpad_input,
           rearrange=einops.rearrange)  # fmt: skip
    module("flash_attn.utils")
    module("flash_attn.utils.distributed", all_gather=all_gather)


def index_first_axis(x, indices):
    """(rows, ...) -> (len(indices), ...): the rows named by indices."""
    return x[indices]


def unpad_input(hidden_states, attention_mask):
    """(batch, seq, ...) -> its unmasked rows (total, ...), their flat indices, cu_seqlens (batch + 1,), longest, lengths (batch,)."""
    import torch

    lengths = attention_mask.sum(dim=-1, dtype=torch.int32)
    indices = torch.nonzero(attention_mask.flatten(), as_tuple=False).flatten()
    cu_seqlens = torch.nn.functional.pad(torch.cumsum(lengths, dim=0, dtype=torch.int32), (1, 0))
    rows = hidden_states.reshape(-1, *hidden_states.shape[2:])[indices]
    return rows, indices, cu_seqlens, int(lengths.max()), lengths


def pad_input(hidden_states, indices, batch, seqlen):
    """(total, ...) -> (batch, seqlen, ...), the inverse of unpad_input: zeros where the mask was 0. Differentiable."""
    output = hidden_states.new_zeros(batch * seqlen, *hidden_states.shape[1:])
    return output.index_copy(0, indices, hidden_states).reshape(batch, seqlen, *hidden_states.shape[1:])


def all_gather(tensor, group):
    """Concatenate over the ranks of group along the first axis, with gradient."""
    import torch
    from torch.distributed.nn.functional import all_gather as differentiable_all_gather

    return torch.cat(differentiable_all_gather(tensor.contiguous(), group=group), dim=0)


def adjust(args: types.SimpleNamespace) -> None:
    """Exchange what OpenRLHF's resolved flags ask of CUDA alone; does nothing where it is present."""
    if active() and args.train.colocate_all:
        args.vllm.sync_backend = "gloo"  # with nccl a colocated student hands its params over by CUDA's own IPC


def install_openrlhf() -> None:
    """Substitute OpenRLHF's own CUDA-only names in this process. Idempotent; does nothing where CUDA is present."""
    if not active():
        return
    install()
    import openrlhf.trainer.ray.ppo_actor as ppo_actor
    import openrlhf.utils.deepspeed.deepspeed as strategy
    import openrlhf.utils.utils as openrlhf_utils
    import torch
    from openrlhf.models import Actor
    from openrlhf.trainer.ppo_utils.replay_buffer import NaiveReplayBuffer

    if getattr(NaiveReplayBuffer.__init__, "scope_cpu", False):
        return

    # Its constructor builds torch.device(f"cuda:{current_device()}"), which no CPU device can spell.
    original_init = NaiveReplayBuffer.__init__

    @functools.wraps(original_init)
    def init(self, *args, **kwargs):
        current_device = torch.cuda.current_device
        torch.cuda.current_device = lambda: 0
        try:
            original_init(self, *args, **kwargs)
        finally:
            torch.cuda.current_device = current_device
        self.target_device = torch.device("cpu")

    init.scope_cpu = True  # type: ignore[attr-defined]
    NaiveReplayBuffer.__init__ = init

    # Weight sync: OpenRLHF builds an NCCL communicator between trainer rank 0 and the engines.
    ppo_actor.stateless_init_process_group = GlooGroup

    # DeepSpeed compiles an op for its inference on several CPU ranks, which nothing here uses: a minute at a first start, and a
    # compile that is killed leaves a lock on which every later run would wait for ever.
    # (by import_module: the name deepspeed.comm.torch is torch itself)
    importlib.import_module("deepspeed.comm.torch").build_shm_op = lambda: None  # type: ignore[attr-defined]

    # OpenRLHF turns flash attention on for packed samples; transformers masks packed rows under sdpa too
    original_actor_init = Actor.__init__

    @functools.wraps(original_actor_init)
    def actor_init(self, *args, attn_implementation="sdpa", **kwargs):
        sdpa = "sdpa" if "flash" in attn_implementation else attn_implementation
        original_actor_init(self, *args, attn_implementation=sdpa, **kwargs)

    Actor.__init__ = actor_init

    # its average of the params (EMA) is taken on "cuda"
    average = strategy.DeepspeedStrategy.moving_average
    strategy.DeepspeedStrategy.moving_average = lambda self, model, ema, beta=0.992, device="cpu": average(
        self, model, ema, beta, "cpu"
    )

    # float32 where OpenRLHF knows only bf16 and fp16 (see install_vllm)
    openrlhf_utils.convert_to_torch_dtype = lambda param_dtype: torch.float32
    strategy.get_eval_ds_config = _on_cpu(strategy.get_eval_ds_config)
    strategy.get_train_ds_config = _on_cpu(strategy.get_train_ds_config)


def _on_cpu(get_ds_config):
    @functools.wraps(get_ds_config)
    def config_on_cpu(*args, **kwargs):
        config = get_ds_config(*args, **kwargs)
        config["bf16"]["enabled"] = config["fp16"]["enabled"] = False
        # DeepSpeed would compile its own Adam with a C++ compiler at start-up; torch's AdamW computes the same update
        if config.get("optimizer", {}).get("type") == "AdamW":
            config["optimizer"]["params"]["torch_adam"] = True
        return config

    return config_on_cpu


class GlooGroup:
    """The broadcast that OpenRLHF's weight sync needs, over a gloo group of its own (trainer rank 0 and every engine worker)."""

    def __init__(self, master_address: str, master_port: int, rank: int, world_size: int, device) -> None:
        from datetime import timedelta

        import torch.distributed as dist

        timeout = timedelta(minutes=5)
        store = loopback.tcp_store(master_address, master_port, world_size, is_master=rank == 0, timeout=timeout)
        self.group = dist.ProcessGroupGloo(store, rank, world_size, timeout)

    def broadcast(self, tensor, src: int, stream=None) -> None:
        from torch.distributed import BroadcastOptions

        options = BroadcastOptions()
        options.rootRank = src
        options.rootTensor = 0
        self.group.broadcast([tensor], options).wait()


def install_vllm() -> None:
    """Let every vLLM engine of this process be built for a CPU. Idempotent; does nothing where CUDA is present.

    The params are float32: CPUs without bf16 instructions emulate it several times slower, and
    student and engine then agree to the last digits. OpenRLHF's worker extension is exchanged for `CpuWorkerWrap`.
    """
    if not active():
        return
    import torch
    from vllm.platforms.cpu import CpuPlatform

    original = CpuPlatform.check_and_update_config.__func__  # type: ignore[attr-defined]
    if getattr(original, "scope_cpu", False):
        return

    def check_and_update_config(cls, vllm_config):
        original(cls, vllm_config)
        if vllm_config.model_config is not None and vllm_config.model_config.dtype == torch.bfloat16:
            vllm_config.model_config.dtype = torch.float32
        # a partial prefill rewinds the request's generator by an offset, which CPU generators do not have: seeded requests crash
        scheduler = vllm_config.scheduler_config
        if vllm_config.model_config is not None and scheduler.enable_chunked_prefill:
            scheduler.enable_chunked_prefill = False
            scheduler.max_num_batched_tokens = max(
                scheduler.max_num_batched_tokens, vllm_config.model_config.max_model_len
            )
        if vllm_config.parallel_config.worker_extension_cls == "openrlhf.trainer.ray.vllm_worker_wrap.WorkerWrap":
            vllm_config.parallel_config.worker_extension_cls = "scope_openrlhf.platform.cpu.CpuWorkerWrap"

    check_and_update_config.scope_cpu = True  # type: ignore[attr-defined]
    CpuPlatform.check_and_update_config = classmethod(check_and_update_config)  # type: ignore[assignment]


class CpuWorkerWrap:
    """vLLM worker extension with the methods of openrlhf.trainer.ray.vllm_worker_wrap.WorkerWrap that a CPU engine needs.

    The original allocates on "cuda" and calls load_weights per tensor, which fails on a CPU because vLLM has repacked its
    params. Here the tensors of one sync are collected and the model is reloaded once, with the last of them.
    """

    def init_process_group(
        self, master_address, master_port, rank_offset, world_size, group_name, backend="gloo", use_ray=False
    ):
        import torch

        rank = torch.distributed.get_rank() + rank_offset
        self.sync_group = GlooGroup(master_address, master_port, rank, world_size, "cpu")
        self.pending: list = []

    def update_weight(self, name, dtype, shape, empty_cache=False):
        import torch

        engine_dtype = self.model_config.dtype  # type: ignore[attr-defined]
        if dtype != engine_dtype:
            raise ValueError(f"{name} arrives as {dtype}, the engine holds {engine_dtype}")
        param = torch.empty(shape, dtype=dtype)
        self.sync_group.broadcast(param, src=0)
        self.pending.append((name, param))
        if empty_cache:  # OpenRLHF sets it on the last tensor of a sync
            self.model_runner.reload_weights(weights_iterator=iter(self.pending))  # type: ignore[attr-defined]
            pack_shared_anew(self.model_runner.get_model())  # type: ignore[attr-defined]
            self.pending = []


def pack_shared_anew(model) -> None:
    """vLLM's reload packs every layer that was sent params. A head that shares the embedding's is sent none and would go on with its first ones."""
    seen: set[int] = set()
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if weight is not None and id(weight) in seen:
            module.quant_method.process_weights_after_loading(module)
        seen.add(id(weight))
