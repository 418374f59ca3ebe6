"""What OpenRLHF imports of flash_attn, in plain torch: padding and its removal, and a gather over ranks.

flash_attn.py puts them in their places where that package is missing.
"""

import einops
import torch
from torch.distributed.nn.functional import all_gather as differentiable_all_gather

rearrange = einops.rearrange
"""flash_attn.bert_padding hands einops' function on."""


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
