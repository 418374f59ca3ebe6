"""Whether two folders hold the same model."""

import hashlib
from collections.abc import Container
from pathlib import Path

KINDS = {".json", ".jinja", ".model", ".txt", ".tiktoken", ".py", ".safetensors", ".bin", ".pt"}
"""Suffixes of config, tokenizer, template and params; a README changes no model."""
WHOLE, STRIDE, SLICE = 2**26, 2**20, 2**16
"""Bytes: up to which a file is read whole, and of a larger one how much of each stride."""


def files_fingerprint(folder: str | Path, names: Container[str] | None = None) -> str:
    """First 16 hex digits of a sha256 over a model's files, their names and sizes.

    A file of more than 64 MiB counts by 64 KiB of every MiB. names: of the files that count; None: all.
    """
    digest = hashlib.sha256()
    models = [p for p in Path(folder).iterdir() if p.is_file() and p.suffix in KINDS]
    for file in sorted(p for p in models if names is None or p.name in names):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as f:
            if size <= WHOLE:
                digest.update(f.read())
            for start in range(0, size, STRIDE) if size > WHOLE else ():
                f.seek(start)
                digest.update(f.read(SLICE))
    return digest.hexdigest()[:16]
