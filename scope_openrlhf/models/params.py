"""Whether the files of a model's params are all there and whole, by their headers alone."""

import json
import struct
from pathlib import Path

from scope_openrlhf.settings.errors import ConfigError

INDEX = "model.safetensors.index.json"
LONGEST_HEADER = 100_000_000
"""Bytes; safetensors itself takes no longer one."""
POINTER = b"version https://git-lfs"


def check_params(path: str, key: str) -> None:
    """Raise ConfigError naming the file if a model's folder lacks params, or holds a part of them.

    key: what names the model, for messages. A hub id is not looked at: whoever downloads it checks it.
    """
    folder = Path(path)
    if not folder.is_dir():
        return
    try:
        if (folder / INDEX).exists():
            _check_index(folder)
        elif files := sorted(folder.glob("*.safetensors")):
            for file in files:
                _tensors(file)
        elif not any(f.suffix in (".bin", ".pt", ".pth") for f in folder.iterdir()):
            raise ValueError("there is no .safetensors file in it; copy the params too")
    except (ValueError, OSError) as error:
        raise ConfigError(f"{key} {path} cannot be loaded: {error}") from None


def _check_index(folder: Path) -> None:
    """Raise ValueError if the index is broken, or a file that it names is missing or lacks a tensor."""
    try:
        shards = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        tensors_of: dict[str, set[str]] = {shard: set() for shard in shards.values()}
        for tensor, shard in shards.items():
            tensors_of[shard].add(tensor)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{INDEX} is broken; copy the model again") from None
    missing = [shard for shard in tensors_of if not (folder / shard).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{missing[0]}{more}, which {INDEX} names, is missing; copy the model again")
    for shard, wanted in sorted(tensors_of.items()):
        if lacking := sorted(wanted - _tensors(folder / shard)):
            raise ValueError(f"{shard} lacks {lacking[0]}, which {INDEX} names; copy the model again")


def _tensors(file: Path) -> set[str]:
    """Names of the tensors in a .safetensors file. Raises ValueError if it is not whole."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        if start == POINTER[:8]:
            raise ValueError(f"{file.name} is a pointer of Git LFS, not the file; fetch it with git lfs pull")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST_HEADER + 1
        if length > min(LONGEST_HEADER, size - 8):
            raise ValueError(f"{file.name} is cut or no .safetensors file ({size:,} bytes); copy it again")
        try:
            header = json.loads(opened.read(length))
            ends = [about["data_offsets"][1] for name, about in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{file.name} has a broken header; copy it again") from None
    whole = 8 + length + max(ends, default=0)
    if size != whole:
        raise ValueError(f"{file.name} has {size:,} bytes, its header says {whole:,}; copy it again")
    return header.keys() - {"__metadata__"}
