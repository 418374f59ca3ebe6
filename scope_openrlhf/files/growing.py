"""A file of JSON lines that grows: read on from where it was left, and single rows of it again."""

import json
import re
from pathlib import Path
from typing import Any

_STEP = re.compile(rb'\s*{"step": (\d+)')


class Growing:
    """Where the rows of each step stand in a file. Each row begins with its step."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.places: dict[int, list[tuple[int, int]]] = {}
        """Step -> (offset, length) of its rows."""
        self._end, self._inode = 0, 0

    def look(self) -> bool:
        """Read what has been added; a last line without its newline waits. True: the file was written anew."""
        if not self.file.exists():
            return False
        about = self.file.stat()
        if anew := self._inode not in (0, about.st_ino):  # a resumed run drops rows first
            self.places, self._end = {}, 0
        self._inode = about.st_ino
        if about.st_size > self._end:
            with self.file.open("rb") as file:
                file.seek(self._end)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    if found := _STEP.match(line):
                        self.places.setdefault(int(found[1]), []).append((self._end, len(line)))
                    self._end += len(line)
        return anew

    def rows(self, steps: list[int]) -> list[dict[str, Any]]:
        """The rows of these steps."""
        found = []
        if self.places:
            with self.file.open("rb") as file:
                for offset, length in (place for step in steps for place in self.places.get(step, [])):
                    file.seek(offset)
                    found.append(json.loads(file.read(length)))
        return found
