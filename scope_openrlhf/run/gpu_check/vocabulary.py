"""Loss, health and gradients from a vocabulary that is read in chunks, against all logits at once and float64.

Axes: N rollouts, T response positions, M = N * T, H the hidden size, V the vocabulary, K likeliest tokens.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from scope_openrlhf import algorithms
from scope_openrlhf.equations.chunks import CHUNK
from scope_openrlhf.equations.vocabulary import Reading, Wanted, read_vocabulary, reading_gib
from scope_openrlhf.host.path_loss import PathLoss, path_counts
from scope_openrlhf.models.shape import Shape
from scope_openrlhf.run.gpu_check.judged import Found, Numbers, judge, working_type

GIB = 2**30
TEMPERATURE = 0.6
READ = ("logp", "topk", "spread", "concentration", "topk_concentration")
"""What a reading holds."""
REAL, SMALL = (8, 1024, 151_936, 896), (4, 64, 32_000, 512)
"""N, T, V and H that memory and seconds are measured at; those of Qwen2.5-0.5B, and small ones for CPUs."""
MORE = 1.25
"""Part of the estimated memory that is still well."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Hidden states of a micro-batch, the head, and what the loss wants beside them."""

    x_MH: Tensor
    head_VH: Tensor
    ids_NT: Tensor
    topk: list[tuple[Tensor, Tensor]]
    """Of each rollout the teacher's likeliest tokens and their log-probs, (T, K) both."""
    old_NT: Tensor
    advantage_NT: Tensor
    weight_N: Tensor
    mask_NT: Tensor
    path_N: Tensor

    def to(self, device: str, dtype: torch.dtype) -> "Batch":
        """A copy there, with hidden states and head of that type."""
        x, head = (t.detach().to(device, dtype).requires_grad_() for t in (self.x_MH, self.head_VH))
        others = ("ids_NT", "old_NT", "advantage_NT", "weight_N", "mask_NT", "path_N")
        return replace(self, x_MH=x, head_VH=head, **{name: getattr(self, name).to(device) for name in others})


def draw(rows: int, width: int, words: int, hidden: int, top_k: int, dtype: torch.dtype) -> Batch:
    """A micro-batch at random: half its rollouts right, of several lengths."""
    rng = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    # distinct tokens: a stride beside a random first one
    first = torch.randint(words, (rows, width, 1), generator=rng)
    topk_NTK = (first + torch.arange(top_k) * (words // top_k)) % words
    length_N = torch.randint(1, width + 1, (rows, 1), generator=rng)
    return Batch(
        x_MH=normal(rows * width, hidden).to(dtype),
        head_VH=(normal(words, hidden) * 3 / hidden**0.5).to(dtype),
        ids_NT=torch.randint(words, (rows, width), generator=rng),
        topk=[(ids_TK, normal(width, top_k).log_softmax(-1) - 0.1) for ids_TK in topk_NTK],
        old_NT=-normal(rows, width).abs() - 5,
        advantage_NT=normal(rows, width),
        weight_N=normal(rows).abs().double() + 0.1,
        mask_NT=torch.arange(width) < length_N,
        path_N=torch.arange(rows) % 2,
    )


def in_chunks(wanted: Wanted, x: Tensor, head: Tensor, ids: Tensor, topk: Tensor | None, size: int = CHUNK) -> Reading:
    """The vocabulary as a run reads it."""
    return wanted.named(read_vocabulary(wanted, x, head, None, ids, topk, size))


def at_once(wanted: Wanted, x: Tensor, head: Tensor, ids: Tensor, topk: Tensor | None) -> Reading:
    """The plain way: all logits, and autograd."""
    none = ids.new_empty(len(ids), 0)
    smooth, fixed = wanted(torch.nn.functional.linear(x, head), ids, none if topk is None else topk, again=False)
    return wanted.named((*smooth, *fixed))


def computed(name: str, knobs: dict, batch: Batch, read: Callable[..., Reading]) -> dict[str, Tensor]:
    """Loss, health, reading and gradients of an algorithm's micro-batch. read: in_chunks or at_once."""
    algorithm = algorithms.load(name, **knobs)
    path_N, rows = batch.path_N % len(algorithm.paths), batch.ids_NT.shape
    loss = PathLoss(algorithm)
    counts_P = path_counts(algorithm, path_N.cpu(), batch.mask_NT.cpu()).to(path_N.device)
    loss.bind(batch.weight_N, path_N, counts_P, batch.topk, rows[1])
    topk_MK = None if loss.topk_ids_NTK is None else loss.topk_ids_NTK.flatten(0, 1)
    wanted = Wanted(TEMPERATURE, top_k=topk_MK is not None, health=True)
    found = read(wanted, batch.x_MH, batch.head_VH, batch.ids_NT.flatten(), topk_MK)
    laid = {what: value.unflatten(0, rows) for what in READ if (value := getattr(found, what)) is not None}
    loss.take(Reading(**laid))
    total = loss(laid["logp"] * batch.mask_NT.float(), batch.old_NT, batch.advantage_NT, batch.mask_NT)[0]
    total.backward()
    gradients = {"gradient of hidden states": batch.x_MH.grad, "gradient of the head": batch.head_VH.grad}
    return {"loss": total, **loss.path_sums, **laid, **gradients}


def loss(device: str, rows: int = 8, width: int = 64, words: int = 4000, hidden: int = 64) -> Found:
    """Loss, health and both gradients of SCOPE, and of distillation over a top k."""
    dtype = working_type(device)
    batch = draw(rows, width, words, hidden, 8, dtype)
    exact: Numbers = {}
    plain: Numbers = {}
    ours: Numbers = {}

    in_many = partial(in_chunks, size=50 * words)
    for name, knobs in (("scope", {}), ("opd", {"divergence": "topk_reverse", "top_k": 8})):
        for numbers, there, read in (
            (exact, batch.to("cpu", torch.float64), at_once),
            (plain, batch.to(device, dtype), at_once),
            (ours, batch.to(device, dtype), in_many),
        ):
            named = computed(name, knobs, there, read)
            numbers |= {f"{what}, {name}": value.detach().double().cpu() for what, value in named.items()}
    return judge(exact, plain, ours, dtype)


def vocabulary(device: str, size: tuple[int, int, int, int] | None = None) -> Found:
    """Memory and seconds of SCOPE's loss and health at a real model's logits, and those of all logits at once.

    It is well if the memory is what `scope-train plan` reckons with. On a CPU, where torch counts no bytes, there are
    seconds alone. size: N, T, V, H.
    """
    dtype = working_type(device)
    rows, width, words, hidden = size or (SMALL if device == "cpu" else REAL)
    batch = draw(rows, width, words, hidden, 1, dtype)
    ours, plain = (_measured(batch, device, dtype, read) for read in (in_chunks, at_once))
    times = f"{rows * width:,} x {words:,} logits: {ours[0]:.2f} s, {plain[0]:.2f} s all at once"
    if device == "cpu":
        return Found(True, times)
    logits, shape = 4 * rows * width * words / GIB, Shape(words * hidden, 0, hidden, words, 0)
    estimate = reading_gib(shape, rows * width, dtype.itemsize)
    said = f"{ours[1]:.2f} GiB at the peak, {ours[1] / logits:.2f} x the logits in float32 (plan: {estimate:.2f} GiB)"
    return Found(ours[1] <= MORE * estimate, f"{times}; {said}; all at once {plain[1]:.2f} GiB")


def _measured(batch: Batch, device: str, dtype: torch.dtype, read: Callable[..., Reading]) -> tuple[float, float]:
    """(seconds, GiB at the peak beyond what the batch takes; 0 on a CPU). Infinite where memory runs out."""
    cuda, seconds, peak = device != "cpu", 0.0, 0.0
    for _ in range(2):  # the first time brings what is set up once
        there = batch.to(device, dtype)
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        before, began = torch.cuda.memory_allocated() if cuda else 0, time.perf_counter()
        try:
            computed("scope", {}, there, read)["loss"].item()  # waits for the device
        except torch.OutOfMemoryError:
            return float("inf"), float("inf")
        seconds = time.perf_counter() - began
        peak = (torch.cuda.max_memory_allocated() - before) / GIB if cuda else 0.0
    return seconds, peak
