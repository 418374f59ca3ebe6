"""scope-eval: sample, grade and score models through lm-eval, and compare them.

scope-eval run --model PATH --benchmarks aime24,amc23 --samples 32 --out DIR [--data-dir DIR]     one model; the same command continues
scope-eval regrade DIR                                                                            its verdicts and report anew, without sampling
scope-eval compare A B [--out DIR]                                                                two such folders, paired by problem
scope-eval pair --run runs/NAME                                                                   a training run: its student before and after

Exit code 0: done. 1: stopped on the way, what was sampled is kept. 2: what was asked for cannot work. 130: interrupted.
"""

import argparse
import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import yaml

from scope_eval import benchmarks, report, results
from scope_eval.compare import compare, table
from scope_eval.engines import SamplingError
from scope_eval.evaluate import STORE, evaluate, finished, versions, write_results
from scope_eval.grade import grade
from scope_eval.results import Graded
from scope_eval.store import Store, StoreError
from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.verifier import GraderError

PROBLEMS_AT_ONCE = 8
"""So that an answer which keeps a grader's worker busy for seconds holds up its own problem alone."""


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
    parser = argparse.ArgumentParser(
        prog="scope-eval", description="Avg@n and Pass@k with intervals that cluster by problem."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="sample and score one model; the same command continues an unfinished one")
    one.add_argument("--model", required=True, help="a folder in Hugging Face form, or a hub id")
    one.add_argument(
        "--benchmarks",
        default="tiny",
        help=f"of {', '.join(benchmarks.names())}, or .jsonl files of id, problem, answer; comma-separated",
    )
    two = commands.add_parser("pair", help="score two models on the same problems and compare them")
    two.add_argument(
        "--run", type=Path, help="a training run: its model before and after, and its config's eval section"
    )
    two.add_argument("--before")
    two.add_argument("--after")
    two.add_argument("--benchmarks", help="as of run")
    for command in (one, two):
        _sampling_options(command)
    again = commands.add_parser(
        "regrade", help="grade the samples of a folder anew and write its results and report, without sampling"
    )
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
    add(
        "--base-url",
        default="",
        help="of an OpenAI-compatible server, instead of engines; --model then names its tokenizer",
    )
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
        raise ConfigError(
            "--base-url and --revision name one model; score each with scope-eval run, then scope-eval compare"
        )
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


def regrade(options: argparse.Namespace) -> int:
    """The samples that results are about, graded anew. The model is not needed, and nothing is sampled."""
    from tqdm import tqdm

    store = open_store(options.out)
    try:
        for benchmark in finished(store):

            def again(problem: dict, benchmark: dict = benchmark) -> None:
                texts = store.texts(benchmark["id"], problem["id"], benchmark["samples"])
                store.put_grades(
                    benchmark["id"], problem["id"], grade(problem["answer"], texts, benchmark["about"]["significant"])
                )

            problems = store.problems(benchmark["id"], benchmark["problems"])
            with ThreadPoolExecutor(PROBLEMS_AT_ONCE) as threads:
                list(
                    tqdm(
                        threads.map(again, problems),
                        total=len(problems),
                        desc=benchmark["name"],
                        unit="problem",
                        mininterval=1.0,
                    )
                )
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
