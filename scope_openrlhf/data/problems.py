"""Dataset rows -> the prompts of a run: checked, in their final order, each with what its verifier needs."""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from scope_openrlhf.settings.errors import ConfigError, nearest
from scope_openrlhf.settings.sections import DataConfig
from scope_openrlhf.settings.config import section_of

PROMPT_COLUMN, LABEL_COLUMN = "prompt", "label"


def load_rows(config: DataConfig, teachers: Collection[str] = (), traces: bool = False) -> list[dict]:
    """Rows of the dataset as {"id", "prompt", "answer"}. Raises ConfigError naming the rows without prompt or answer.

    teachers: the names of several, "" being the one of rows that name none. Rows then have "teacher" too; it must be one of them.
    traces: rows have "trace" too, a worked solution, or empty; ConfigError if all are.
    """
    raw = read(config.path)
    if not raw:
        raise ConfigError(f"data.path {config.path} holds no rows")
    rows, bad = [], []
    for number, row in enumerate(raw):
        prompt, answer = column(row, config.prompt_key), column(row, config.answer_key)
        if prompt in (None, "", []) or answer is None or not str(answer).strip():
            bad.append(number)
        rows.append({"id": str(row.get("id", number)), "prompt": prompt, "answer": str(answer)})
        if teachers:
            named = column(row, config.teacher_key)
            rows[-1]["teacher"] = "" if named is None else str(named)
        if traces:
            rows[-1]["trace"] = given if has_trace(given := column(row, config.trace_key)) else ""
    if len(bad) == len(rows):
        columns = ", ".join(map(str, raw[0]))
        raise ConfigError(
            f"no row of {config.path} has both {config.prompt_key!r} and {config.answer_key!r}; its columns are {columns}: "
            "set data.prompt_key and data.answer_key"
        )
    if bad:
        raise ConfigError(
            f"{len(bad)} of {len(rows)} rows of {config.path} have an empty {config.prompt_key!r} or {config.answer_key!r} "
            f"(the first: rows {bad[:5]}, counted from 0); a rollout without a gold answer cannot be routed: remove or repair them"
        )
    pictures = [
        number
        for number, row in enumerate(rows)
        if "<image>" in json.dumps([row["prompt"], row.get("trace")], default=str)
    ]
    if pictures:
        raise ConfigError(
            f"{len(pictures)} of {len(rows)} prompts of {config.path} hold <image> (the first: rows {pictures[:5]}, counted from 0), where OpenRLHF "
            "would put a picture and not the text; write it otherwise, or remove them"
        )
    if teachers:
        _check_teachers(rows, teachers, config.teacher_key)
    if traces and not any(row["trace"] for row in rows):
        raise ConfigError(
            f"no row of {config.path} has a worked solution in {config.trace_key!r}, which this algorithm shows; set data.trace_key, or have the "
            "teacher write them: scope-train --config ... --traces FILE"
        )
    return rows


def _check_teachers(rows: list[dict], teachers: Collection[str], key: str) -> None:
    named = Counter(row["teacher"] for row in rows)
    if "" in named and "" not in teachers:
        raise ConfigError(
            f"{named['']} of {len(rows)} rows name no teacher in their {key!r}; set teacher.path for them, or data.teacher_key"
        )
    for name in named.keys() - set(teachers):
        raise ConfigError(
            f"{named[name]} rows want the teacher {name!r}, which is none of teachers; {nearest(name, [t for t in teachers if t])}"
        )
    for name in set(teachers) - named.keys():
        raise ConfigError(f"no row goes to {section_of(name)}, so its engines would stand idle; remove it")


def show_trace(row: dict, hint: str, leaks: bool) -> dict:
    """The row with the hint in its prompt. Says whether there is one, and whether it gives the answer away."""
    return row | {
        "prompt": with_hint(row["prompt"], hint) if hint else row["prompt"],
        "hinted": bool(hint),
        "leaks": leaks,
    }


def order_rows(rows: list[dict], batch_size: int, steps: int, seed: int) -> list[dict]:
    """The rows of a whole run: each pass over the data shuffled by the seed; steps * batch_size rows (steps = 0: one pass)."""
    rng = random.Random(seed)
    if steps == 0:
        steps = len(rows) // batch_size
    if steps == 0:
        raise ConfigError(f"the data have {len(rows)} rows, fewer than openrlhf.rollout.batch_size {batch_size}")
    ordered: list[dict] = []
    while len(ordered) < steps * batch_size:
        ordered += rng.sample(rows, len(rows))
    return ordered[: steps * batch_size]


def format_prompts(rows: list[dict]) -> str:
    """The lines that OpenRLHF's PromptDataset reads: a prompt, and a label that carries the row as it was and its order."""
    lines = []
    for order, row in enumerate(rows):
        label = json.dumps(row | {"order": order})
        lines.append(json.dumps({PROMPT_COLUMN: row["prompt"], LABEL_COLUMN: label}) + "\n")
    return "".join(lines)


def sample_seed(run_seed: int, *draw: str | int) -> int:
    """One seed per draw, for instance (row, number of the sample): sampling depends neither on batching nor on engines or order."""
    digest = hashlib.sha256("/".join(map(str, (run_seed, *draw))).encode()).digest()
    return int.from_bytes(digest[:6], "big")


def as_messages(prompt: Any) -> list[dict]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def as_text(tokenizer: Any, prompt: Any) -> str:
    """A prompt as the model gets it."""
    return tokenizer.apply_chat_template(as_messages(prompt), tokenize=False, add_generation_prompt=True)


def with_hint(prompt: Any, hint: str) -> Any:
    """The prompt with the hint at the end of its last message."""
    if isinstance(prompt, str):
        return prompt + hint
    *before, last = prompt
    content = last["content"]
    # parts of a message, where pictures stand beside texts
    return [
        *before,
        last | {"content": content + hint if isinstance(content, str) else [*content, {"type": "text", "text": hint}]},
    ]


def read(path: str) -> list[dict]:
    """The rows of a dataset as they are. Raises ConfigError saying which kinds of path there are."""
    suffix = Path(path).suffix
    if suffix in (".jsonl", ".json", ".parquet"):
        if not Path(path).is_file():
            raise ConfigError(f"data.path {path} does not exist")
        if suffix == ".jsonl":
            return read_jsonl(Path(path))
        import datasets

        return datasets.load_dataset(
            "json" if suffix == ".json" else "parquet", data_files=path, split="train"
        ).to_list()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path) or Path(path).exists():
        raise ConfigError(
            f"data.path {path} is neither a .jsonl, .json or .parquet file nor a dataset of the hub, owner/name; name one of them"
        )
    return _from_hub(path)


def _from_hub(path: str) -> list[dict]:
    """Its train split. Scripts never run: this version of datasets has no door for them."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(path)
        refuse_foreign_files(path, builder.config.data_files)
        return datasets.load_dataset(path, split="train").to_list()
    except ConfigError:
        raise
    except Exception as error:  # border to the hub: any of a dozen exceptions means the same to the user
        raise ConfigError(f"the hub does not give data.path {path}: {error}") from error


def refuse_foreign_files(path: str, files: Any) -> None:
    """Raise ConfigError if a dataset's card names files that are not on the hub: a path of this machine would be read."""
    for file in (str(f) for of_split in (files or {}).values() for f in of_split):
        if not file.startswith("hf://datasets/"):
            raise ConfigError(
                f"data.path {path}: its card names {file}, which is no file of the hub's; choose another dataset"
            )


def read_jsonl(path: Path) -> list[dict]:
    """Raises ConfigError naming a line that is not JSON, or a file that is no UTF-8."""
    rows = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 ({error}); convert it") from None
    for number, line in enumerate(text.split("\n"), 1):  # JSON may hold other line separators inside its texts
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ConfigError(f"{path}, line {number} is not JSON: {error}") from None
    return rows


def has_trace(value: Any) -> bool:
    """Whether this is a worked solution."""
    return isinstance(value, str) and bool(value.strip())


def column(row: dict, key: str) -> Any:
    """The row's value at a key whose dots reach inside; None where there is none."""
    value: Any = row
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
