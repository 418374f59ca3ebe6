"""Hints with placeholders: what a context shows beside the problem."""

import re

_PLACEHOLDER = re.compile(r"(?P<command>\\[A-Za-z]+)?\{(?P<name>\w+)\}")
"""A name in braces; after a command it is LaTeX: \\text{answer}."""


def placeholders(hint: str) -> list[str]:
    """The names that a hint has in braces, in their order."""
    return [found["name"] for found in _PLACEHOLDER.finditer(hint) if not found["command"]]


def check_hint(hint: str, known: tuple[str, ...]) -> None:
    """Raise ValueError for a hint with a placeholder that is not known, or with none."""
    names = placeholders(hint)
    for name in names:
        if name not in known:
            choices = " or ".join(f"{{{k}}}" for k in known)
            raise ValueError(f"algorithm.hint has {{{name}}}, which nothing fills; use {choices}")
    if not names:
        raise ValueError(f"algorithm.hint must contain {' or '.join(f'{{{k}}}' for k in known)}, got {hint!r}")


def filled(hint: str, **values: str) -> str:
    """The hint with its placeholders filled; braces in a value are text.

    Example: filled("It is {answer}.", answer="{trace}") == "It is {trace}."
    """
    return _PLACEHOLDER.sub(lambda found: found[0] if found["command"] else values[found["name"]], hint)
