"""Resolved settings, made by hand for tests of what works with them."""

from typing import Any

from scope_openrlhf.settings.resolved import Teacher


def teacher(**changes: Any) -> Teacher:
    """The tiny teacher at temperature 0.6, small enough for a test. changes: any of its fields."""
    fields = {
        "name": "",
        "wrote": "teacher.path",
        "path": "examples/tiny/teacher",
        "temperature": 0.6,
        "max_model_len": 128,
        "gpu_memory_utilization": 0.1,
        "enforce_eager": True,
    }
    return Teacher(**(fields | changes))
