"""Attention of packed samples by torch's own kernel (torch.nn.attention.varlen), for GPUs without flash-attn.

It is FlashAttention-2, which comes with torch: bf16 and fp16, heads of at most 256 values. On a CPU there is none.
"""

from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "torch_varlen"
"""What transformers calls it. A name that holds "flash" or a slash would be taken for a kernel of the hub."""


def register() -> None:
    """Make it known to transformers as attn_implementation=NAME. Idempotent."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, flash_attention_mask)  # None, unless there is padding


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    position_ids: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each of the sequences that lie one after the other in a row of T tokens.

    query: (1, heads, T, size); key, value: (1, KV heads, T, size). position_ids: (1, T), 0 where a sequence begins.
    sliding_window: a token sees so many, itself among them. Returns (1, T, heads, size), and None for the weights, as
    transformers wants it. Raises ValueError for what this attention cannot do.
    """
    asks = {
        "attention_dropout": dropout > 0,
        "a soft cap of its attention": others.get("softcap") is not None,
        "attention sinks": others.get("s_aux") is not None,
        "a bias of positions": others.get("position_bias") is not None,
        "attention that is not causal": not (module.is_causal if is_causal is None else is_causal),
        "values of another size than its keys": value.shape[-1] != key.shape[-1],
        "padded rows": attention_mask is not None or query.shape[0] != 1,
        "packed rows without position ids": position_ids is None,
    }
    if wanted := [what for what, asked in asks.items() if asked]:
        raise ValueError(
            f"{type(module).__name__} wants {', '.join(wanted)}, which torch's variable-length attention does not do; "
            "install flash-attn (docs/gpu.md), or set openrlhf.ds.packing_samples and train.dynamic_batch_enable to "
            "false"
        )
    assert position_ids is not None
    # the same for every layer; two waits for the GPU each, some 50 us beside a layer's milliseconds
    begins = torch.nonzero(position_ids.flatten() == 0).flatten()
    ends = torch.nn.functional.pad(begins, (0, 1), value=query.shape[2]).to(torch.int32)
    longest = int(ends.diff().max())
    rows = (states[0].transpose(0, 1) for states in (query, key, value))  # (T, heads, size)
    window = (-1 if sliding_window is None else sliding_window - 1, 0)
    gqa = query.shape[1] != key.shape[1]
    out = varlen_attn(*rows, ends, ends, longest, longest, scale=scaling, window_size=window, enable_gqa=gqa)
    return out[None], None
