"""Seconds of a step by stage, on paper: published peaks of a GPU, times shares of them that are assumed.

docs/scale-out.md says where each number comes from. The FLOPs of attention are left out.
"""

from dataclasses import dataclass

from scope_openrlhf.host.gpus import MOST_SEQUENCES
from scope_openrlhf.models.shape import Shape
from scope_openrlhf.platform.rates import Gpu

GIB = 2**30
PORT = 50e9
"""Assumed: bytes/s of each GPU between nodes, a 400 Gb/s port."""
PREFILL, TRAIN, DECODE = 0.30, 0.40, 0.50
"""Assumed: share of the peak that scoring and training reach, and decoding of the bandwidth."""
FLOOR = 0.005
"""Assumed: least seconds of a decode step."""
TCP = 2.5e9
"""Assumed: bytes/s in and out of the driver's node."""
# Measured on two CPU cores, seconds and bytes
INTAKE, TRAIN_STEP = (1.0e-3, 0.14e-6), (0.5e-3, 0.1e-6)
"""Driver, for a rollout and for each of its tokens: from response to rollout; in train_step."""
STORE, DRIVER = 71, 145
"""Bytes of each token through the object store, and of the driver's own memory at its peak."""
WAIT = 2.2e-6
"""ray.wait for the next group: times prompts squared."""
BALANCE, BALANCE_BYTES = 2.3e-6, 125
"""Balanced micro-batches: times rollouts x micro-batches."""
CALL, HANDLE = 0.7e-3, 0.9e-5
"""A call to an engine in the weight sync; what the handle of each training rank adds to it."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """A teacher group, or several as one."""

    shape: Shape
    gpus: int
    tokens: float
    """Tokens that it scores in a step."""
    shared: bool = False
    """Whether it sits on the rollout engines' GPUs, so that the two take turns."""
    later: bool = False
    """Whether it scores once all rollouts have ended, instead of beside generation."""

    def seconds(self, gpu: Gpu) -> float:
        return forward(self.shape, self.tokens, gpu, self.gpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The work of a step and who does it. Lengths in tokens."""

    student: Shape
    ranks: int
    engines: int
    tensor_parallel: int = 1
    """GPUs of a rollout engine."""
    room_gib: float
    """Of a rollout engine's KV cache, on each of its GPUs."""
    colocated: bool = True
    """Whether the rollout engines sit on the student's GPUs."""
    prompts: int
    group: int
    """Rollouts of a prompt."""
    prompt: float
    response: float
    """Mean."""
    longest: float
    """The longest response."""
    packed: float = 0.0
    """Tokens of a micro-batch that is balanced; 0: none is."""
    train_flops: int = 8
    """Of a param and token: forward 2, backward 4, and 2 more where checkpointing computes the forward again."""
    forwards: int = 1
    """Passes of the student over the rollouts before the update: one, and one for each context that it scores."""
    top_k: int = 0
    """Likeliest tokens that travel with each token."""
    scorers: tuple[Scorer, ...] = ()
    linear: bool = False
    """Whether collecting and balancing take time linear in the rollouts, as they do not in OpenRLHF 0.11.2."""

    @property
    def rollouts(self) -> int:
        return self.prompts * self.group

    @property
    def tokens(self) -> float:
        return self.rollouts * (self.prompt + self.response)


def decode(step: Step, gpu: Gpu) -> float:
    """Seconds of a rollout engine for its part of the rollouts; no shorter than its longest one."""
    student, rollouts, tp = step.student, step.rollouts / step.engines, step.tensor_parallel
    context = step.prompt + step.response / 2
    together = max(1.0, min(rollouts, MOST_SEQUENCES, step.room_gib * tp * GIB / (student.kv_bytes * context)))
    read = 2 * student.params + together * context * student.kv_bytes
    token = max(FLOOR, read / (gpu.bandwidth * tp * DECODE))
    return max(rollouts * step.response / together * token, step.longest * FLOOR)


def forward(shape: Shape, tokens: float, gpu: Gpu, gpus: float) -> float:
    """Seconds in which so many GPUs read tokens once."""
    return tokens * 2 * shape.params / (gpu.flops * PREFILL * gpus)


def seconds_of(step: Step, gpu: Gpu) -> dict[str, float]:
    """Seconds of each part.

    "generate" and "collect" run at once; "teacher" is what scoring takes, which hides in "generate" where the teacher
    has GPUs of its own. "contexts" is scoring after the rollouts.
    """
    student, tokens, ranks = step.student, step.tokens, step.ranks
    micro_batches = tokens / step.packed if step.packed else 0.0
    beside = [s.seconds(gpu) for s in step.scorers if not (s.later or s.shared)]
    shared = sum(s.seconds(gpu) for s in step.scorers if s.shared and not s.later)
    # ZeRO-2 reduces the gradient in every micro-batch
    reduce = micro_batches / ranks * 2 * student.params / PORT if ranks > 8 else 0.0
    intake, train_step = (step.rollouts * once + tokens * each for once, each in (INTAKE, TRAIN_STEP))
    return {
        "generate": max(decode(step, gpu) + shared, *beside, 0.0),
        "teacher": max(shared, *beside, 0.0),
        "contexts": sum(s.seconds(gpu) for s in step.scorers if s.later),
        "log-probs": step.forwards * forward(student, tokens, gpu, ranks),
        "update": tokens * step.train_flops * student.params / (gpu.flops * TRAIN * ranks) + reduce,
        "sync": student.tensors * step.engines * (CALL + (HANDLE * ranks if step.colocated else 0.0)),
        # a token's id in 4 bytes and its log-prob in 4, on their way in and out
        "driver": train_step + (STORE + 16 * step.top_k) * tokens / TCP,
        "collect": intake + (0.0 if step.linear else WAIT * step.prompts**2),
        "balance": 0.0 if step.linear else BALANCE * step.rollouts * micro_batches,
    }


def whole(parts: dict[str, float]) -> float:
    """Seconds of the step that these parts make."""
    apart = ("contexts", "log-probs", "update", "sync", "driver", "balance")
    return max(parts["generate"], parts["collect"]) + sum(parts[name] for name in apart)
