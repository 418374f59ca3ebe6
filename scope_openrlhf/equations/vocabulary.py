"""What the loss and the metrics read of a model's logits: pure torch. The logits of all positions never exist at once.

Axes: M positions in a row, V the vocabulary, K tokens of a position, J = K + 1 with one bucket for all the others.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scope_openrlhf.equations.chunks import CHUNK, Found, read_in_chunks
from scope_openrlhf.models.shape import Shape

NOT_SCORED = -1
"""Id in place of the teacher's top k where it gave none."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Numbers of M positions, or laid out as (N, T). With gradient: logp, entropy, topk."""

    logp: Tensor
    """(M,) log-prob of the token that follows."""
    entropy: Tensor | None = None
    """(M,) nats, where it was asked for with its gradient."""
    topk: Tensor | None = None
    """(M, J) log-probs of the teacher's top k, and of all other tokens together; NaN where it gave none."""
    spread: Tensor | None = None
    """(M,) entropy in nats, without gradient."""
    concentration: Tensor | None = None
    """(M,) how concentrated all tokens but the one that follows are, see `health_of`."""
    topk_concentration: Tensor | None = None
    """(M,) the same of all tokens but the top k; NaN where there is none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is read beside the log-probs of the tokens that follow."""

    temperature: float = 1.0
    entropy: bool = False
    top_k: bool = False
    health: bool = False

    def __call__(self, logits_MV: Tensor, ids_M: Tensor, topk_MK: Tensor, *, again: bool) -> Found:
        z = logits_MV.to(torch.promote_types(logits_MV.dtype, torch.float32))
        z = z / self.temperature if self.temperature != 1.0 else z
        total = z.logsumexp(dim=-1)
        smooth, fixed = [z.gather(-1, ids_M[:, None])[:, 0] - total], []
        if self.entropy:
            smooth.append(total - (z.softmax(dim=-1) * z).sum(dim=-1))
        scored = topk_MK[:, 0] != NOT_SCORED if self.top_k else None
        if scored is not None:
            blank = z.new_full((len(z), topk_MK.shape[1] + 1), torch.nan)
            rows = (z, total) if scored.all() else (z[scored], total[scored])
            smooth.append(blank.index_put((scored,), topk_logp(*rows, topk_MK[scored])))
        if self.health and not again:
            fixed += health_of(z - total[:, None], ids_M[:, None])
            if scored is not None:
                others = torch.full_like(total, torch.nan)
                others[scored] = concentration_of(z[scored], topk_MK[scored])
                fixed.append(others)
        return smooth, fixed

    def named(self, found: tuple[Tensor, ...]) -> Reading:
        """What `read_vocabulary` found, by name."""
        asked = {
            "logp": True,
            "entropy": self.entropy,
            "topk": self.top_k,
            "spread": self.health,
            "concentration": self.health,
            "topk_concentration": self.health and self.top_k,
        }
        names = [name for name, yes in asked.items() if yes]
        return Reading(**dict(zip(names, found, strict=True)))


def read_vocabulary(
    wanted: Wanted,
    x: Tensor,
    weight_VH: Tensor | None,
    bias_V: Tensor | None,
    ids_M: Tensor,
    topk_MK: Tensor | None = None,
    size: int = CHUNK,
) -> tuple[Tensor, ...]:
    """Numbers of the logits of M positions at a temperature; `Wanted.named` says which is which.

    x, weight_VH, bias_V, size: as `read_in_chunks` takes them. ids_M: the token that follows each position. topk_MK:
    where wanted, the teacher's likeliest tokens, distinct; a row of NOT_SCORED where it gave none. Raises ValueError
    for one that the vocabulary does not have.
    """
    if topk_MK is None:
        topk_MK = ids_M.new_empty(len(ids_M), 0)
    vocabulary = x.shape[-1] if weight_VH is None else len(weight_VH)
    if topk_MK.numel() and topk_MK.max() >= vocabulary:
        raise ValueError(
            f"the teacher's top {topk_MK.shape[1]} names token {int(topk_MK.max())}, which the student's {vocabulary} "
            "logits do not have; lower algorithm.top_k, or choose a teacher whose vocabulary is not padded further"
        )
    return read_in_chunks(wanted, x, weight_VH, bias_V, ids_M, topk_MK, size=size)


def topk_logp(logits_MV: Tensor, total_M: Tensor, ids_MK: Tensor) -> Tensor:
    """Log-probs of K tokens, and last the log of the mass of all others: (M, K + 1). total_M: their logsumexp."""
    others = logits_MV.scatter(-1, ids_MK, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return torch.cat([logits_MV.gather(-1, ids_MK), others], dim=-1) - total_M[:, None]


@torch.no_grad()
def health_of(logp_MV: Tensor, ids_MK: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy of each row in nats, (M,), and how concentrated all tokens but the K of ids_MK are, (M,).

    Entropy = -sum_v p_v log p_v. Overwrites logp_MV.
    """
    entropy = -(logp_MV.exp() * logp_MV).sum(dim=-1)
    return entropy, concentration_of(logp_MV, ids_MK)


@torch.no_grad()
def concentration_of(logits_MV: Tensor, ids_MK: Tensor) -> Tensor:
    """sum_v p_v^2 / (sum_v p_v)^2 over all tokens but the K of ids_MK, (M,). Overwrites logits_MV."""
    # not as a difference of sums, which rounding would eat
    others = logits_MV.scatter_(-1, ids_MK, -torch.inf).softmax(dim=-1)
    return torch.linalg.vecdot(others, others)


def reading_gib(shape: Shape, tokens: float, width: int, *, frozen: bool = False, parted: bool = False) -> float:
    """GiB that it takes, at the peak of the backward, to read the vocabulary at so many tokens. An estimate.

    width: bytes of a param. frozen: the head does not train. parted: the head is spread over GPUs, so it is no plain
    one. One chunk of logits in float32, eight times over; and with a plain head the sum of its gradient in float32,
    beside a part of it in a narrower type, and the hidden states and their gradient. With any other head the logits
    themselves, their gradient, and the same once more where positions are chosen of all.
    """
    chunk = 8 * 4 * min(CHUNK, tokens * shape.vocab)
    if not shape.plain_head or parted:
        return (chunk + 3 * width * tokens * shape.vocab) / 2**30
    head = 0 if frozen else (4 if width == 4 else 4 + width) * shape.vocab * shape.hidden
    return (chunk + head + 2 * width * tokens * shape.hidden) / 2**30
