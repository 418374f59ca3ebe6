"""What the three programs have in common: complete help, and one way out when they are stopped."""

import argparse
import signal
import subprocess
import sys

import pytest

import scope_eval.cli
import scope_openrlhf.run.cli
import scope_openrlhf.verifier.cli

FLAGS = [
    pytest.param(action, id=f"{command.prog} {max(action.option_strings, key=len, default=action.dest)}")
    for program in (scope_openrlhf.run.cli, scope_eval.cli, scope_openrlhf.verifier.cli)
    for command in program.command_line().commands.values()
    for action in command._actions
]


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_says_what_it_is_and_what_holds_without_it(flag):
    assert flag.help
    if not isinstance(flag.default, bool | None) and flag.default not in ("", [], argparse.SUPPRESS):
        told = f"{flag.default:g}" if isinstance(flag.default, float) else str(flag.default)
        assert f"default {told}" in flag.help or f"{told} (default)" in flag.help or "default: one a core" in flag.help


@pytest.mark.parametrize("program", ["scope_openrlhf.run.cli", "scope_eval.cli", "scope_openrlhf.verifier.cli"])
def test_a_program_shows_its_commands_with_nothing_but_what_the_wheel_brings(program):
    wheel = ("yaml", "math_verify", "latex2sympy2_extended", "antlr4", "pebble", "loky", "argcomplete", "tqdm", "sympy")
    alone = (
        "import importlib.abc, sys\n"
        "class Nothing(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        known = {wheel!r} + ('mpmath', 'cloudpickle', 'regex', 'scope_openrlhf', 'scope_eval')\n"
        "        first = name.partition('.')[0]\n"
        "        if first not in known and first not in sys.stdlib_module_names: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Nothing())\n"
        f"import {program} as cli; cli.parser().format_help()"
    )
    done = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]


def test_a_stopped_program_leaves_with_143_whatever_it_waits_for_and_a_second_signal_does_not_disturb_it():
    waiting = (
        "import os, signal, time\n"
        "from scope_openrlhf.settings.command_line import end_on_sigterm\n"
        "ended = end_on_sigterm()\n"
        "try:\n    print('up', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    os.kill(os.getpid(), signal.SIGTERM); print('put away', flush=True)\n"
        "    raise SystemExit(143 if ended.is_set() else 130)"
    )
    with subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (143, "put away\n")
