"""What each process of a run holds of a GPU, and at which moment a GPU holds most. Estimates, from shapes and flags."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace

from scope_openrlhf.equations.vocabulary import reading_gib
from scope_openrlhf.host.gpus import packed
from scope_openrlhf.models.shape import Shape
from scope_openrlhf.run.step_seconds import GIB
from scope_openrlhf.settings.resolved import Teacher

ENGINE_GIB = 2.0
"""What a vLLM engine takes beside params, KV cache and logits: CUDA context, graphs, activations."""
LOGITS = 12
"""Bytes of each logit of the sequences that are decoded at once: in float32, as probabilities, as drawn."""
TRAINER_GIB = 3.0
"""The same for a training rank: CUDA context, NCCL, DeepSpeed's buckets."""
ASLEEP_GIB = 1.0
"""What stays of either while it sleeps: CUDA context, graphs, NCCL."""
PROMPT_LOGPROBS = 1024
"""Tokens of a chunk of prompt log-probs, CHUNK_SIZE in vllm/v1/worker/gpu/sample/prompt_logprob.py of vLLM 0.29."""

Moments = dict[str, dict[str, float]]
"""Moment of a run -> GiB of a GPU by who holds them."""


def student_gib(shape: Shape, args: SimpleNamespace) -> dict[str, float]:
    """GiB of a training rank in bf16 mixed precision.

    What DeepSpeed's ZeRO stage leaves on it, and one micro-batch's activations and logits. With LoRA the adapters alone
    have gradients and an optimiser. Activations: with checkpointing one bf16 hidden state a layer and one layer
    recomputed, without it 34 bytes * hidden of every layer (https://arxiv.org/abs/2205.05198, flash attention).
    Logits: see `reading_gib`.
    """
    copies, stage = _copies(args), args.ds.zero_stage
    tokens = _tokens(args, args.train)
    checkpointed = args.actor.gradient_checkpointing_enable
    activations = tokens * shape.hidden * (2 * shape.layers + 34 if checkpointed else 34 * shape.layers)
    params, trained = _params(shape, args)
    parts = {
        "params": 2 * params / (copies if stage == 3 else 1) / GIB,
        "gradients": 2 * trained / (copies if stage >= 2 else 1) / GIB,
        "optimiser": 0.0 if args.ds.adam_offload else 12 * trained / (copies if stage >= 1 else 1) / GIB,
        "activations": activations / GIB,
        "logits": reading_gib(shape, tokens, 2, frozen=args.ds.lora.rank > 0, parted=args.ds.tensor_parallel_size > 1),
        "other": TRAINER_GIB,
    }
    # whole on each rank and never asleep: refused with ZeRO-3 and tensor parallel training
    return parts | ({"moving average": 2 * params / GIB} if args.train.enable_ema else {})


def student_moments(shape: Shape, args: SimpleNamespace) -> dict[str, float]:
    """GiB of a training rank while it loads, while rollouts are drawn, reads them, and trains on them."""
    parts = student_gib(shape, args)
    kept = parts["params"] + parts.get("moving average", 0.0)
    loaded = sum(parts.values()) - parts["activations"] - parts["logits"]
    # OpenRLHF moves nothing away if the optimiser is in the host's memory already
    asleep = kept + ASLEEP_GIB if args.ds.enable_sleep and not args.ds.adam_offload else loaded
    tokens = _tokens(args, args.rollout)
    layer = 34 * tokens * shape.hidden / GIB  # without gradient one layer at a time
    reading = layer + reading_gib(shape, tokens, 2, frozen=True, parted=args.ds.tensor_parallel_size > 1)
    awake = max(asleep, kept + TRAINER_GIB)
    return {"loads": loaded, "sleeps": asleep, "reads": awake + reading, "trains": sum(parts.values())}


def asleep_on_host_gib(shape: Shape, args: SimpleNamespace) -> float:
    """GiB of the host's memory that a training rank takes while it sleeps, or for an optimiser that is kept there."""
    if args.ds.adam_offload:
        _, trained = _params(shape, args)
        return 16 * trained / (_copies(args) if args.ds.zero_stage >= 1 else 1) / GIB
    parts = student_gib(shape, args)
    return parts["gradients"] + parts["optimiser"] if args.ds.enable_sleep else 0.0


def _params(shape: Shape, args: SimpleNamespace) -> tuple[float, float]:
    """Params of a rank before ZeRO parts them, and those of them that train: with LoRA the adapters, at most."""
    adapters = args.ds.lora.rank * shape.ends
    params = (shape.params + adapters) / args.ds.tensor_parallel_size
    return params, adapters or params


def ranks_of(args: SimpleNamespace) -> int:
    """Number of training ranks, each on a GPU."""
    return args.actor.num_nodes * args.actor.num_gpus_per_node


def _copies(args: SimpleNamespace) -> int:
    """Number of ranks that ZeRO parts a model over."""
    return ranks_of(args) // args.ds.ring_attn_size // args.ds.tensor_parallel_size


def _tokens(args: SimpleNamespace, stage: SimpleNamespace) -> float:
    """Tokens of a micro-batch on a rank. stage: args.train or args.rollout."""
    tokens = stage.micro_batch_size * args.data.max_len
    if args.train.dynamic_batch_enable:
        tokens = stage.max_tokens_per_gpu or args.train.max_tokens_per_gpu
    return max(tokens, args.data.max_len) / args.ds.ring_attn_size


def weights_gib(shape: Shape, quantization: str = "") -> float:
    """GiB of an engine's params, in bf16, or the linear maps in 8 bits."""
    return (2 * shape.params - (shape.maps if quantization else 0)) / GIB


def engine_room(
    shape: Shape, share: float, tensor_parallel: int, gpu_gib: float, quantization: str = "", sequences: int = 0
) -> float:
    """GiB that an engine's share of each of its GPUs leaves for the KV cache. sequences: that it decodes at once."""
    logits = LOGITS * sequences * shape.vocab / GIB
    return share * gpu_gib - weights_gib(shape, quantization) / tensor_parallel - logits - ENGINE_GIB


def prompt_logprobs_gib(shape: Shape, teacher: Teacher) -> float:
    """GiB that a teacher takes beside its share: on GPUs vLLM reads prompt log-probs in chunks, in bf16 and float32."""
    return 6 * min(PROMPT_LOGPROBS, teacher.max_num_batched_tokens) * shape.vocab / teacher.tensor_parallel_size / GIB


@dataclass(frozen=True, slots=True)
class Engine:
    """One vLLM engine, or several alike, on a GPU."""

    who: str
    awake: float
    """GiB."""
    sleeps: bool
    teacher: bool = True

    @property
    def between(self) -> float:
        """GiB while no rollouts are drawn."""
        return ASLEEP_GIB if self.sleeps else self.awake


def moments(engines: Iterable[Engine], student: dict[str, float] | None = None) -> Moments:
    """What a GPU holds at each moment of a run, in their order.

    engines: in the order in which they start, each asleep, where it sleeps, before the next one starts. student:
    `student_moments` of the rank that loads after them; None where there is none.
    """
    engines = list(engines)
    found: Moments = {}
    started: dict[str, float] = {}
    for engine in engines:
        found[f"{engine.who} starts"] = started | {engine.who: engine.awake}
        started = started | {engine.who: engine.between}
    awake = {engine.who: engine.awake for engine in engines}
    if student is None:
        return found | ({"generation": awake} if len(engines) > 1 else {})
    found["student loads"] = started | {"student": student["loads"]}
    if awake:
        found["generation"] = awake | {"student": student["sleeps"]}
    found["student's log-probs"] = started | {"student": student["reads"]}
    return found | {"training": started | {"student": student["trains"]}}


def worst(found: Moments) -> str:
    """The moment at which most is held."""
    return max(found, key=lambda moment: sum(found[moment].values()))


def dealt(teachers: Iterable[Teacher], gpus: int) -> list[Counter[str]]:
    """On each of the student's GPUs, how many replicas of which colocated teacher, by name."""
    names = [t.name for t in teachers if t.started_here and t.placement == "colocate" for _ in range(t.replicas)]
    return [Counter(names[gpu::gpus]) for gpu in range(gpus)]


def sharing(teachers: Iterable[Teacher]) -> list[Counter[str]]:
    """On each GPU of teachers that have their own, how many replicas of which."""
    return [Counter(t.name for t in card) for card in packed(t for t in teachers if t.placement != "colocate")]
