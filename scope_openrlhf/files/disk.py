"""Files that survive a kill: a text is there whole or not at all, and so is a row."""

import json
import os
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Replace a file's text: the old or the new one stands there, whatever happens in between. Raises OSError."""
    new = file.with_name(file.name + ".new")
    new.write_text(text, encoding="utf-8")
    to_disk(new)
    new.replace(file)
    to_disk(file.parent)


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk and survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append_rows(file: Path, rows: list[dict]) -> None:
    """Add rows to a file of JSON lines, and wait until they are on the disk."""
    with file.open("a") as f:
        f.write("".join(json.dumps(row) + "\n" for row in rows))
        f.flush()
        os.fsync(f.fileno())  # a step's rows must be there before its checkpoint is


def whole_rows(file: Path) -> list[dict]:
    """The rows of a file of JSON lines that may still be written: a last line without its newline is left out.

    None at all where there is no such file.
    """
    if not file.exists():
        return []
    text = file.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
