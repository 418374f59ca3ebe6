"""The student as the training engine holds it: OpenRLHF's Actor, which reads its vocabulary in chunks of positions.

Axes: N rollouts of a micro-batch, S tokens of a sequence, T = S - 1 positions that predict one, M positions that are
read.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from openrlhf.models import Actor
from openrlhf.models.ring_attn_utils import gather_and_pad_tensor, unpad_and_slice_tensor
from torch import Tensor

from scope_openrlhf.equations.vocabulary import Reading, Wanted, read_vocabulary
from scope_openrlhf.models.head import answering, head_is_last, head_of, without_storage


@dataclass(frozen=True, slots=True)
class Asked:
    """What the loss of a micro-batch reads of the vocabulary beside the log-probs of the response tokens."""

    health: bool = False
    topk_NTK: Tensor | None = None
    """The teacher's likeliest tokens; NOT_SCORED where it gave none."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A micro-batch as the model gets it, and which of its positions are read."""

    model_inputs: dict[str, Tensor | None]
    places_M: Tensor
    """Index of each position that is read among the N * S of the micro-batch; of none where a rank holds a slice."""
    rows_M: Tensor | None
    """Index among the model's own positions; None: all are read."""
    following_M: Tensor
    """The token that follows."""
    spread: Callable[[Tensor, float], Tensor]
    """(M, ...) and what stands elsewhere -> (N, S, ...)."""


class ScopeActor(Actor):
    """OpenRLHF's Actor with another forward: the same call and the same numbers, in less memory.

    The head answers with what is read of the logits instead of the logits. Where it is no plain linear map, or not the
    last that the model computes, the logits come to be, in the model's own type, and the chunks are of them.
    """

    asked = Asked()
    """Of the next training forward."""

    def forward(self, sequences, action_mask=None, attention_mask=None, return_output=False, ring_attn_group=None,
                packed_seq_lens=None, return_entropy=False, **mm_inputs):  # fmt: skip
        """Log-probs of the response tokens, (N, T), zero off action_mask (N, T).

        With return_output the model's output beside them: its `reading` holds what was asked for, laid out as (N, T),
        and its `entropy` (N, T) has a gradient.
        """
        tokens = self._tokens(sequences, action_mask, attention_mask, ring_attn_group)
        asked = self.asked if return_output and ring_attn_group is None else Asked()
        wanted = Wanted(self.temperature, return_entropy, asked.topk_NTK is not None, asked.health)
        topk_MK = asked.topk_NTK
        if topk_MK is not None:
            topk_MK = torch.nn.functional.pad(topk_MK, (0, 0, 0, 1)).flatten(0, 1)[tokens.places_M]
        output, reading = self._read(tokens, wanted, topk_MK, mm_inputs)
        reading = _laid_out(reading, tokens)
        logp_NT = reading.logp * action_mask.float()
        if not return_output:
            return logp_NT
        output.reading, output.entropy = reading, reading.entropy
        return logp_NT, output

    def _tokens(self, sequences, action_mask, attention_mask, ring_attn_group) -> Tokens:
        n, s = sequences.shape
        attention_mask = attention_mask.long()  # it comes in a byte for each token
        following_NS = torch.roll(sequences, shifts=-1, dims=1)
        inputs = {"attention_mask": attention_mask, "position_ids": None}
        places = torch.arange(n * s, device=sequences.device)
        if self.packing_samples:
            ids, positions, following, padded, places = unpad_and_slice_tensor(
                sequences, attention_mask, ring_attn_group
            )
            inputs = {"input_ids": ids, "attention_mask": None, "position_ids": positions}
            if ring_attn_group is not None:  # this rank holds a slice of the tokens

                def gather(values: Tensor, elsewhere: float) -> Tensor:
                    return gather_and_pad_tensor(values[None], ring_attn_group, padded, places, n, s)

                return Tokens(inputs, places[:0], None, following.flatten(), gather)
        else:
            inputs["input_ids"] = sequences
            if not self.is_vlm:  # such a model counts its positions itself
                inputs["position_ids"] = (attention_mask.cumsum(-1) - 1).masked_fill(attention_mask == 0, 1)
        read_NS = torch.nn.functional.pad(action_mask.bool(), (0, 1))
        rows = read_NS.flatten()[places].nonzero()[:, 0]
        places = places[rows]

        def spread(values: Tensor, elsewhere: float) -> Tensor:
            blank = values.new_full((n * s, *values.shape[1:]), elsewhere)
            return blank.index_put((places,), values).unflatten(0, (n, s))

        return Tokens(inputs, places, rows, following_NS.flatten()[places], spread)

    def _read(self, tokens: Tokens, wanted: Wanted, topk_MK: Tensor | None, mm_inputs: dict) -> tuple[Any, Reading]:
        """The model's output, and what was read of its vocabulary."""

        def read(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, ...]:
            x = x.reshape(-1, x.shape[-1])
            x = x if tokens.rows_M is None else x[tokens.rows_M]
            return read_vocabulary(wanted, x, weight, bias, tokens.following_M, topk_MK)

        head = head_of(self._transformer) if self._head_is_last else None
        if head is None:
            output = self.model(**tokens.model_inputs, **mm_inputs)
            logits, output["logits"] = output["logits"], None
            return output, wanted.named(read(logits, None, None))
        # inside the head's own call: there DeepSpeed's ZeRO-3 has its params whole
        with answering(head, lambda states: read(states, head.weight, head.bias)):
            output = self.model(**tokens.model_inputs, **mm_inputs)
        return output, wanted.named(output["logits"])

    @property
    def _transformer(self) -> Any:
        """The model of transformers, or PEFT's around it."""
        return getattr(self.model, "module", self.model)

    @cached_property
    def _head_is_last(self) -> bool:
        model = self._transformer
        plain = model.get_base_model() if hasattr(model, "get_base_model") else model
        return head_is_last(without_storage(type(plain), plain.config))


def _laid_out(reading: Reading, tokens: Tokens) -> Reading:
    """(M, ...) -> (N, T, ...)."""
    elsewhere = {"topk": math.nan, "topk_concentration": math.nan}
    found = {f.name: getattr(reading, f.name) for f in fields(Reading)}
    return Reading(**{k: v if v is None else tokens.spread(v, elsewhere.get(k, 0.0))[:, :-1] for k, v in found.items()})
