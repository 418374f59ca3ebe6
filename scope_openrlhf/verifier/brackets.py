"""Scanning of text by its brackets, in one pass: where they nest, where they close, and what stands between them."""

import re


class TooMuch(ValueError):
    """An answer longer or nested deeper than anybody means."""


_OPEN, _CLOSE = {"(", "[", "{"}, {")", "]", "}"}


def split_top(text: str, separator: re.Pattern[str]) -> list[str]:
    """Split at the separators that stand in no bracket."""
    if not separator.search(text):
        return [text]
    pieces, depth, start, i = [], 0, 0, 0
    while i < len(text):
        c = text[i]
        if c == "⟦" and not separator.match(text, i):
            i = max(text.find("⟧", i), i)
        elif text.startswith(r"\begin", i):
            depth += 1
        elif text.startswith(r"\end", i):
            depth -= 1
        elif c == "\\" and text[i + 1 : i + 2] in ("{", "}"):
            depth += 1 if text[i + 1] == "{" else -1
            i += 1
        elif c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
        elif depth == 0 and (match := separator.match(text, i)) and match.end() > i:
            pieces.append(text[start:i])
            start = i = match.end()
            continue
        i += 1
    return [*pieces, text[start:]]


def deepest(text: str) -> int:
    """Number of brackets that are open at once, at most."""
    most = depth = 0
    for c in text:
        depth += (c in _OPEN) - (c in _CLOSE)
        most = max(most, depth)
    return most


def closes_at_end(text: str) -> bool:
    """Whether the bracket that opens the text closes with its last character."""
    depth, i = 0, 0
    while i < len(text):
        step = 2 if text[i] == "\\" and text[i + 1 : i + 2] in ("{", "}") else 1
        c = text[i + step - 1]
        depth += (c in _OPEN) - (c in _CLOSE)
        i += step
        if depth == 0:
            return i == len(text)
    return False
