"""API keys come from the environment, and nobody writes them down again."""

import os
import re

TEACHER, EVAL, WANDB = "SCOPE_TEACHER_API_KEY", "SCOPE_EVAL_API_KEY", "WANDB_API_KEY"
"""Variables that hold the keys of served teachers, of the server that scope-eval samples from, and of W&B.

The last is read by wandb itself.
"""
OF_LIBRARIES = (
    WANDB,
    "SWANLAB_API_KEY",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "TRACKIO_WRITE_TOKEN",
    "HF_TOKEN",
)
"""Variables whose keys the libraries of trackers and of the hub read themselves."""


def with_secret(url: str) -> bool:
    """Whether it has a place where keys are put: user:password@, ?api_key=... An address needs none of these."""
    return any(c in url for c in "@?#")


def masked(text: str) -> str:
    """What somebody else said, without our keys: some servers repeat the key that they refuse, or the whole address."""
    for name in (TEACHER, EVAL, *OF_LIBRARIES):
        if key := os.environ.get(name):
            text = text.replace(key, f"<{name}>")
    text = re.sub(r"(?<=://)[^\s/@]+@", "<user>@", text)
    return re.sub(r"(?<=token=)[^\s&]+", "<token>", text)
