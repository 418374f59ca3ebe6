"""scope-eval: evaluate models through lm-eval, compare them, and study algorithms side by side.

    scope-eval run --model MODEL --benchmarks aime24,amc23 --out DIR    one model; the same command continues
    scope-eval pair --run runs/NAME                                     a training run: its student before and after
    scope-eval regrade DIR                                              grades and report anew, without sampling
    scope-eval compare A B --out DIR                                    two folders of `run`, paired by problem
    scope-eval study --config FILE                                      algorithms trained and evaluated alike

Exit code 0: done. 1: stopped on the way, what was sampled is kept, or a run of a study failed. 2: what was asked for
cannot work. 130, 143: interrupted, by Ctrl-C or SIGTERM.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from scope_eval import benchmarks, commands
from scope_eval.sampler import SamplingError
from scope_eval.settings import DTYPES, EvalSettings, PairSettings
from scope_eval.store import StoreError
from scope_eval.study.run import run_study
from scope_eval.study.settings import StudySettings
from scope_openrlhf.settings.command_line import CommandLine, end_on_sigterm
from scope_openrlhf.settings.errors import ConfigError, not_installed
from scope_openrlhf.settings.sections import DATE
from scope_openrlhf.verifier import GraderError


def main(argv: list[str] | None = None) -> int:
    """Do what the arguments say and return the exit code."""
    flags = vars(command_line().parse(sys.argv[1:] if argv is None else argv))
    ended = end_on_sigterm()
    try:
        return dispatch(flags.pop("command"), flags)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {not_installed(error)}", file=sys.stderr)
        return 2
    except (StoreError, GraderError, SamplingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it was", file=sys.stderr)
        return 143 if ended.is_set() else 130


def dispatch(command: str, flags: dict[str, Any]) -> int:
    """Make the settings that the flags ask for and do the command. Returns the exit code."""
    match command:
        case "run":
            if flags["out"] is None:
                raise ConfigError("--out is missing: the folder of samples, results and report")
            commands.run(flags["model"], flags["out"], EvalSettings.of(flags))
        case "pair":
            commands.pair(PairSettings.of(flags))
        case "regrade":
            commands.regrade(flags["folder"])
        case "compare":
            commands.compare_folders(flags["before"], flags["after"], flags["out"])
        case "study":
            return run_study(StudySettings(**flags))
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    return command_line().parser


def command_line() -> CommandLine:
    """The commands of scope-eval and their flags."""
    line = CommandLine(
        "scope-eval",
        "Evaluate models through lm-eval: Avg@n and Pass@k with intervals that cluster by problem.",
        "docs/evaluation.md is about evaluations, docs/compare.md a study",
    )
    run = line.add(
        "run",
        "Sample one model, grade it, write results and report; the same command continues or adds samples.",
        "scope-eval run --model examples/tiny/student --benchmarks tiny --samples 4 --out runs/eval/student",
        "evaluation.md",
    )
    pair = line.add(
        "pair",
        "Evaluate two models on the same problems, for instance a student before and after training; compare them.",
        "scope-eval pair --run runs/tiny_scope",
        "evaluation.md",
    )
    regrade = line.add(
        "regrade",
        "Grade the samples of a folder anew and write its results and report, without sampling.",
        "scope-eval regrade runs/eval/student",
        "evaluation.md",
    )
    compare = line.add(
        "compare",
        "Compare the models of two folders, paired by problem.",
        "scope-eval compare runs/eval/A runs/eval/B --out runs/eval/A-B",
        "evaluation.md",
    )
    study = line.add(
        "study",
        "Train and evaluate algorithms alike and compare them in one page; the same command continues.",
        "scope-eval study --config examples/cpu_tiny.yaml --algorithms scope,grpo --seeds 1 --steps 2 --out build",
        "compare.md",
    )
    add_model_flags(run, pair)
    add_folders(regrade, compare)
    add_study_flags(study)
    return line


def add_model_flags(run: argparse.ArgumentParser, pair: argparse.ArgumentParser) -> None:
    """The flags that say which models, and on which problems."""
    run.add_argument("--model", required=True, help="a folder in Hugging Face form, or a hub id")
    known = ", ".join(benchmarks.names())
    what = f"of {known}, or files of problem and answer (.jsonl, .json, .parquet, .csv); comma-separated (default tiny)"
    run.add_argument("--benchmarks", default="tiny", help=what)
    add_sampling_flags(run)
    what = "a training run: its models before and after, and what its config says of prompts and evaluation"
    pair.add_argument("--run", type=Path, metavar="DIR", help=what)
    pair.add_argument("--before", metavar="MODEL", help="as --model of run")
    pair.add_argument("--after", metavar="MODEL", help="as --model of run")
    pair.add_argument("--benchmarks", help="as of run")
    add_sampling_flags(pair)


def add_folders(regrade: argparse.ArgumentParser, compare: argparse.ArgumentParser) -> None:
    """The folders that commands without a model work on."""
    what = "--out of run, or a model's folder in that of pair"
    regrade.add_argument("folder", type=Path, metavar="DIR", help=what)
    compare.add_argument("before", type=Path, metavar="A", help=what)
    compare.add_argument("after", type=Path, metavar="B", help="the same of the other model")
    compare.add_argument("--out", type=Path, metavar="DIR", help="folder for compare.html, compare.md, compare.json")


def add_sampling_flags(command: argparse.ArgumentParser) -> None:
    """The flags that become EvalSettings."""
    add = command.add_argument
    add("--out", type=Path, metavar="DIR", help="folder of samples, results and report; pair --run has its own")
    add("--prompt-key", metavar="KEY", help="column of the problem in a file of your own (default problem)")
    add("--answer-key", metavar="KEY", help="column of its gold answer (default answer)")
    add("--id-key", metavar="KEY", help="column of its id (default id); a row without one is called by its number")
    add("--data-dir", default="", metavar="DIR", help="folder with <benchmark>.jsonl; without it the hub is asked")
    add("--samples", type=int, metavar="N", help="samples of each problem (default 32); more can be added later")
    add("--limit", type=int, metavar="N", help="only the first problems of each benchmark (default all)")
    add("--seed", type=int, metavar="N", help="seed of the samples (default 1)")
    add("--temperature", type=float, metavar="T", help="default: the benchmark's own, 0.6 for the six")
    add("--top-p", type=float, metavar="P", help="default: the benchmark's own, 0.95 for the six")
    add("--top-k", type=int, metavar="K", help="default: the benchmark's own, 20 for the six")
    add("--repetition-penalty", type=float, metavar="R", help="default: the benchmark's own, none for the six")
    add("--max-tokens", type=int, metavar="N", help="default: the benchmark's own, 32768 for the six")
    add("--instruction", metavar="TEXT", help="what follows each problem; default: the benchmark's own, empty: none")
    add("--system", metavar="TEXT", help="system prompt of problems that bring none (default none)")
    chat = "ask with the problem as it is, without the model's chat template"
    add("--no-chat", dest="chat", action="store_false", help=chat)
    template = """for the chat template, for instance '{"enable_thinking": false}' (default none)"""
    add("--template-args", type=json_object, metavar="JSON", help=template)
    add("--template-date", metavar="DATE", help=f"for a chat template that prints today's (default {DATE})")
    add("--revision", default="", metavar="COMMIT", help="commit of a hub id (default the newest)")
    add("--engines", type=int, default=1, metavar="N", help="vLLM engines, each on its own GPUs (default 1)")
    add("--tensor-parallel-size", type=int, default=1, metavar="N", help="GPUs of an engine (default 1)")
    what = f"number format of the engines, of {', '.join(DTYPES)} (default bfloat16)"
    add("--dtype", default="bfloat16", choices=DTYPES, metavar="DTYPE", help=what)
    add(
        "--gpu-memory-utilization",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="share of each GPU for its engine (default 0.9)",
    )
    add(
        "--ray-address",
        default="local",
        metavar="ADDRESS",
        help="local (default), auto or that of a Ray, with its port",
    )
    served = "address of an OpenAI-compatible server, instead of engines; --model then names its tokenizer"
    add("--base-url", default="", metavar="URL", help=served)
    add("--served-model", default="", metavar="NAME", help="what that server calls the model, if it serves several")


def json_object(text: str) -> dict:
    """A flag's value that is an object of JSON."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"must be an object of JSON, got {text} ({error})") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"must be an object of JSON, got {text}")
    return found


def add_study_flags(command: argparse.ArgumentParser) -> None:
    """The flags that become StudySettings."""
    add = command.add_argument
    add(
        "--config",
        required=True,
        metavar="FILE",
        help="YAML, see examples/; its eval section says how models are asked",
    )
    add("--algorithms", default="all", metavar="NAMES", help="all (default) or some, comma-separated")
    add("--seeds", default="1,2,3", metavar="NUMBERS", help="seeds of the training runs (default 1,2,3)")
    add("--steps", type=int, default=40, metavar="N", help="steps of each run (default 40)")
    strata = "held-out problems, in equal shares of every stratum (default 100)"
    add("--problems", type=int, default=100, metavar="N", help=strata)
    add("--samples", type=int, default=32, metavar="N", help="samples of each problem (default 32)")
    add(
        "--runs",
        type=Path,
        default=Path("runs/compare"),
        metavar="DIR",
        help="folder of the runs (default runs/compare)",
    )
    page = "folder for compare.md, compare.png, compare.json (default docs)"
    add("--out", type=Path, default=Path("docs"), metavar="DIR", help=page)
    add("--report-only", action="store_true", help="run nothing; write the page anew from what is finished")
    add("overrides", nargs="*", metavar="key=value", help="keys of every training run's config")
