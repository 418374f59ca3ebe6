"""The rows of a dataset as they are: from a file, or from the hub."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scope_openrlhf.files.rows import DECODER, check_row, may_hold_halves, read_json, read_row, read_text
from scope_openrlhf.settings.errors import ConfigError, NoData

WRAPPERS = ("data", "rows", "train", "examples")
"""Keys under which the object in a .json may hold its rows."""
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
"""What parts the fields of a .csv, the usual one first."""
_BETWEEN = re.compile(r"\s*[\[,]\s*")


def read(path: str) -> list[dict]:
    """All rows. path: a .jsonl, .json, .parquet or .csv file, or owner/name on the hub.

    Raises ConfigError, NoData among them if the file does not exist or the hub does not give it.
    """
    file, called = Path(path), f"data.path {path}"
    if "://" not in path and is_read(file):
        if not file.exists():
            raise NoData(
                f"{called} does not exist; correct it, or fetch a dataset of the hub: scope-train data --config FILE "
                "--fetch OWNER/NAME (a recipe's header says which)"
            )
        return read_file(file, called)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path) or file.exists():
        raise ConfigError(
            f"{called} is neither a .jsonl, .json or .parquet file nor a dataset of the hub, owner/name (nor a .csv); "
            "name one of them"
        )
    return _from_hub(path)


def is_read(file: Path) -> bool:
    """Whether a file's ending says that its rows can be read."""
    return file.suffix.lower() in READERS


def read_file(file: Path, called: str = "") -> list[dict]:
    """All rows of a file, by its ending. called: the file, in messages. Raises ConfigError."""
    called = called or str(file)
    if not is_read(file):
        raise ConfigError(f"{called} is none of {', '.join(READERS)}; write its rows as one of them")
    return READERS[file.suffix.lower()](file, called)


def _from_hub(path: str) -> list[dict]:
    """The train split of a dataset. Its scripts never run: this version of datasets has no door for them."""
    import datasets  # takes a second, which a file need not wait for

    try:
        builder = datasets.load_dataset_builder(path)
        refuse_foreign_files(path, builder.config.data_files)
        return _as_rows(datasets.load_dataset(path, split="train").with_format("arrow")[:])
    except ConfigError:
        raise
    except Exception as error:  # border to the hub: any of a dozen exceptions means the same to the user
        raise NoData(f"the hub does not give data.path {path}: {error}") from error


def refuse_foreign_files(path: str, files: Any) -> None:
    """Raise ConfigError if a dataset's card names files outside the hub: one of this machine would be read."""
    for file in (str(f) for of_split in (files or {}).values() for f in of_split):
        if not file.startswith("hf://datasets/"):
            raise ConfigError(
                f"data.path {path}: its card names {file}, which is no file of the hub's; choose another dataset"
            )


def read_jsonl(file: Path, called: str = "") -> list[dict]:
    """All rows of a file of JSON lines. called: the file, in messages. Raises ConfigError naming the line."""
    called = called or str(file)
    return _rows_of_lines(read_text(file, called), called)


def _rows_of_lines(text: str, called: str) -> list[dict]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # JSON may hold other line separators inside its texts
        if line.strip():
            try:
                rows.append(read_row(line))
            except ValueError as error:
                what = "name a file that is one list *.json" if text.lstrip().startswith("[") else "repair or remove it"
                raise ConfigError(f"{called}, line {number} {error}; {what}") from None
    return rows


def read_json_file(file: Path, called: str) -> list[dict]:
    """All rows of a .json: a list of them, also under one of WRAPPERS, an object of columns, or JSON lines.

    Raises ConfigError naming the row, counted from 0.
    """
    text = read_text(file, called)
    if not text.strip():
        raise ConfigError(f"{called} is empty")
    if _is_json_lines(text):
        return _rows_of_lines(text, called)
    try:
        value = read_json(text)
    except ValueError as error:
        row = _broken_row(text)
        where = "" if row is None else f" in row {row}, counted from 0"
        raise ConfigError(f"{called} {error}{where}; repair it") from None
    rows, halves = [], may_hold_halves(text)
    for number, row in enumerate(_rows_in(value, called)):
        try:
            rows.append(check_row(row, halves))
        except ValueError as error:
            raise ConfigError(f"{called}, row {number} (counted from 0) {error}; repair or remove it") from None
    return rows


def _is_json_lines(text: str) -> bool:
    """Whether a text that begins with an object has more lines behind it, which begin with objects of their own."""
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines) > 1 and all(line.lstrip().startswith("{") for line in lines)


def _rows_in(value: Any, called: str) -> list:
    """The rows in what a .json holds. Raises ConfigError if it holds none of the forms that are known."""
    if isinstance(value, dict):
        held = [value[key] for key in WRAPPERS if isinstance(value.get(key), list)]
        if len(held) == 1 and all(isinstance(row, dict) for row in held[0]):
            return held[0]
        if value and all(isinstance(column, list) for column in value.values()):
            if len(sizes := {len(column) for column in value.values()}) > 1:
                raise ConfigError(f"{called} is an object of columns of different lengths, {sorted(sizes)}; repair it")
            return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
        if any(not isinstance(column, list | dict) for column in value.values()):
            return [value]  # JSON lines, one of them
    if not isinstance(value, list):
        shown = f"an object with {', '.join(value)[:80]}" if isinstance(value, dict) else f"the value {value!r:.40}"
        raise ConfigError(
            f"{called} holds {shown}; a .json holds a list of rows, that list under {' or '.join(WRAPPERS)}, or an "
            "object of columns, each a list"
        )
    return value


def _broken_row(text: str) -> int | None:
    """Number of the first row of a list, counted from 0, that cannot be read; None where the fault is in no row."""
    at, number = text.find("["), 0
    while (behind := _BETWEEN.match(text, at)) and text[behind.end() : behind.end() + 1] not in ("]", ""):
        try:
            _, at = DECODER.raw_decode(text, behind.end())
        except (ValueError, RecursionError):
            return number
        number += 1
    return None


def read_parquet(file: Path, called: str) -> list[dict]:
    """All rows of a .parquet file. Raises ConfigError."""
    import pyarrow  # these two take half a second, which a .jsonl need not wait for
    import pyarrow.parquet

    try:
        if file.is_dir():
            raise ConfigError(f"{called} is a folder; name a file in it")
        table = pyarrow.parquet.ParquetFile(file).read()
        _check_names(table.column_names, called)
        return _as_rows(table)
    except FileNotFoundError:
        raise ConfigError(f"{called} does not exist") from None
    except ConfigError:
        raise
    except Exception as error:  # border to pyarrow, and to what it asks of a column's type, time zones among it
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ConfigError(f"{called} cannot be read as parquet: {said}; write it anew") from None


def _as_rows(table: Any) -> list[dict]:
    """The rows of an Arrow table, with short floats as they are written: Python would show 0.1 as 0.10000000149011612.

    A column of maps is one of objects. Raises ValueError naming a column that Python cannot hold.
    """
    import numpy as np  # comes with Arrow; what is no parquet is read without either

    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            values = column.to_pylist(maps_as_pydicts="strict")
        except Exception as error:  # whatever a time zone, a date or bytes that are no text end in
            raise ValueError(f"column {name}: {error}") from None
        for short in (np.float16, np.float32):
            if re.search(rf"\b{'half' if short is np.float16 else ''}float\b", str(column.type)):
                values = _as_written(values, short)
        columns[name] = values
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _as_written(value: Any, short: Callable[[float], Any]) -> Any:
    """A value whose floats were of a shorter type, each as the shortest number that this type reads as the same."""
    if isinstance(value, dict):
        return {key: _as_written(inner, short) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_written(inner, short) for inner in value]
    # a longer float beside a short one stays
    return float(str(short(value))) if isinstance(value, float) and float(short(value)) == value else value


def read_csv(file: Path, called: str) -> list[dict]:
    """All rows of a .csv file, each value the text that stands there: 007 is no 7. Raises ConfigError.

    What parts its fields is the one of DELIMITERS that parts its first line most often.
    """
    csv.field_size_limit(2**31 - 1)  # a worked solution may be longer than the 131,072 characters of the default
    text = read_text(file, called)
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(DELIMITERS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    rows = []
    try:
        header = next((line for line in lines if line), [])
        _check_names(header, called)
        for row in lines:
            if row and len(row) != len(header):
                raise ConfigError(
                    f"{called}, line {lines.line_num} has {len(row)} fields, its first line {len(header)}; repair it: "
                    f"a field with a {DELIMITERS[delimiter]} or a line break in it stands in quotes"
                )
            if row:
                rows.append(dict(zip(header, row, strict=True)))
    except csv.Error as error:
        raise ConfigError(f"{called}, line {lines.line_num} is not CSV: {error}; repair it") from None
    return rows


def _check_names(names: list[str], called: str) -> None:
    """Raise ConfigError if two columns have one name."""
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{called} has two columns with the name {', '.join(twice)}; rename one")


READERS: dict[str, Callable[[Path, str], list[dict]]] = {
    ".jsonl": read_jsonl,
    ".json": read_json_file,
    ".parquet": read_parquet,
    ".csv": read_csv,
}


def column(row: dict, key: str) -> Any:
    """A row's value at a key whose dots reach inside; None where there is none."""
    if key in row:
        return row[key]
    value: Any = row
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
