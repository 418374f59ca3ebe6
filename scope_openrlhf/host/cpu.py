"""The names in OpenRLHF and DeepSpeed that ask for CUDA, exchanged where there is none.

One of the three files that know of CPUs, see platform/cpu.py.
"""

import functools
import importlib
from types import SimpleNamespace
from typing import Any

from scope_openrlhf.platform import cpu

_installed = False


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
    from openrlhf.models import Actor
    from openrlhf.trainer.ppo_utils.replay_buffer import NaiveReplayBuffer
    from openrlhf.trainer.ray import ppo_actor
    from openrlhf.utils import utils as openrlhf_utils
    from openrlhf.utils.deepspeed import deepspeed as strategy

    # weight sync: OpenRLHF builds an NCCL communicator between rank 0 of the trainer and the engines
    ppo_actor.stateless_init_process_group = cpu.GlooGroup
    _build_buffers_on_the_cpu(NaiveReplayBuffer)
    _attend_without_flash(Actor)
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


def _attend_without_flash(actor: Any) -> None:
    """OpenRLHF turns flash attention on for packed samples; transformers masks packed rows under sdpa too."""
    original = actor.__init__

    @functools.wraps(original)
    def init(self, *args, attn_implementation="sdpa", **kwargs):
        sdpa = "sdpa" if "flash" in attn_implementation else attn_implementation
        original(self, *args, attn_implementation=sdpa, **kwargs)

    actor.__init__ = init


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
        # DeepSpeed would compile its own Adam with a C++ compiler at start-up; torch's AdamW computes the same update
        if config.get("optimizer", {}).get("type") == "AdamW":
            config["optimizer"]["params"]["torch_adam"] = True
        return config

    return config_on_cpu
