"""scope-train: train a student, see what that would take, probe its teacher, have a teacher write solutions.

Exit code 0: done, or done before. 1: the run failed. 2: the config cannot work. 130, 143: interrupted, by
Ctrl-C or SIGTERM.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from scope_openrlhf.platform.rates import GPUS
from scope_openrlhf.run import machine, shelf
from scope_openrlhf.run.errors import RunError
from scope_openrlhf.run.folder import alone, delete_run, open_run
from scope_openrlhf.run.fork import check_origin, fork
from scope_openrlhf.run.old_spellings import spelled_out
from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.run.trackers import require_installed
from scope_openrlhf.settings.command_line import CommandLine, end_on_sigterm, number
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError, not_installed
from scope_openrlhf.settings.ranges import Count, CountOrZero, Positive

# The training stack takes seconds to import, and prints. So it is imported inside the commands below, once the terminal
# is quiet: a wrong key is told before that, and --help at once.


def main(argv: list[str] | None = None) -> int:
    """Do what the arguments say and return the exit code."""
    options = command_line().parse(spelled_out(sys.argv[1:] if argv is None else argv))
    ended = end_on_sigterm()
    try:
        if options.command in WITHOUT_A_CONFIG:
            WITHOUT_A_CONFIG[options.command](options)
        else:
            COMMANDS[options.command](Config.load(options.config, options.overrides), options)
        return 0
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {not_installed(error)}", file=sys.stderr)
        return 2
    except (RunError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        resumes = "; the same command resumes from the last checkpoint" if options.command == "run" else ""
        print(f"interrupted{resumes}", file=sys.stderr)
        return 143 if ended.is_set() else 130


def run(config: Config, options: argparse.Namespace) -> None:
    """Train, or go on where the run of this name stopped."""
    began = time.time()
    if options.fresh:
        delete_run(config.run_dir)
    if open_run(config):
        return
    print(f"scope-train {config.name}: {config.algorithm['name']} -> {config.run_dir}/", flush=True)
    with quiet(config.run_dir / "logs" / "driver.log") as (out, _), alone(config.run_dir):
        require_installed(config.track.to)
        look_for_gpus(config)
        from scope_openrlhf.run.plan import make_plan  # seconds, see above

        check_origin(config)
        made = make_plan(config)
        fork(config, made.steps)
        from scope_openrlhf.run.train import train  # and more of them, which a config that cannot work does not take

        train(config, made, out, began)


def look_for_gpus(config: Config) -> None:
    """Decide whether the run has CUDA, before the training stack is imported: its imports ask for that."""
    from scope_openrlhf.platform import cluster  # brings psutil, of the training stack

    cluster.settle_platform(config.ray.address)


def plan(config: Config, options: argparse.Namespace) -> None:
    """Print what a run would ask for. Nothing is started and nothing stays behind."""
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "log") as (out, _):
        from scope_openrlhf.run.dry_run import dry_run  # seconds, see above

        dry_run(config, options.gpu, options.gpu_memory, options.gpus_per_node, out)


def probe(config: Config, options: argparse.Namespace) -> None:
    """Start the teachers alone and check them."""
    with quiet(config.run_dir / "logs" / "driver.log") as (out, _):
        look_for_gpus(config)
        from scope_openrlhf.run import teachers  # seconds, see above

        teachers.probe(config, out)


def traces(config: Config, options: argparse.Namespace) -> None:
    """Have the teacher solve the problems that come without a solution."""
    with quiet(config.run_dir / "logs" / "driver.log") as (out, _), alone(config.run_dir):
        look_for_gpus(config)
        from scope_openrlhf.run.traces import write_traces  # seconds, see above

        write_traces(config, options.out, options.tries, out)


def explain(options: argparse.Namespace) -> None:
    """Say what keys mean, and what a config sets them to."""
    names = [word for word in options.names if "=" not in word]
    overrides = [word for word in options.names if "=" in word]
    if not options.config and (overrides or options.resolve):
        raise ConfigError("key=value and --resolve are about the config of --config; name one")
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "log") as (out, _):
        from scope_openrlhf.run import config_command, schema  # seconds, see above

        if options.schema:
            print(schema.FILE.read_text(), end="", file=out)
            return
        source = config_command.read_source(options.config, overrides, options.resolve) if options.config else None
        config_command.show(names, source, out)


def init(options: argparse.Namespace) -> None:
    """Write a first config."""
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "log") as (out, err):
        from scope_openrlhf.run import init  # seconds, see above

        init.init(options, out, err)


def data(options: argparse.Namespace) -> None:
    """Show the data as a run would read them."""
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "log") as (out, err):
        from scope_openrlhf.run import data_command  # seconds, see above

        data_command.show_data(options, out, err)


COMMANDS = {"run": run, "plan": plan, "probe": probe, "traces": traces}
WITHOUT_A_CONFIG = {"init": init, "data": data, "config": explain, **machine.COMMANDS, **shelf.COMMANDS}
"""Commands that need no config, or make one."""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    return command_line().parser


def command_line() -> CommandLine:
    """The commands of scope-train and their flags."""
    line = CommandLine(
        "scope-train",
        "Train a student by SCOPE or a neighbouring method on OpenRLHF and Ray.",
        "docs/operations.md is about runs, docs/config.md about configs",
    )
    train = line.add(
        "run",
        "Train, evaluate and sum up; the same command resumes a run that stopped.",
        "scope-train run --config examples/cpu_tiny.yaml steps=3 name=first",
        "operations.md",
    )
    train.add_argument("--fresh", action="store_true", help="delete the run of this name first")
    dry = line.add(
        "plan",
        "Check a config and say who sits on which GPU, what memory it takes, and where the time of a step goes.",
        "scope-train plan --config examples/scope_qwen3_1.7b.yaml --gpu-memory 80",
        "operations.md",
    )
    dry.add_argument("--gpu", choices=sorted(GPUS), default="h100", help="whose rates and memory (default h100)")
    dry.add_argument("--gpu-memory", type=number(Positive), metavar="GIB", help="of each GPU, if not that of --gpu")
    dry.add_argument(
        "--gpus-per-node", type=number(Count), default=8, metavar="N", help="GPUs of each node (default 8)"
    )
    line.add(
        "probe",
        "Start the teachers alone, check every replica, and stop.",
        "scope-train probe --config examples/cpu_tiny.yaml",
        "teacher.md",
    )
    solve = line.add(
        "traces",
        "Have the teacher write worked solutions for the problems that lack one.",
        "scope-train traces --config examples/cpu_tiny.yaml --out solved.jsonl",
        "algorithms.md",
    )
    solve.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl", help="file of all rows, with solutions")
    solve.add_argument(
        "--tries", type=number(Count), default=4, metavar="N", help="solutions of each problem at most (default 4)"
    )
    for command in line.commands.values():  # those added below need no config
        what = "YAML file, see examples/ and docs/config.md"
        command.add_argument("--config", required=True, metavar="FILE", help=what)
        what = "for instance algorithm.tau=0.5 steps=10"
        command.add_argument("overrides", nargs="*", metavar="key=value", help=what)
    add_init(line)
    add_data(line)
    add_config(line)
    machine.add_to(line)
    shelf.add_to(line)
    return line


def add_init(line: CommandLine) -> None:
    """The command that writes a first config."""
    command = line.add(
        "init",
        "Write a first config from five questions, or flags; look at the data; say what to type next.",
        "scope-train init --model examples/tiny/student --teacher examples/tiny/teacher "
        "--data examples/data/gsm8k.jsonl --where laptop --out mine.yaml",
        "config.md",
    )
    command.add_argument("--model", help="model to train: a folder in Hugging Face form, or a hub id")
    command.add_argument("--data", metavar="FILE", help="training problems, as data.path")
    command.add_argument("--prompt-key", metavar="KEY", help="column of the problem; guessed where it is left out")
    command.add_argument("--answer-key", metavar="KEY", help="column of the gold answer; guessed where it is left out")
    command.add_argument("--teacher", metavar="MODEL", help="model that scores; without it the algorithm has none")
    command.add_argument("--algorithm", metavar="NAME", help="default: scope with a teacher, grpo without")
    command.add_argument("--where", metavar="PLACE", help="laptop (CPUs alone), gpu (one) or cluster (a Ray that runs)")
    command.add_argument("--out", default="scope.yaml", metavar="FILE", help="the config (default scope.yaml)")


def add_data(line: CommandLine) -> None:
    """The command that looks at data."""
    command = line.add(
        "data",
        "Show data as the student gets them, count what is odd, and say whether they can be trained on.",
        "scope-train data examples/data/gsm8k.jsonl student.path=examples/tiny/student --page data.html",
        "data.md",
    )
    command.add_argument("--config", metavar="FILE", help="YAML file of a run, whose data are shown")
    command.add_argument("--rows", type=number(CountOrZero), default=3, metavar="N", help="rows to print (default 3)")
    command.add_argument("--page", type=Path, metavar="OUT.html", help="write a page with more rows, and a histogram")
    what = "dataset of the hub to write into data.path first, with the columns that the config names; OWNER/NAME/FILE"
    command.add_argument("--fetch", metavar="OWNER/NAME", help=f"{what} is one file of it")
    what = "benchmark to compare with beside eval.path, or a folder of them; may be given again"
    command.add_argument("--held-out", type=Path, action="append", metavar="FILE|DIR", help=what)
    what = "the data, which come before those of --config; keys as student.path=..., data.answer_key=..."
    command.add_argument("words", nargs="*", metavar="FILE|key=value", help=what)


def add_config(line: CommandLine) -> None:
    """The command that explains configs."""
    command = line.add(
        "config",
        "Say what every key means, or some; with --config also what it is set to, and where.",
        "scope-train config teacher algorithm.cepo --config examples/cpu_tiny.yaml algorithm.tau=0.5",
        "config.md",
    )
    command.add_argument("--config", metavar="FILE", help="YAML file whose values are shown")
    command.add_argument("--resolve", action="store_true", help="show too what a run makes of what is left open")
    command.add_argument("--schema", action="store_true", help="print the JSON schema that editors complete from")
    what = "sections (teacher), keys (data.path), algorithms (algorithm.cepo), flags (actor.adam.lr); default: all"
    command.add_argument("names", nargs="*", metavar="NAME|key=value", help=what)
