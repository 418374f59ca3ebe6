"""The rows of a dataset as they are: from a file, or from the hub."""

import json
import re
from pathlib import Path
from typing import Any

from scope_openrlhf.settings.errors import ConfigError


def read(path: str) -> list[dict]:
    """All rows. path: a .jsonl, .json or .parquet file, or owner/name on the hub. Raises ConfigError."""
    suffix = Path(path).suffix
    if suffix in (".jsonl", ".json", ".parquet"):
        if not Path(path).is_file():
            raise ConfigError(f"data.path {path} does not exist")
        if suffix == ".jsonl":
            return read_jsonl(Path(path))
        import datasets  # takes a second, which a .jsonl need not wait for

        kind = "json" if suffix == ".json" else "parquet"
        return datasets.load_dataset(kind, data_files=path, split="train").to_list()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path) or Path(path).exists():
        raise ConfigError(
            f"data.path {path} is neither a .jsonl, .json or .parquet file nor a dataset of the hub, owner/name; "
            "name one of them"
        )
    return _from_hub(path)


def _from_hub(path: str) -> list[dict]:
    """The train split of a dataset. Its scripts never run: this version of datasets has no door for them."""
    import datasets  # takes a second, as above

    try:
        builder = datasets.load_dataset_builder(path)
        refuse_foreign_files(path, builder.config.data_files)
        return datasets.load_dataset(path, split="train").to_list()
    except ConfigError:
        raise
    except Exception as error:  # border to the hub: any of a dozen exceptions means the same to the user
        raise ConfigError(f"the hub does not give data.path {path}: {error}") from error


def refuse_foreign_files(path: str, files: Any) -> None:
    """Raise ConfigError if a dataset's card names files outside the hub: one of this machine would be read."""
    for file in (str(f) for of_split in (files or {}).values() for f in of_split):
        if not file.startswith("hf://datasets/"):
            raise ConfigError(
                f"data.path {path}: its card names {file}, which is no file of the hub's; choose another dataset"
            )


def read_jsonl(file: Path) -> list[dict]:
    """All rows of a file that somebody wrote. Raises ConfigError for a line that is not JSON, or a text not UTF-8."""
    rows = []
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 ({error}); convert it") from None
    for number, line in enumerate(text.split("\n"), 1):  # JSON may hold other line separators inside its texts
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ConfigError(f"{file}, line {number} is not JSON: {error}") from None
    return rows


def column(row: dict, key: str) -> Any:
    """A row's value at a key whose dots reach inside; None where there is none."""
    value: Any = row
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
