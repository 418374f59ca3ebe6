"""The names in OpenRLHF and DeepSpeed that ask for CUDA, exchanged where there is none.

One of the two files that know of CPUs, see platform/cpu.py.
"""

import functools
import importlib
import os
from types import SimpleNamespace
from typing import Any

from scope_openrlhf.equations.vocabulary import reading_gib
from scope_openrlhf.host.gpus import sequences
from scope_openrlhf.models.shape import Shape
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.resolved import Teacher

GIB = 2**30
PROCESS_GIB = 0.65
"""What a process of the training stack takes before it holds a model: Python, torch, vLLM or OpenRLHF."""
RAY_GIB = 0.5
"""Ray's own processes, and what passes between ours."""
THREADED = 10**7
"""Params from which a model's matrices are worth more than one thread."""

_installed = False


def environment(args: SimpleNamespace, student: Shape) -> dict[str, str]:
    """Environment of a run's workers; see `cpu.environment`."""
    cores = os.cpu_count() or 1
    return cpu.environment(threads=cores if student.params >= THREADED else 1, sequences=sequences(args))


def memory_gib(
    args: SimpleNamespace, student: Shape, teachers: dict[str, Teacher], shapes: dict[str, Shape]
) -> dict[str, float]:
    """GiB of RAM that a run takes at its peak on one machine without CUDA, by what holds them. An estimate.

    teachers: those that the run starts, each with its shape by the same name. Everything is float32. A training rank
    holds params, gradients and Adam's two moments, and beside the params the copy that ZeRO steps on; its logits are
    read in chunks. An engine takes its params twice: to pack them, and while it is sent new ones.
    """
    ranks = args.actor.num_nodes * args.actor.num_gpus_per_node
    tokens = args.train.micro_batch_size * args.data.max_len
    # twice what student_gib in run/dry_run.py counts in bf16
    kept = 4 * student.layers + 68 if args.actor.gradient_checkpointing_enable else 68 * student.layers
    engines, cached = args.vllm.num_engines, _kv_gib(student, sequences(args), args.data.max_len)
    started = [(t, shapes[name]) for name, t in teachers.items() if t.started_here]
    return {
        "student": (ranks * 8 + 16) * student.params / GIB,
        "activations": ranks * tokens * student.hidden * kept / GIB,
        "logits": ranks * reading_gib(student, tokens, 4),
        "rollout engines": engines * (8 * student.params / GIB + cached),
        "teachers": sum(
            t.replicas * (8 * shape.params / GIB + _kv_gib(shape, sequences(args), t.max_model_len))
            for t, shape in started
        ),
        # driver and trainer; for each engine an actor and its core
        "processes": RAY_GIB + PROCESS_GIB * (2 + ranks + 2 * engines + 2 * sum(t.replicas for t, _ in started)),
    }


def _kv_gib(shape: Shape, sequences: int, length: int) -> float:
    """GiB of an engine's KV cache in float32; see `cpu.kv_cache_bytes`."""
    of_sequence = 2 * shape.kv_bytes * length
    return max(min(sequences * of_sequence, cpu.MOST_KV_CACHE), of_sequence) / GIB


def adjust(args: SimpleNamespace) -> None:
    """Exchange what OpenRLHF's resolved flags ask of CUDA alone; does nothing where it is present."""
    if cpu.active() and args.train.colocate_all:
        args.vllm.sync_backend = "gloo"  # with nccl a colocated student hands its params over by CUDA's own IPC


def install_openrlhf() -> None:
    """Substitute OpenRLHF's own CUDA-only names in this process. Idempotent; does nothing where CUDA is present."""
    global _installed
    if _installed or not cpu.active():
        return
    _installed = True
    cpu.install()
    # seconds, which the driver need not wait for: it imports this file for `adjust`
    from openrlhf.trainer.ppo_utils.replay_buffer import NaiveReplayBuffer
    from openrlhf.trainer.ray import ppo_actor
    from openrlhf.utils import utils as openrlhf_utils
    from openrlhf.utils.deepspeed import deepspeed as strategy

    # weight sync: OpenRLHF builds an NCCL communicator between rank 0 of the trainer and the engines
    ppo_actor.stateless_init_process_group = cpu.GlooGroup
    _build_buffers_on_the_cpu(NaiveReplayBuffer)
    _train_in_float32(strategy, openrlhf_utils)
    # DeepSpeed compiles an op for its inference on several CPU ranks, which nothing here uses: a minute at a first
    # start, and a compile that is killed leaves a lock on which every later run would wait for ever
    ds_comm: Any = importlib.import_module("deepspeed.comm.torch")  # the name deepspeed.comm.torch is torch itself
    ds_comm.build_shm_op = lambda: None


def _build_buffers_on_the_cpu(buffer: Any) -> None:
    """Its constructor builds torch.device(f"cuda:{current_device()}"), which no CPU device can spell."""
    import torch  # as above

    original = buffer.__init__

    @functools.wraps(original)
    def init(self, *args, **kwargs):
        current_device = torch.cuda.current_device
        torch.cuda.current_device = lambda: 0
        try:
            original(self, *args, **kwargs)
        finally:
            torch.cuda.current_device = current_device
        self.target_device = torch.device("cpu")

    buffer.__init__ = init


def _train_in_float32(strategy: Any, openrlhf_utils: Any) -> None:
    """OpenRLHF knows only bf16 and fp16, which a CPU emulates; see `cpu.install_vllm`."""
    import torch  # as above

    openrlhf_utils.convert_to_torch_dtype = lambda param_dtype: torch.float32
    strategy.get_eval_ds_config = _on_cpu(strategy.get_eval_ds_config)
    strategy.get_train_ds_config = _on_cpu(strategy.get_train_ds_config)

    # its average of the params (EMA) is taken on "cuda"
    average = strategy.DeepspeedStrategy.moving_average

    @functools.wraps(average)
    def on_cpu(self, model, ema, beta=0.992, device="cpu"):
        return average(self, model, ema, beta, "cpu")

    strategy.DeepspeedStrategy.moving_average = on_cpu


def _on_cpu(get_ds_config):
    @functools.wraps(get_ds_config)
    def config_on_cpu(*args, **kwargs):
        config = get_ds_config(*args, **kwargs)
        config["bf16"]["enabled"] = config["fp16"]["enabled"] = False
        return config

    return config_on_cpu
