"""How large a model is, counted without its params."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from scope_openrlhf.models.head import head_is_last, without_storage
from scope_openrlhf.settings.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shape:
    """What estimates of memory and time need of a model.

    Example, Qwen3-1.7B: Shape(params=1_720_574_976, layers=28, hidden=2048, vocab=151_936, kv_bytes=114_688,
    maps=1_409_286_144, ends=1_089_536, tensors=310)
    """

    params: int
    layers: int
    hidden: int
    vocab: int
    kv_bytes: int
    """Bytes of the KV cache for one token in bf16: 2 (K and V) * 2 bytes * layers * KV heads * head size."""
    plain_head: bool = True
    """Whether its logits are a linear map of its hidden states, so that they need not exist to be read."""
    maps: int = 0
    """Params of its linear maps but the head: what an engine can quantize."""
    ends: int = 0
    """Inputs and outputs of the same: params of LoRA adapters of rank 1 on all of them."""
    tensors: int = 0
    """Number of its params' tensors, which the weight sync sends one by one."""


def shape_of(model_config: Any) -> Shape:
    """The shape of a transformers config, counted on a model without storage.

    Raises ConfigError if it makes no language model.
    """
    try:
        model = without_storage(AutoModelForCausalLM.from_config, model_config)
        params = sum(p.numel() for p in model.parameters())
        c = model_config.get_text_config()
        head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        # without the key every head has its own K and V, as GPT-2's do
        kv_heads = getattr(c, "num_key_value_heads", None) or c.num_attention_heads
        kv_bytes = 4 * c.num_hidden_layers * kv_heads * head
        head_map = model.get_output_embeddings()
        maps = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head_map]
        sizes = {"maps": sum(m.weight.numel() for m in maps), "tensors": len(list(model.parameters()))}
        ends = sum(m.in_features + m.out_features for m in maps)
        _keep_one_layer(model, c.num_hidden_layers)  # seconds less, where that works
        plain = head_is_last(model) or head_is_last(without_storage(AutoModelForCausalLM.from_config, model_config))
        return Shape(params, c.num_hidden_layers, c.hidden_size, c.vocab_size, kv_bytes, plain, ends=ends, **sizes)
    except Exception as error:  # border to transformers, where a wrong value fails in any way
        said = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise ConfigError(
            f"the config.json of {model_config.name_or_path or model_config.model_type} makes no language model "
            f"({type(error).__name__}: {said}); choose another model, or mend it"
        ) from None


def _keep_one_layer(model: torch.nn.Module, layers: int) -> None:
    """Take all layers of a model but the first away."""
    stacks = [(m, name, child) for m in model.modules() for name, child in m.named_children()]
    for module, name, child in stacks:
        if isinstance(child, torch.nn.ModuleList) and len(child) == layers:
            setattr(module, name, child[:1])


def known_shape(hub_id: str) -> Any:
    """The transformers config of a model that our recipes name, for machines that do not reach the hub.

    None for any other model.
    """
    file = Path(__file__).parent / "shapes" / f"{hub_id.replace('/', '--')}.json"
    if not file.is_file():
        return None
    values = json.loads(file.read_text())
    return AutoConfig.for_model(values.pop("model_type"), **values)
