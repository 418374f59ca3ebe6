"""Command lines as they were before scope-train had commands."""

import argparse


def spelled_out(argv: list[str]) -> list[str]:
    """The command line in today's form: before, flags chose what to do, and each took all flags."""
    if not argv or argv[0] in ("-h", "--help") or not (argv[0].startswith("-") or "=" in argv[0]):
        return argv
    before = argparse.ArgumentParser(prog="scope-train", add_help=False)
    for flag in ("--fresh", "--probe", "--dry-run", "--version"):
        before.add_argument(flag, action="store_true")
    for flag in ("--config", "--traces", "--tries", "--gpu-memory", "--gpus-per-node"):
        before.add_argument(flag)
    old, rest = before.parse_known_args(argv)
    if old.version:
        return ["--version"]
    command, flags = "run", ["--fresh"] if old.fresh else []
    if old.dry_run:
        command, flags = "plan", _given("--gpu-memory", old.gpu_memory) + _given("--gpus-per-node", old.gpus_per_node)
    elif old.traces:
        command, flags = "traces", ["--out", old.traces, *_given("--tries", old.tries)]
    elif old.probe:
        command, flags = "probe", []
    return [command, *_given("--config", old.config), *flags, *rest]


def _given(flag: str, value: str | None) -> list[str]:
    return [] if value is None else [flag, value]
