"""A function of the logits, a chunk of positions at a time, so that the logits of all of them never stand in memory.

Axes: M positions in a row, H the model's hidden size, V the vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 2**25
"""Logits of a chunk: 128 MiB in float32, 220 positions of a vocabulary of 152,000. A function of them holds some eight
times as much at its peak, in the backward."""

Found = tuple[list[Tensor], list[Tensor]]


Read = Callable[..., Found]
"""What is wanted of the logits: read(logits_MV, *rows, again) -> (numbers with a gradient, numbers without one).

Each number is (M, ...), as the rows are. again: the backward asks, which needs the first alone."""


def read_in_chunks(
    read: Read, x: Tensor, weight_VH: Tensor | None, bias_V: Tensor | None, *rows: Tensor, size: int = CHUNK
) -> tuple[Tensor, ...]:
    """All that `read` finds in the logits of M positions, one tensor after the other.

    x: hidden states (M, H), whose logits are x @ weight_VH.T + bias_V; without a weight the logits themselves, (M, V).
    rows: what belongs to each position, handed on to `read`. size: logits of a chunk. The backward makes the logits
    again; the gradient of the weight is summed over the chunks in float32 or better.
    """
    positions = max(1, size // (x if weight_VH is None else weight_VH.T).shape[-1])
    return _Chunks.apply(read, positions, x, weight_VH, bias_V, *rows)


class _Chunks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, read, positions, x, weight, bias, *rows):
        ctx.read, ctx.positions = read, positions
        ctx.save_for_backward(x, weight, bias, *rows)
        found = [read(_logits(c, weight, bias), *r, again=False) for c, *r in _split(positions, x, *rows)]
        smooth, fixed = (
            [torch.cat(of_chunks) for of_chunks in zip(*kind, strict=True)] for kind in zip(*found, strict=True)
        )
        ctx.mark_non_differentiable(*fixed)
        return *smooth, *fixed

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        x, weight, bias, *rows = ctx.saved_tensors
        _, _, _, of_weight, of_bias, *_ = ctx.needs_input_grad
        grad_x = torch.empty_like(x)
        grad_weight = _zeros(weight) if of_weight else None
        grad_bias = _zeros(bias) if of_bias else None
        parts = _split(ctx.positions, x, grad_x, *rows, *gradients)
        for c, grad_c, *rest in parts:
            logits = _logits(c, weight, bias).requires_grad_()
            with torch.enable_grad():
                smooth, _ = ctx.read(logits, *rest[: len(rows)], again=True)
            given = rest[len(rows) :][: len(smooth)]
            (grad,) = torch.autograd.grad(smooth, logits, given)
            del logits, smooth
            if weight is None:
                grad_c.copy_(grad)
                continue
            torch.mm(grad, weight, out=grad_c)
            if grad_weight is not None:
                _add_product(grad_weight, grad.T, c)
            if grad_bias is not None:
                grad_bias += grad.sum(dim=0)
        narrow = [g if g is None else g.to(p.dtype) for g, p in ((grad_weight, weight), (grad_bias, bias))]
        return None, None, grad_x, *narrow, *(None for _ in rows)


def _split(positions: int, *tensors: Tensor):
    return zip(*(t.split(positions) for t in tensors), strict=True)


def _logits(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return x.detach() if weight is None else torch.nn.functional.linear(x, weight, bias).detach()


def _zeros(param: Tensor) -> Tensor:
    return torch.zeros_like(param, dtype=torch.promote_types(param.dtype, torch.float32))


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, where total may be wider than both."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
