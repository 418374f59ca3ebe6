"""The head of a language model, the linear map from hidden states to logits, and who may answer in its place."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def answering(head: torch.nn.Module, forward: Callable[[torch.Tensor], Any]) -> Iterator[None]:
    """Let a function answer in place of a head's forward; hooks on the head run as ever."""
    head.forward = forward
    try:
        yield
    finally:
        del head.forward


def head_of(model: Any) -> torch.nn.Linear | None:
    """The head of a transformers model, if it is a linear map and nothing else, no adapter and no part of one."""
    head = model.get_output_embeddings()
    return head if type(head) is torch.nn.Linear else None


def without_storage(build: Callable[[Any], Any], config: Any) -> Any:
    """A model of a transformers config whose params have shapes and no values."""
    config = copy.deepcopy(config)
    config._attn_implementation = "eager"  # which any machine has
    with torch.device("meta"):
        return build(config)


def head_is_last(model: Any) -> bool:
    """Whether a model's logits are what its head says: some scale or cap them afterwards.

    model: as `without_storage` makes it. One that fails there counts as none such.
    """
    said: list[Any] = []

    def say(hidden: torch.Tensor) -> tuple[torch.Tensor]:
        said.append((hidden,))
        return said[-1]

    head = head_of(model)
    if head is None:
        return False
    try:
        with torch.device("meta"), torch.no_grad(), answering(head, say):
            ids = torch.zeros(1, 1, dtype=torch.long)
            # experts on meta take no other type than bfloat16
            logits = model.bfloat16()(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    except Exception:  # border to transformers, where what is done to a tuple fails in any way
        return False
    return len(said) == 1 and logits is said[0]
