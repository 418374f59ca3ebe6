"""The command line of scope-train: today's spellings, and those of before there were commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scope_openrlhf.run.cli import main, spelled_out


@pytest.mark.parametrize(
    ("before", "today"),
    [
        (["--config", "c.yaml", "steps=3"], ["run", "--config", "c.yaml", "steps=3"]),
        (["steps=3", "--config", "c.yaml", "--fresh"], ["run", "--config", "c.yaml", "--fresh", "steps=3"]),
        (["--config", "c.yaml", "--fresh", "--dry", "--tries", "3"], ["plan", "--config", "c.yaml"]),
        (["--config", "c.yaml", "--gpu-memory", "40"], ["run", "--config", "c.yaml"]),
        (
            ["--probe", "--traces", "o.jsonl", "--config", "c.yaml"],
            ["traces", "--config", "c.yaml", "--out", "o.jsonl"],
        ),
        (["steps=3", "--version"], ["--version"]),
        (
            ["--config", "c.yaml", "--dry-run", "--gpu-memory", "24"],
            ["plan", "--config", "c.yaml", "--gpu-memory", "24"],
        ),
        (["steps=3", "--probe", "--config", "c.yaml"], ["probe", "--config", "c.yaml", "steps=3"]),
        (["--config", "c.yaml", "--traces", "o.jsonl"], ["traces", "--config", "c.yaml", "--out", "o.jsonl"]),
        (["--traces=o.jsonl", "--config", "c.yaml"], ["traces", "--config", "c.yaml", "--out", "o.jsonl"]),
    ],
)
def test_the_spellings_of_before_are_still_understood(before, today):
    assert spelled_out(before) == today == (today if today == ["--version"] else spelled_out(today))


def test_a_wrong_key_is_told_under_the_old_spelling_too(capsys):
    assert main(["--config", "examples/cpu_tiny.yaml", "--dry-run", "openrlhf.actor.adam.lrr=1"]) == 2
    assert "unknown key openrlhf.actor.adam.lrr" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan", "probe", "traces"])
def test_the_help_of_a_command_has_an_example_and_its_page_of_the_docs(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and f"example:\n  scope-train {command} --config" in said and "more: docs/" in said


def test_without_a_command_the_commands_are_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2 and "traces" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "goes_on"),
    [
        ("scope-train pr", "probe"),
        ("scope-eval re", "regrade"),
        ("scope-grade au", "audit"),
        ("scope-train plan --gpus-", "--gpus-per-node"),
    ],
)
def test_a_shell_completes_commands_and_flags(line, goes_on, tmp_path):
    """As bash asks: the answer comes by file descriptor 8, so a shell sits between."""
    program = Path(sys.executable).parent / line.split()[0]
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_TYPE": "9", "COMP_LINE": line}
    command = f"{program} 8>{tmp_path}/said 9>/dev/null"
    subprocess.run(command, shell=True, env=os.environ | asked | {"COMP_POINT": str(len(line))}, capture_output=True)
    assert (tmp_path / "said").read_text().strip() == goes_on


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["plan", "--gpus-per-node", "0"], "--gpus-per-node: must be at least 1, got 0"),
        (["plan", "--gpu-memory", "-1"], "--gpu-memory: must be above 0, got -1.0"),
        (["traces", "--out", "x", "--tries", "0"], "--tries: must be at least 1, got 0"),
        (["plan", "--gpus-per-node", "two"], "--gpus-per-node: invalid int value: 'two'"),
    ],
)
def test_a_flag_out_of_its_range_is_told(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--config", "examples/cpu_tiny.yaml"])
    assert stopped.value.code == 2 and message in capsys.readouterr().err
