"""A dataset of the hub as one file of this machine, with the columns that a run reads."""

import re
from pathlib import Path

from scope_openrlhf.data.files import refuse_foreign_files
from scope_openrlhf.settings.errors import ConfigError


def fetch(dataset: str, to: Path, needed: tuple[str, ...], kept: tuple[str, ...] = ()) -> int:
    """Write the train split of a dataset as parquet, and return its number of rows. Raises ConfigError.

    dataset: owner/name, or owner/name/file of one file in it. needed, kept: keys of columns that must be there, and
    that stay where they are; none needed: all columns stay.
    """
    if to.exists():
        raise ConfigError(f"{to} is there already; remove it, or leave --fetch out")
    if to.suffix != ".parquet":
        raise ConfigError(f"--fetch writes parquet, data.path is {to}; give it the ending .parquet")
    found = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:/(.+))?", dataset)
    if not found or dataset.startswith(".") or ".." in dataset:
        raise ConfigError(f"--fetch {dataset} is no dataset of the hub; name one as owner/name or owner/name/file")
    import datasets  # takes a second, which the checks above need not wait for

    name, file = found.groups()
    try:
        builder = datasets.load_dataset_builder(name, data_files=file)
        refuse_foreign_files(name, builder.config.data_files)
        rows = datasets.load_dataset(name, data_files=file, split="train")
    except ConfigError:
        raise
    except Exception as error:  # border to the hub, as in files.py
        raise ConfigError(f"the hub does not give --fetch {dataset}: {error}") from error
    columns = {key: key if key in rows.column_names else key.partition(".")[0] for key in (*needed, *kept)}
    if missing := [key for key in needed if columns[key] not in rows.column_names]:
        raise ConfigError(
            f"--fetch {dataset} has no column {' and '.join(missing)}; it has {', '.join(rows.column_names)}: set "
            "data.prompt_key and data.answer_key to two of them"
        )
    if needed:
        rows = rows.select_columns([name for name in rows.column_names if name in columns.values()])
    to.parent.mkdir(parents=True, exist_ok=True)
    new = to.with_name(to.name + ".new")
    rows.to_parquet(str(new))
    new.replace(to)
    return len(rows)
