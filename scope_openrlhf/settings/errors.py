"""The error that every bad setting ends in, and sentences that say what to do."""

import difflib
from collections.abc import Iterable

from scope_openrlhf.settings.pins import INSTALL_TRAINING


class ConfigError(ValueError):
    """A setting that cannot work. The message names the key and says what to do."""


class NoData(ConfigError):
    """Data that are not there, which alone is no fault of a config."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the one of the known names that is like it, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def rows_named(faults: dict[int, str], most: int = 5) -> str:
    """Rows with what is wrong with them, the first of each kind: "row 4 and 8 more: it is missing; row 7: ...".

    faults: by the number of the row, counted from 0. most: kinds that are told.
    """
    kinds: dict[str, list[int]] = {}
    for row, fault in faults.items():
        kinds.setdefault(fault, []).append(row)
    told = [
        f"row {rows[0]}" + (f" and {len(rows) - 1} more" if len(rows) > 1 else "") + f": {fault}"
        for fault, rows in list(kinds.items())[:most]
    ]
    return "; ".join([*told, "..."] if len(kinds) > most else told)


def not_installed(error: ModuleNotFoundError) -> str:
    """What to do where a command needs more than the wheel alone brings."""
    return f"{error.name} is not installed; run {INSTALL_TRAINING}"
