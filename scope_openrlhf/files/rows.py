"""JSON that somebody else wrote: read exactly, or told in a sentence what is wrong with it."""

import json
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from scope_openrlhf.settings.errors import ConfigError

MOST_DIGITS = 4_000
"""Digits of an integer; Python itself reads few more."""
PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "parquet",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""How files begin that are no plain text, and what they are."""
LFS_POINTER = "version https://git-lfs.github.com/"
"""How the text begins that stands in place of a large file."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_text(file: Path, called: str) -> str:
    """The text of a file without a byte order mark. called: the file, in messages. Raises ConfigError."""
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{called} does not exist") from None
    except IsADirectoryError:
        raise ConfigError(f"{called} is a folder; name a file in it") from None
    except (OSError, ValueError) as error:  # no permission; a name that no file can have
        raise ConfigError(f"{called} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    kind = next((name for start, name in PACKED.items() if raw.startswith(start)), "")
    try:
        text = raw.decode("utf-8-sig")
        if text.startswith(LFS_POINTER):
            raise ConfigError(f"{called} is a pointer of Git LFS and not the file itself; fetch that with git lfs pull")
        if "\0" not in text[:4]:
            return text
        what = "it begins as UTF-16 does"  # without a mark
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"it begins as {kind} does" if kind else f"line {line}: {error.reason}"
    raise ConfigError(f"{called} is not UTF-8 ({what}); convert it, or name the file as what it is")


def read_row(text: str) -> dict[str, Any]:
    """A row that stands as JSON in a text. Raises ValueError with a sentence that follows the row's name."""
    return check_row(read_json(text), may_hold_halves(text))


def may_hold_halves(text: str) -> bool:
    """Whether a JSON text spells a surrogate pair or half of one; as UTF-8 neither gets into a file."""
    return bool(_SURROGATE.search(text))


def check_row(value: Any, halves: bool) -> dict[str, Any]:
    """The value itself if it is a row. halves: as may_hold_halves. Raises ValueError as read_row."""
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(value), f"the value {value!r:.40}")
        raise ValueError(f"is no row: it is {kind}, not an object of columns")
    if halves:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("holds half a surrogate pair, which is no text") from None
    return value


def read_json(text: str) -> Any:
    """A value that stands as JSON in a text. Raises ValueError as read_row.

    A number that a float would round is the text that it was written as.
    """
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        # whoever gives one line knows its number
        where = (
            f"line {error.lineno}, character {error.colno}" if "\n" in text.strip() else f"character {error.pos + 1}"
        )
        raise ValueError(f"is not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _exact(text: str) -> float | str:
    """A number with a point or an exponent: as a float where that holds all of it, else as it is written."""
    value = float(text)
    if len(text) <= 15 and "e" not in text.lower():  # as most are
        return value
    try:
        return value if Decimal(text) == Decimal(repr(value)) else text
    except InvalidOperation:  # an exponent of 20 digits
        return text


def _integer(text: str) -> int:
    if (digits := len(text.lstrip("-"))) > MOST_DIGITS:
        raise ValueError(f"holds an integer of {digits:,} digits, which Python does not read")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError where a key stands there twice: nobody knows which one is meant."""
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"has the key {twice!r:.60} twice")
    return row


DECODER = json.JSONDecoder(parse_float=_exact, parse_int=_integer, object_pairs_hook=_object)
"""Reads what read_json does, but for its sentences."""
