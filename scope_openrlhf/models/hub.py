"""Whether Hugging Face's hub answers, asked once: its own client tries again for half a minute a file."""

from pathlib import Path

import httpx
from huggingface_hub import HfApi, constants, try_to_load_from_cache

from scope_openrlhf.settings.errors import ConfigError

PATIENCE_SECONDS = 10.0
"""Longest wait for its answer."""


def is_local(path: str) -> bool:
    """Whether a model's path means a folder, there or not, and no id of the hub, which has one slash at most."""
    return Path(path).is_absolute() or path.startswith(".") or path.count("/") > 1 or Path(path).exists()


def silence(path: str, revision: str = "") -> str | None:
    """Why the hub does not answer when it is asked for a model; None where it does, or where it need not be asked.

    What it answers (no such model, not yours to see) is left to whoever loads the model.
    """
    if is_local(path) or constants.HF_HUB_OFFLINE:
        return None
    try:
        HfApi().model_info(path, revision=revision or None, timeout=PATIENCE_SECONDS)
    except httpx.TransportError as error:
        return str(error) or type(error).__name__
    except Exception:  # border to the hub
        return None
    return None


def require_answer(path: str, key: str, revision: str = "") -> None:
    """Raise ConfigError, with what to do, if the hub does not answer when it is asked for a model.

    key: what names the model, for messages.
    """
    why = silence(path, revision)
    if why is None:
        return
    cached = isinstance(try_to_load_from_cache(path, "config.json", revision=revision or "main"), str)
    todo = (
        "it has been downloaded before: set HF_HUB_OFFLINE=1 to use that copy"
        if cached
        else f"download it where there is a network (hf download {path} --local-dir FOLDER) and set {key}=FOLDER"
    )
    raise ConfigError(
        f"{key} {path} could not be fetched, {constants.ENDPOINT} does not answer ({why}); {todo}, or name a mirror in "
        "HF_ENDPOINT"
    )
