"""The command line of scope-eval, where no engine is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from scope_eval import cli
from scope_openrlhf import __version__


@pytest.mark.parametrize("command", ["run", "pair", "regrade", "compare", "study"])
def test_every_command_says_what_it_does_with_an_example_and_a_page(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    said = capsys.readouterr().out
    example, page = said.split("example:\n  ")[1].strip().split("\n\nmore: ")
    assert example.startswith(f"scope-eval {command} ") and page.startswith("docs/")
    assert cli.command_line().parse(example.split()[1:]).command == command  # it can be understood


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_without_a_command_the_help_is_shown_and_an_unknown_one_is_an_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main([])
    assert "compare" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["score"])
    assert "invalid choice: 'score'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["run", "--model", "m"], "--out is missing: the folder of samples, results and report"),
        (["pair", "--before", "a", "--out", "b"], "--after is missing"),
        (["regrade", "nowhere"], "nowhere holds no samples.sqlite; it is what scope-eval run --out nowhere makes"),
        (["study", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_is_missing_is_told_with_exit_code_2(arguments, message, capsys):
    assert cli.main(arguments) == 2 and message in capsys.readouterr().err


def test_the_help_is_there_at_once_because_no_engine_is_imported():
    code = (
        "import sys, scope_eval.cli as c; c.parser(); print(*{'torch', 'ray', 'vllm', 'lm_eval', 'scipy', 'datasets', "
    )
    code += "'matplotlib', 'transformers', 'openai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_modules_that_are_run_are_the_same_commands():
    for module, name in (("scope_eval", "scope-eval"), ("scope_eval.study", "scope-eval study")):
        done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"usage: {name} [-h]")
    assert not Path("nowhere").exists()
