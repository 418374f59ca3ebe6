"""A checkpoint of a run as a model in Hugging Face form, also while the run goes on."""

import shlex
import shutil
from pathlib import Path
from typing import Any, TextIO

import torch
from transformers import AutoModelForCausalLM

from scope_openrlhf.files import checkpoint
from scope_openrlhf.models.loading import load_tokenizer
from scope_openrlhf.run.fork import checkpoint_of
from scope_openrlhf.run.listing import config_of
from scope_openrlhf.settings.errors import ConfigError

PARAMS, AVERAGE = "mp_rank_00_model_states.pt", "moving_average.pt"
"""Files of a checkpoint: all params where no rank holds a part of them, and their average where the run keeps one."""


def export(run: Path, step: int, folder: Path, out: TextIO) -> None:
    """Write the model of a run's checkpoint into a folder. Raises ConfigError if it cannot be had.

    It is what `model/` would hold after that step: the moving average, where the run keeps one.
    """
    student = config_of(run)["student"]
    if folder.exists():
        raise ConfigError(f"{folder} is there already; delete it, or choose another --out")
    params = params_of(checkpoint_of(run, step))
    trust = student["trust_remote_code"]
    tokenizer = load_tokenizer(student["path"], trust_remote_code=trust)
    dtype = next(iter(params.values())).dtype
    model = AutoModelForCausalLM.from_pretrained(student["path"], dtype=dtype, trust_remote_code=trust)
    model.load_state_dict(params)
    part = folder.with_name(f"{folder.name}{checkpoint.PART}")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    part.rename(folder)
    named = shlex.quote(str(folder))
    print(f"written: {folder}, for scope-eval run --model {named} or student.path={named}", file=out)


def params_of(folder: Path) -> dict[str, Any]:
    """The params that a checkpoint holds, by name. Raises ConfigError if they are not there whole."""
    if fault := checkpoint.damage(folder):
        raise ConfigError(f"{folder} is torn ({fault}); choose another checkpoint")
    if (folder / AVERAGE).exists():
        return torch.load(folder / AVERAGE, map_location="cpu", weights_only=True)
    saved = torch.load(folder / PARAMS, map_location="cpu", weights_only=True) if (folder / PARAMS).exists() else {}
    params = saved.get("module", {})
    if not params or saved["mp_world_size"] > 1 or not all(p.numel() for p in params.values()):
        raise ConfigError(
            f"the params of {folder} are cut over its ranks (ZeRO-3 or tensor parallel training); "
            f"{folder.parent}/zero_to_fp32.py puts those of ZeRO-3 together"
        )
    if any(".lora_" in name for name in params):
        raise ConfigError(f"{folder} holds LoRA adapters beside the params; only model/ has them merged")
    return params
