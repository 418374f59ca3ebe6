"""What OpenRLHF and DeepSpeed would compile, or want of a machine, beside CUDA: exchanged for what torch brings.

`install` is the one door for the processes that train; it takes those without CUDA through cpu.py as well.
"""

import functools
from typing import Any

from scope_openrlhf.host import cpu
from scope_openrlhf.platform import cpu as platform
from scope_openrlhf.platform import flash_attn

_installed = False


def install() -> None:
    """Exchange OpenRLHF's names in this process, as its machine needs it. Idempotent."""
    global _installed
    if _installed:
        return
    _installed = True
    # seconds, which the driver need not wait for
    from openrlhf.models import Actor
    from openrlhf.utils.deepspeed import deepspeed as strategy

    if flash_attn.missing() or platform.active():
        _attend_without_flash(Actor)
    strategy.get_train_ds_config = _with_torchs_adam(strategy.get_train_ds_config)
    cpu.install_openrlhf()


def _attend_without_flash(actor: Any) -> None:
    """OpenRLHF insists on flash attention for packed samples; without that package transformers would refuse."""
    original = actor.__init__

    @functools.wraps(original)
    def init(self, *args, attn_implementation="flash_attention_2", packing_samples=False, **kwargs):
        if "flash" in attn_implementation:
            attn_implementation = attention_without_flash(packing_samples)
        original(self, *args, attn_implementation=attn_implementation, packing_samples=packing_samples, **kwargs)
        if attn_implementation == "torch_varlen" and not getattr(self.model, "_supports_attention_backend", True):
            raise ValueError(
                f"{type(self.model).__name__} has an attention of its own, which would mix packed samples; install "
                "flash-attn (docs/gpu.md), or set openrlhf.ds.packing_samples and train.dynamic_batch_enable to false"
            )

    actor.__init__ = init


def attention_without_flash(packed: bool) -> str:
    """Which of transformers' attentions a model gets that would have had flash-attn's."""
    # under sdpa transformers masks packed rows from their position ids: a mask of (tokens x tokens), no loss on a CPU
    if not packed or platform.active():
        return "sdpa"
    from scope_openrlhf.platform import varlen  # brings torch and transformers, see above

    varlen.register()
    return varlen.NAME


def _with_torchs_adam(get_ds_config: Any) -> Any:
    """DeepSpeed compiles its own Adam at start-up, for which it wants a CUDA toolkit; torch's computes the same."""

    @functools.wraps(get_ds_config)
    def config_with_torchs_adam(*args, **kwargs):
        config = get_ds_config(*args, **kwargs)
        optimizer = config.get("optimizer", {})
        if optimizer.get("type") in ("AdamW", "Muon"):
            optimizer["params"]["torch_adam"] = True
        if optimizer.get("type") == "AdamW" and not platform.active():
            # one kernel instead of some twenty, also for params that were offloaded; beside Muon DeepSpeed hands no
            # such key on
            optimizer["params"]["fused"] = True
        return config

    return config_with_torchs_adam
