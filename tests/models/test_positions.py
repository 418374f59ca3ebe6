"""How long a sequence may be, against vLLM's own count."""

import json

import pytest
from transformers import AutoConfig

from scope_openrlhf.models.loading import positions
from scope_openrlhf.models.shape import shape_of
from scope_openrlhf.settings.errors import ConfigError

SMALL = {
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 64,
}
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
LONG = {"short_factor": [1.0] * 8, "long_factor": [1.0] * 8}


def config(tmp_path, kind: str, length: int, scaling: dict | None, **more):
    values = SMALL | {"model_type": kind, "max_position_embeddings": length, "rope_scaling": scaling} | more
    (tmp_path / "config.json").write_text(json.dumps(values))
    return AutoConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "kind, length, scaling, more, tokens",
    [
        ("qwen2", 32768, None, {}, 32768),
        ("qwen2", 32768, {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, {}, 131072),
        ("qwen2", 32768, {"rope_type": "yarn", "factor": 4.0}, {}, 131072),
        ("qwen2", 131072, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, {}, 131072),
        ("llama", 4096, {"rope_type": "linear", "factor": 2.0}, {}, 8192),
        ("llama", 4096, {"type": "dynamic", "factor": 2.0}, {}, 8192),
        ("llama", 131072, {"rope_type": "llama3", "factor": 8.0, **LLAMA3}, {}, 131072),
        ("phi3", 131072, {"type": "longrope", **LONG}, {"original_max_position_embeddings": 4096}, 131072),
        ("gemma3_text", 131072, {"rope_type": "linear", "factor": 8.0}, {"head_dim": 16}, 131072),
        ("qwen2_vl", 32768, {"type": "mrope", "mrope_section": [2, 3, 3]}, {}, 32768),
    ],
)
def test_scaled_positions_are_as_many_as_vllm_takes(tmp_path, kind, length, scaling, more, tokens):
    from vllm.config.model import _get_and_verify_max_len
    from vllm.transformers_utils.config import patch_rope_parameters
    from vllm.transformers_utils.model_arch_config_convertor import ModelArchConfigConvertorBase

    found = config(tmp_path, kind, length, scaling, **more)
    assert positions(found) == tokens
    text = found.get_text_config()
    patch_rope_parameters(text)
    shape = ModelArchConfigConvertorBase(found, text).convert()
    assert _get_and_verify_max_len(text, shape, None, tokens, False, None) == tokens
    with pytest.raises(ValueError, match="is greater than the derived max_model_len"):
        _get_and_verify_max_len(text, shape, None, tokens + 1, False, None)


def test_a_config_without_a_length_sets_no_limit(tmp_path):
    assert positions(config(tmp_path, "bloom", None, None)) > 10**9


@pytest.mark.parametrize("scaling", [{"rope_type": "linear", "factor": "2"}, {"rope_type": "linear", "factor": -1}])
def test_a_factor_that_is_no_number_scales_nothing(tmp_path, scaling):
    assert positions(config(tmp_path, "llama", 4096, scaling, seq_length="long")) == 4096


@pytest.mark.parametrize("kind, broken", [("llama", {"hidden_size": 0}), ("t5", {})])
def test_a_config_that_makes_no_language_model_is_told(tmp_path, kind, broken):
    with pytest.raises(ConfigError, match="the config.json of .* makes no language model .*; choose another model"):
        shape_of(config(tmp_path, kind, 4096, None, **broken))
