"""The functions of flash_attn that OpenRLHF imports, for machines where that package cannot be built: without CUDA.

openrlhf.models.ring_attn_utils imports them at module level; with these, sample packing works on a CPU too. One of the
three files that know of CPUs, see cpu.py.
"""

import importlib.machinery
import sys
import types
from typing import Any

import einops
import torch
from torch.distributed.nn.functional import all_gather as differentiable_all_gather


def install() -> None:
    """Put the functions below where an import of flash_attn finds them."""
    _module("flash_attn")
    _module(
        "flash_attn.bert_padding",
        index_first_axis=index_first_axis,
        pad_input=pad_input,
        unpad_input=unpad_input,
        rearrange=einops.rearrange,
    )
    _module("flash_attn.utils")
    _module("flash_attn.utils.distributed", all_gather=all_gather)


def _module(name: str, **members: Any) -> None:
    stub = types.ModuleType(name)
    stub.__spec__ = importlib.machinery.ModuleSpec(name, None)  # transformers asks importlib for it
    stub.__dict__.update(members)
    sys.modules[name] = stub


def index_first_axis(x, indices):
    """Rows of x (rows, ...) named by indices: (len(indices), ...)."""
    return x[indices]


def unpad_input(hidden_states, attention_mask):
    """The unmasked rows of a padded batch.

    hidden_states: (batch, seq, ...). attention_mask: (batch, seq). Returns the rows (total, ...), their flat indices
    (total,), where each sequence begins and the last one ends (batch + 1,), the longest length, all lengths (batch,).
    """
    lengths = attention_mask.sum(dim=-1, dtype=torch.int32)
    indices = torch.nonzero(attention_mask.flatten(), as_tuple=False).flatten()
    cu_seqlens = torch.nn.functional.pad(torch.cumsum(lengths, dim=0, dtype=torch.int32), (1, 0))
    rows = hidden_states.reshape(-1, *hidden_states.shape[2:])[indices]
    return rows, indices, cu_seqlens, int(lengths.max()), lengths


def pad_input(hidden_states, indices, batch, seqlen):
    """The inverse of unpad_input: (total, ...) -> (batch, seqlen, ...), zeros where the mask was 0. Differentiable."""
    output = hidden_states.new_zeros(batch * seqlen, *hidden_states.shape[1:])
    return output.index_copy(0, indices, hidden_states).reshape(batch, seqlen, *hidden_states.shape[1:])


def all_gather(tensor, group):
    """The tensors of all ranks of a group, one after the other along the first axis. Differentiable."""
    return torch.cat(differentiable_all_gather(tensor.contiguous(), group=group), dim=0)
