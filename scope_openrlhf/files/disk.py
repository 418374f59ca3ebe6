"""Files that survive a kill: a text is there whole or not at all, and so is a row."""

import json
import os
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """The old text or the new one stands in file, whatever happens in between."""
    new = file.with_name(file.name + ".new")
    new.write_text(text)
    to_disk(new)
    new.replace(file)
    to_disk(file.parent)


def to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append_rows(file: Path, rows: list[dict]) -> None:
    with file.open("a") as f:
        f.write("".join(json.dumps(row) + "\n" for row in rows))
        f.flush()
        os.fsync(f.fileno())  # before the checkpoint of the step is


def whole_rows(file: Path) -> list[dict]:
    """Whole rows of a file that may still be written: a last line without its newline is left out."""
    if not file.exists():
        return []
    text = file.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
