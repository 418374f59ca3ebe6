"""What GPUs can do at most, as their makers publish it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """Published: dense bf16 FLOP/s with sums in float32, bytes/s of its memory, GiB."""

    flops: float
    bandwidth: float
    gib: float


GPUS = {
    "h200": Gpu(989e12, 4.8e12, 140),
    "h100": Gpu(989e12, 3.35e12, 80),
    "a100": Gpu(312e12, 2.04e12, 80),
    "l40s": Gpu(362e12, 0.864e12, 44),
    "a10": Gpu(125e12, 0.6e12, 22),
    "4090": Gpu(165e12, 1.008e12, 24),
    "3090": Gpu(71e12, 0.936e12, 24),
}
"""By the name that `scope-train plan --gpu` takes. SXM where there are several."""
