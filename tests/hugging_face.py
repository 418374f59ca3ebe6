"""The tiny teacher by Hugging Face alone: what any other way of scoring must agree with."""

import functools

import numpy as np
import torch


@functools.cache
def _teacher():
    from transformers import AutoModelForCausalLM  # seconds, for the tests that need it

    return AutoModelForCausalLM.from_pretrained("examples/tiny/teacher", dtype=torch.float32)


@torch.no_grad()
def teacher_logprobs(sequence: list[int], temperature: float) -> np.ndarray:
    """Log-probs of the tokens that could follow each but the last: (len(sequence) - 1, V)."""
    return torch.log_softmax(_teacher()(torch.tensor([sequence])).logits[0, :-1] / temperature, dim=-1).numpy()
