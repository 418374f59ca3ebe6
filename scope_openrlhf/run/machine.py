"""Commands about the machine: what it has, and whether all that takes a GPU works on it."""

import argparse
from pathlib import Path

from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.settings.command_line import CommandLine
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError


def look(options: argparse.Namespace) -> None:
    """Say what this machine has, and what would be slow or fail."""
    from scope_openrlhf.run.doctor import doctor  # where the terminal is quiet it imports the training stack

    if options.overrides and not options.config:
        raise ConfigError("key=value is about the config of --config; name one")
    doctor(Config.load(options.config, options.overrides) if options.config else None)


def check(options: argparse.Namespace) -> None:
    """Do on a small scale all that takes a GPU, and report."""
    with quiet(options.out / "gpu-check.log") as (out, _):
        from scope_openrlhf.run.gpu_check.steps import gpu_check  # Ray, as above

        gpu_check(options.out, out)


COMMANDS = {"doctor": look, "gpu-check": check}


def add_to(line: CommandLine) -> None:
    """Add these commands and their flags."""
    doctor = line.add(
        "doctor",
        "Say what this machine has: GPUs, driver, compiler, memory, disk, Ray, hub; what will be slow or fail; what to "
        "type. Exit code 1: a run cannot start.",
        "scope-train doctor --config examples/cpu_tiny.yaml",
        "gpu.md",
    )
    doctor.add_argument("--config", metavar="FILE", help="YAML file; also check what this config asks")
    doctor.add_argument("overrides", nargs="*", metavar="key=value", help="for instance openrlhf.ds.zero_stage=3")
    gpu = line.add(
        "gpu-check",
        "Try on one card, in minutes, all that takes a GPU: kernels, and the embedded default with every engine on "
        "it; write a report for a bug. Without a GPU the same steps, on the CPU. Exit code 1: a check failed.",
        "scope-train gpu-check",
        "gpu.md",
    )
    what = "folder of the report, and of runs that are made anew each time (default runs/gpu-check)"
    gpu.add_argument("--out", type=Path, default=Path("runs/gpu-check"), metavar="DIR", help=what)
