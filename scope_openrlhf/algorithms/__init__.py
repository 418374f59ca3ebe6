"""One file per algorithm; its name in the config is its file's name. No list to edit."""

import importlib
import pkgutil

from scope_openrlhf.algorithms.base import Algorithm


def known() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base")


def load(name: str, **knobs) -> Algorithm:
    """The algorithm `name` with its knobs. Raises ValueError for an unknown name, an unknown knob or a bad value."""
    if name not in known():
        raise ValueError(f"there is no algorithm {name!r}; known: {', '.join(known())}")
    algorithm = importlib.import_module(f"{__name__}.{name}").ALGORITHM
    return algorithm(algorithm.Config.parse(knobs))
