"""The style that the programs scope-train, scope-eval and scope-grade have in common."""

import argparse
import signal
import sys
import threading
import typing
from collections.abc import Callable
from typing import Any

import argcomplete

from scope_openrlhf import __version__


def end_on_sigterm() -> threading.Event:
    """Have the first SIGTERM raise KeyboardInterrupt in the main thread, for nothing else ends a wait inside Ray.

    Returns what tells whether it came. Whatever comes after it does not disturb the way out.
    """
    came = threading.Event()

    def end(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        came.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    return came


def number(hint: Any) -> Callable[[str], float]:
    """The type of a flag that takes a number in a range. hint: one of settings/ranges.py, for instance Count."""
    kind, within = typing.get_args(hint)

    def read(text: str) -> float:
        value = kind(text)
        if value not in within:
            raise argparse.ArgumentTypeError(f"must be {within}, got {value}")
        return value

    read.__name__ = kind.__name__  # argparse calls what it cannot read by this
    return read


class CommandLine:
    """A program with commands: each has its flags, a sentence, an example and its page of the docs."""

    def __init__(self, program: str, what: str, more: str) -> None:
        """what: the program in a sentence. more: where one reads on."""
        self.parser = argparse.ArgumentParser(
            prog=program, description=what, epilog=f"{program} COMMAND --help says more; {more}."
        )
        self.parser.add_argument("--version", action="version", version=__version__)
        self._added: Any = self.parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
        self.commands: dict[str, argparse.ArgumentParser] = {}

    def add(self, name: str, what: str, example: str, page: str) -> argparse.ArgumentParser:
        """Add a command; its flags are added to what comes back. page: of docs/."""
        command = self._added.add_parser(
            name,
            help=what,
            description=what,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=f"example:\n  {example}\n\nmore: docs/{page}",
        )
        self.commands[name] = command
        return command

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """The options of the command that argv begins with, and `command`, its name.

        Positional arguments may stand before and after flags. Ends the process, as argparse does, after --help and
        --version, and with code 2 where there is no such command or flag.
        """
        argcomplete.autocomplete(self.parser)  # ends here where a shell asks how to go on
        if not argv:
            self.parser.print_help(sys.stderr)
            raise SystemExit(2)
        if argv[0] not in self.commands:
            self.parser.parse_args(argv)  # --help, --version, or the error that names the commands
        options = self.commands[argv[0]].parse_intermixed_args(argv[1:])
        options.command = argv[0]
        return options
