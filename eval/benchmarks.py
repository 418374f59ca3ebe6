"""The benchmarks' problems: from a folder of JSONL files or from the hub, checked, with a hash of what they say."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import yaml

from scope_openrlhf.data.benchmark import OURS, Columns, check
from scope_openrlhf.data.files import READERS, is_read, read_file
from scope_openrlhf.settings.errors import ConfigError, nearest
from scope_openrlhf.verifier.gold import read_golds

TASKS = Path(__file__).parent / "tasks"


def names() -> list[str]:
    """Names of the benchmarks that have a task file, the six of the paper first."""
    six = ["aime24", "aime25", "amc23", "math500", "minerva", "olympiad"]
    return six + sorted({f.stem.removeprefix("scope_") for f in TASKS.glob("*.yaml")} - set(six))


def tasks_of(wanted: str, columns: Columns = OURS) -> dict[str, dict]:
    """{short name: what a task file for it begins with} of benchmarks that commas part. Raises ConfigError."""
    found: dict[str, dict] = {}
    for wish in filter(None, map(str.strip, wanted.split(","))):
        name, task = task_of(wish, columns)
        if name in found:
            raise ConfigError(f"--benchmarks names {name} twice")
        found[name] = task
    if not found:
        raise ConfigError("--benchmarks names none")
    return found


def task_of(benchmark: str, columns: Columns = OURS) -> tuple[str, dict]:
    """(short name, what a task file for it begins with) of a benchmark's name or of somebody's own file.

    columns: of an own file. Raises ConfigError for a name that there is not.
    """
    file = TASKS / f"scope_{benchmark}.yaml"
    if file.is_file():
        return benchmark, {"include": str(file), "task": f"scope_{benchmark}"}
    own = Path(benchmark)
    if not is_read(own):
        raise ConfigError(
            f"--benchmarks: there is no {benchmark}; {nearest(benchmark, names())} (A file is a benchmark too: "
            f"{', '.join(READERS)})"
        )
    if not own.is_file():
        raise ConfigError(f"--benchmarks: there is no file {own}")
    source: dict = {"benchmark": own.stem, "file": str(own.absolute())}
    if columns != OURS:
        source["columns"] = asdict(columns)
    return own.stem, {"include": str(TASKS / "_scope_math"), "task": f"scope_{own.stem}", "dataset_kwargs": source}


def dataset(
    benchmark: str,
    data_dir: str = "",
    file: str = "",
    default_file: str = "",
    hub: dict | None = None,
    columns: dict | None = None,
    **_,
) -> dict:
    """lm-eval's `custom_dataset`: {"test": rows of id, problem, answer and stratum, all texts}.

    Taken from file, somebody's own, with its columns; else from data_dir/<benchmark>.jsonl if a data_dir is given, else
    from default_file, else from the hub: {path, name, revision, split and the columns id, problem, answer}.
    Raises ConfigError for missing data, a hub that does not answer, and rows without an id, a problem or a gold.
    """
    import datasets  # a second of start-up, also of --help

    if data_dir and not file:
        file = str(Path(data_dir) / f"{benchmark}.jsonl")
        if not Path(file).is_file():
            raise ConfigError(f"--data-dir: there is no {file}; it needs a file of rows with id, problem and answer")
    file = file or default_file
    if file and not Path(file).is_file():
        raise ConfigError(f"there is no {file}; give --data-dir with {benchmark}.jsonl in it")
    rows = read_file(Path(file)) if file else _from_hub(benchmark, hub or {})
    return {"test": datasets.Dataset.from_list(check(rows, file or benchmark, Columns(**columns or {})))}


def own_sampling(file: Path) -> dict:
    """The generation_kwargs of a task file, its own or those of what it includes."""
    text = file.read_text().replace("!function ", "")
    task = yaml.safe_load(text)
    return task["generation_kwargs"] if "generation_kwargs" in task else own_sampling(file.parent / task["include"])


def how_asked(name: str, prompts: list[str], samples: int, params: dict) -> str:
    """The line that says how a benchmark is asked: its size, its first prompt's end, and the sampling.

    prompts: as the model reads them. params: of the sampling, under vLLM's names.
    """
    drawn = ", ".join(f"{key} {params[key]:g}" for key in ("temperature", "top_p", "top_k", "max_tokens"))
    end = prompts[0][-100:]
    return f"{name}: {len(prompts)} problems x {samples} samples; {drawn}; the first prompt ends in {end!r}"


def gold_notes(rows: list[dict]) -> list[str]:
    """What to say of golds that cannot be graded. Nothing is left out: a benchmark is scored over all its problems."""
    golds = read_golds(row["answer"] for row in rows)
    unlike = "an answer that is not spelled like such a gold counts as failed"
    return [f"{golds.told}: {unlike}"] if golds.faults else []


def content_hash(rows: list[dict]) -> str:
    """First 16 hex digits of the sha256 of all ids, problems and golds, in order."""
    text = json.dumps([[row["id"], row["problem"], row["answer"]] for row in rows], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _from_hub(benchmark: str, hub: dict) -> list[dict]:
    import datasets  # as above

    try:
        raw = datasets.load_dataset(hub["path"], hub.get("name"), split=hub["split"], revision=hub["revision"])
    except Exception as error:  # border to the hub: any of a dozen exceptions means the same to the user
        said = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise ConfigError(
            f"the hub does not give {hub.get('path')} ({said}); try again, or give --data-dir with a {benchmark}.jsonl "
            "of id, problem and answer"
        ) from error
    return [hub_row(benchmark, number, row, hub) for number, row in enumerate(raw)]


def hub_row(benchmark: str, number: int, row: dict, hub: dict) -> dict:
    """A hub's row under our names. hub: the columns, as in `dataset`."""
    name = row.get(hub["id"], number) if "id" in hub else number
    return {
        "id": str(name) if "/" in str(name) else f"{benchmark}-{name}",
        "problem": row.get(hub["problem"]),
        "answer": row.get(hub["answer"]),
    }
