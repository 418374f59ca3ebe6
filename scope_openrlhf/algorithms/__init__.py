"""One file for each algorithm; its name in the config is its file's name. No list to edit."""

import importlib
import pkgutil
from typing import Any

from scope_openrlhf.algorithms.base.contract import Algorithm, Knobs


def known() -> list[str]:
    """Names of the algorithms, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def load(name: str, **knobs: Any) -> Algorithm[Knobs]:
    """The algorithm `name` with its knobs. Raises ValueError for an unknown name, an unknown knob or a bad value."""
    if name not in known():
        raise ValueError(f"there is no algorithm {name!r}; known: {', '.join(known())}")
    algorithm = importlib.import_module(f"{__name__}.{name}").ALGORITHM
    return algorithm(algorithm.Config.parse(knobs))
