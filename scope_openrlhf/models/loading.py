"""A model's config and tokenizer, from a folder or a hub, with errors that say what to do."""

import sys
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from scope_openrlhf.models import hub
from scope_openrlhf.models.shape import known_shape
from scope_openrlhf.settings.errors import ConfigError


def check_model(path: str, key: str, revision: str = "", known: bool = False, trust_remote_code: bool = False) -> Any:
    """The transformers config of a model. Raises ConfigError naming the key if there is no model at path.

    known: a model of our recipes is taken from its shape, without asking the hub.
    """
    if known and (config := known_shape(path)):
        return config
    if hub.is_local(path) and not (Path(path) / "config.json").is_file():
        raise ConfigError(
            f"{key} {path} is no model: there is no {Path(path) / 'config.json'}; {_what_to_do(Path(path))}"
        )
    hub.require_answer(path, key, revision)
    try:
        return AutoConfig.from_pretrained(path, revision=revision or "main", trust_remote_code=trust_remote_code)
    except Exception as error:  # border to transformers and the hub
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"{key} {path} is no model that transformers can load ({first}); give a folder in Hugging Face form or a "
            "hub id"
        ) from error


def _what_to_do(folder: Path) -> str:
    """With a folder that is no model."""
    if any(folder.glob("*.gguf")):
        return (
            "a GGUF file alone cannot be trained: give the model that it was made of, in Hugging Face form, or turn it "
            "into one (from_pretrained(folder, gguf_file=...) of transformers, then save_pretrained)"
        )
    return "give a folder in Hugging Face form or a hub id"


def load_tokenizer(path: str, optional: bool = False, trust_remote_code: bool = False) -> Any:
    """The student's tokenizer. Raises ConfigError if it has no chat template.

    optional: None where the hub does not answer, instead of its OSError.
    """
    if optional and hub.silence(path):
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    except OSError:
        if optional:
            return None
        raise
    if tokenizer.chat_template is None:
        raise ConfigError(f"student.path {path} has no chat template; add chat_template.jinja to its folder")
    return tokenizer


def generation_eos(path: str, revision: str) -> set[int]:
    """EOS ids that a model's generation_config.json adds; none where it has no such file."""
    try:
        ids = GenerationConfig.from_pretrained(path, revision=revision or "main").eos_token_id
    except OSError:
        return set()
    return set(ids) if isinstance(ids, list) else {ids} - {None}


LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
"""Keys under which configs of models name their longest sequence."""
SCALED_ALREADY = ("su", "longrope", "llama3")
"""Kinds of scaled positions whose config names the length after scaling."""


def positions(model_config: Any) -> int:
    """Number of tokens of the longest sequence that an engine takes of a model; no limit where its config names none.

    Scaled positions count as vLLM counts them (_get_and_verify_max_len in its config/model.py): the length times the
    factor, with YaRN the original length.
    """
    config = model_config.get_text_config()
    limit = min((n for key in LENGTHS if (n := _above_0(getattr(config, key, None)))), default=sys.maxsize)
    limit = _above_0(getattr(config, "model_max_length", None)) or limit
    rope = getattr(config, "rope_parameters", None) or {}
    by_layer = [r for r in rope.values() if isinstance(r, dict) and "rope_type" in r]
    factor = 1.0
    for scaling in by_layer or [rope]:
        # Gemma 3 scales the positions of some layers alone, and names the length after it
        if scaling.get("rope_type") not in (*SCALED_ALREADY, None) and "gemma3" not in config.model_type:
            factor = _above_0(scaling.get("factor")) or factor
            if scaling["rope_type"] == "yarn":
                limit = scaling["original_max_position_embeddings"]
    return limit if factor == 1 else int(limit * factor)


def _above_0(value: Any) -> Any:
    """A value of somebody's config if it is a number above 0, else None."""
    return value if isinstance(value, int | float) and value > 0 else None
