"""Values as Python and numpy print them: what pandas writes into a CSV where a table holds lists or objects."""

import ast
import re
from typing import Any

_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_ARRAY = re.compile(rf"\[\s*{_QUOTED}(?:\s+{_QUOTED})+\s*\]")
"""A list of texts as numpy prints it, which Python would read as one text: ['2' '3']."""
_OTHER_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\[^\\'\"nrtxuU]")
"""A backslash such as nobody prints: of LaTeX, written by hand."""


def read_printed(text: str) -> Any:
    """The value that was printed as this text. Raises ValueError if none was."""
    try:
        if not _OTHER_ESCAPE.search(text):
            if _ARRAY.fullmatch(text):
                return [ast.literal_eval(part) for part in re.findall(_QUOTED, text)]
            value = ast.literal_eval(text)
            if "".join(repr(value).split()) == "".join(text.split()):  # no key stands there twice
                return value
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    raise ValueError("is nothing that Python prints")
