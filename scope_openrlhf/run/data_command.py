"""`scope-train data`: the data of a run as its student gets them, on the terminal and as a page."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from scope_openrlhf.data.fetch import fetch
from scope_openrlhf.data.files import read
from scope_openrlhf.data.layouts import guess_columns
from scope_openrlhf.run.data_check import accept, check_data
from scope_openrlhf.run.data_page import write_data_page
from scope_openrlhf.run.data_text import lines
from scope_openrlhf.run.terminal import progress
from scope_openrlhf.settings.config import Config, read_raw, set_overrides
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.parse import set_key

KEYS = ("data.prompt_key", "data.answer_key")


def show_data(options: argparse.Namespace, out: TextIO, err: TextIO) -> None:
    """Print what was found, and write the page where one is asked for.

    Raises ConfigError, one line a reason, if training would refuse the data.
    """
    config, guessed = config_of(options.config, options.words, options.fetch, out)
    check = check_data(config, options.held_out or [], progress(err))
    print("\n".join(lines(check, guessed, options.rows)), file=out)
    if options.page:
        write_data_page(check, guessed, options.page)
        print(f"written: {options.page}", file=out)
    accept(check)
    print(f"can be trained on: {len(check.rows):,} of {len(check.reading.rows):,} rows", file=out)


def config_of(
    file: str | None, words: list[str], dataset: str | None = None, out: TextIO = sys.stdout
) -> tuple[Config, tuple[str, ...]]:
    """What a run would be given, and which of KEYS were guessed. Raises ConfigError.

    file: a config, or none. words: the data's file, which comes before the config's, and key=value. dataset: one of the
    hub, which is written to that file first, as `out` is told.
    """
    paths = [word for word in words if "=" not in word or Path(word).exists()]
    overrides = [word for word in words if word not in paths]
    if len(paths) > 1 or not (paths or file):
        raise ConfigError(f"name one file of data, or a config by --config; got {' '.join(paths) or 'neither'}")
    raw = read_raw(file, []) if file else {"name": "data", "student": {"path": ""}}
    if paths:
        set_key(raw, "data.path", paths[0], ("data",))
    set_overrides(raw, overrides)
    config = Config.from_dict(raw)
    given = raw["data"]
    if dataset:
        known = file or all(key.partition(".")[2] in given for key in KEYS)
        needed = (config.data.prompt_key, config.data.answer_key) if known else ()
        print(f"fetching {dataset} from the hub", file=out, flush=True)
        rows = fetch(dataset, Path(config.data.path), needed, ("id", config.data.trace_key, config.data.teacher_key))
        print(f"written: {config.data.path}, {rows:,} rows", file=out)
    if file or all(key.partition(".")[2] in given for key in KEYS):
        return config, ()
    found = guess_columns(
        read(config.data.path), config.data.path, given.get("prompt_key", ""), given.get("answer_key", ""), KEYS
    )
    data = replace(config.data, prompt_key=found[0], answer_key=found[1])
    return replace(config, data=data), tuple(key for key in KEYS if key.partition(".")[2] not in given)
