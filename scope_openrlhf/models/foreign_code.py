"""Whether a model would bring Python files of its own into our processes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

from scope_openrlhf.settings.errors import ConfigError

OWN_FILES = (
    "custom_generate/generate.py",
    "adapter_config.json",
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)
"""Files through which a model makes its loaders run its Python files, or those of a model that it names."""


def refuse_own_code(path: str) -> None:
    """Raise ConfigError if the student brings Python files, or names a model that does.

    OpenRLHF loads it with trust_remote_code=True in each of its processes.
    """
    for name in OWN_FILES:
        try:
            file = cached_file(path, name, _raise_exceptions_for_missing_entries=False)
        except OSError as error:
            raise ConfigError(
                f"student.path {path}: {name} could not be read to see whether it brings Python files ({error}); try "
                "again"
            ) from None
        if file and (found := own_code(name, Path(file).read_text(encoding="utf-8"))):
            raise ConfigError(
                f"student.path {path} {found}, which OpenRLHF would run; read them and set "
                "student.trust_remote_code=true, or choose another model"
            )


def own_code(name: str, text: str) -> str | None:
    """The end of a sentence about what a file of a model would run; None if it runs nothing."""
    if name == "custom_generate/generate.py":
        return f"brings Python files of its own ({name})"
    if name == "adapter_config.json":
        return f"is an adapter ({name}) and names another model, which may bring Python files"
    for key, value in entries(json.loads(text)):
        if key == "auto_map":
            return f"brings Python files of its own (auto_map in its {name})"
        if key == "speculators_config":
            return f"is a speculator ({key} in its {name}) and names another model, which may bring Python files"
        if key.endswith("attn_implementation") and "/" in str(value):
            return f"asks for kernels from the hub ({key} in its {name})"
    return None


def entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Keys and values at every depth of what JSON held."""
    if isinstance(value, dict):
        yield from value.items()
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from entries(inner)
