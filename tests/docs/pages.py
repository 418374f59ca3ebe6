"""The pages that people read, and the commands in them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    str(file.relative_to(ROOT)): file.read_text()
    for file in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
}
"""Text of each page by its path."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAMS = ("scope-train", "scope-eval", "scope-grade", "make")


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", PAGES[page])


def shown_commands() -> list[tuple[str, str]]:
    """(page, command line) of each line in a bash block that calls one of our programs, comments and `...` removed."""
    found = []
    for page in PAGES:
        for language, block in FENCE.findall(PAGES[page]):
            for line in block.replace("\\\n", " ").splitlines() if language == "bash" else ():
                words = shlex.split(line, comments=True)
                if words and words[0] in PROGRAMS:
                    found.append((page, shlex.join(words)))
    return found
