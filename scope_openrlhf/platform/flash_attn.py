"""Stand-ins for flash_attn, a CUDA source build of hours, where it is missing.

openrlhf.models.ring_attn_utils imports it at module level. It finds the functions of padding.py, and only while it is
imported: transformers and vLLM look for the package too, and would take the stand-ins for kernels.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types

IMPORTER = "openrlhf.models.ring_attn_utils"
NAMES = ("flash_attn", "flash_attn.bert_padding", "flash_attn.utils", "flash_attn.utils.distributed")
"""The modules that it imports, and their packages."""


def missing() -> bool:
    """Whether flash_attn is not installed."""
    return importlib.util.find_spec("flash_attn") is None


def install() -> None:
    """Have OpenRLHF find the stand-ins from now on, where flash_attn is missing. Idempotent."""
    if missing() and not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())


class Finder(importlib.abc.MetaPathFinder):
    """Finds the one module of OpenRLHF, as Python would, and gives it a loader that shows it the stand-ins."""

    def find_spec(self, name, path=None, target=None):
        if name != IMPORTER:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and spec.origin:
            spec.loader = Loader(name, spec.origin)
        return spec


class Loader(importlib.machinery.SourceFileLoader):
    """Runs a module while the stand-ins are where an import of flash_attn looks."""

    def exec_module(self, module: types.ModuleType) -> None:
        from scope_openrlhf.platform import padding  # torch: seconds, in a process that comes this far

        sys.modules.update({name: types.ModuleType(name) for name in NAMES})
        sys.modules["flash_attn.bert_padding"].__dict__.update(
            index_first_axis=padding.index_first_axis,
            pad_input=padding.pad_input,
            unpad_input=padding.unpad_input,
            rearrange=padding.rearrange,
        )
        sys.modules["flash_attn.utils.distributed"].__dict__["all_gather"] = padding.all_gather
        try:
            super().exec_module(module)
        finally:
            for name in NAMES:
                del sys.modules[name]
