"""scope-train: train a student, see what that would take, probe its teacher, have a teacher write solutions.

Exit code 0: done, or done before. 1: the run failed. 2: the config cannot work. 130: interrupted.
"""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

import argcomplete

from scope_openrlhf import __version__
from scope_openrlhf.run.errors import RunError
from scope_openrlhf.run.folder import alone, delete_run, open_run
from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError, not_installed

# The training stack takes seconds to import, and prints. So it is imported inside the commands below, once the terminal
# is quiet: a wrong key is told before that, and --help at once.


def main(argv: list[str] | None = None) -> int:
    argv = spelled_out(sys.argv[1:] if argv is None else argv)
    top, commands = parsers()
    argcomplete.autocomplete(top)  # ends here where a shell asks how to go on
    if not argv or argv[0] not in commands:
        top.parse_args(argv)  # --help, --version, or the error that names the commands
        top.print_help()
        return 2
    options = commands[argv[0]].parse_intermixed_args(argv[1:])  # overrides may stand before and after flags
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        COMMANDS[argv[0]](Config.load(options.config, options.overrides), options)
        return 0
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {not_installed(error)}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from the last checkpoint", file=sys.stderr)
        return 130


def run(config: Config, options: argparse.Namespace) -> None:
    """Train, or go on where the run of this name stopped."""
    began = time.time()
    if options.fresh:
        delete_run(config.run_dir)
    if open_run(config):
        return
    print(f"scope-train {config.name}: {config.algorithm['name']} -> {config.run_dir}/", flush=True)
    with quiet(config.run_dir / "logs" / "driver.log") as (out, _), alone(config.run_dir):
        from scope_openrlhf.run.train import train  # seconds, see above

        train(config, out, began)


def plan(config: Config, options: argparse.Namespace) -> None:
    """Print what a run would ask for. Nothing is started and nothing stays behind."""
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "log") as (out, _):
        from scope_openrlhf.run.dry_run import dry_run  # seconds, see above

        dry_run(config, options.gpu_memory, options.gpus_per_node, out)


def probe(config: Config, options: argparse.Namespace) -> None:
    """Start the teachers alone and check them."""
    with quiet(config.run_dir / "logs" / "driver.log") as (out, _):
        from scope_openrlhf.run import teachers  # seconds, see above

        teachers.probe(config, out)


def traces(config: Config, options: argparse.Namespace) -> None:
    """Have the teacher solve the problems that come without a solution."""
    with quiet(config.run_dir / "logs" / "driver.log") as (out, _), alone(config.run_dir):
        from scope_openrlhf.run.traces import write_traces  # seconds, see above

        write_traces(config, options.out, options.tries, out)


COMMANDS = {"run": run, "plan": plan, "probe": probe, "traces": traces}


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    return parsers()[0]


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the whole command line, and that of each command."""
    top = argparse.ArgumentParser(
        prog="scope-train",
        description="Train a student by SCOPE or a neighbouring method on OpenRLHF and Ray.",
        epilog="scope-train COMMAND --help says more; docs/operations.md is about runs, docs/config.md about configs.",
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    found = {
        "run": _command(
            commands, "run", "Train, evaluate and sum up; the same command resumes a run that stopped.",
            "scope-train run --config examples/cpu_tiny.yaml steps=3 name=first", "operations.md",
        ),
        "plan": _command(
            commands, "plan", "Check a config and say who sits on which GPU, what memory and work it takes.",
            "scope-train plan --config examples/scope_qwen3_1.7b.yaml --gpu-memory 80", "operations.md",
        ),
        "probe": _command(
            commands, "probe", "Start the teachers alone, check every replica, and stop.",
            "scope-train probe --config examples/cpu_tiny.yaml", "teacher.md",
        ),
        "traces": _command(
            commands, "traces", "Have the teacher write worked solutions for the problems that lack one.",
            "scope-train traces --config examples/cpu_tiny.yaml --out solved.jsonl", "algorithms.md",
        ),
    }  # fmt: skip
    found["run"].add_argument("--fresh", action="store_true", help="delete the run of this name first")
    gpu = found["plan"].add_argument
    gpu("--gpu-memory", type=float, default=80.0, metavar="GIB", help="of each GPU (default 80)")
    gpu("--gpus-per-node", type=int, default=8, metavar="N", help="GPUs of each node (default 8)")
    trace = found["traces"].add_argument
    trace("--out", type=Path, required=True, metavar="FILE.jsonl", help="where all rows go, with their solutions")
    trace("--tries", type=int, default=4, metavar="N", help="solutions of each problem at most (default 4)")
    return top, found


def _command(commands, name: str, what: str, example: str, page: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=what, description=what, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"example:\n  {example}\n\nmore: docs/{page}",
    )  # fmt: skip
    command.add_argument("--config", required=True, metavar="FILE", help="YAML file, see examples/ and docs/config.md")
    command.add_argument("overrides", nargs="*", metavar="key=value", help="for instance algorithm.tau=0.5 steps=10")
    return command


def spelled_out(argv: list[str]) -> list[str]:
    """The command line in today's form: before there were commands, flags chose between them."""
    if not argv or argv[0] in COMMANDS or argv[0] in ("-h", "--help", "--version"):
        return argv
    rest = [argument for argument in argv if argument not in ("--dry-run", "--probe")]
    if len(rest) < len(argv):
        return ["plan" if "--dry-run" in argv else "probe", *rest]
    for i, argument in enumerate(rest):
        if argument == "--traces" or argument.startswith("--traces="):
            rest[i] = argument.replace("--traces", "--out", 1)
            return ["traces", *rest]
    return ["run", *rest]
