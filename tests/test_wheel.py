"""The wheel alone in an empty environment: grading works, and the other commands say what they lack."""

import json
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import scope_eval.cli
import scope_openrlhf.run.cli
import scope_openrlhf.verifier.cli

PACKAGED = ("scope_openrlhf", "eval", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    """The folder of the programs of a new environment that holds the wheel and what it brings."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in PACKAGED:
        copy = shutil.copytree if Path(name).is_dir() else shutil.copy
        copy(name, folder / name)
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", folder], check=True)
    venv.create(folder / "venv", with_pip=True)
    (wheel,) = (folder / "dist").iterdir()
    subprocess.run([folder / "venv" / "bin" / "pip", "install", "--quiet", wheel], check=True)
    return folder / "venv" / "bin"


def said(programs: Path, *command: str | Path, cwd: Path | None = None) -> tuple[int, str]:
    """Exit code and all that the command said."""
    program, *arguments = command
    done = subprocess.run([programs / program, *arguments], capture_output=True, text=True, cwd=cwd or programs)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("program", ["scope-train", "scope-eval", "scope-grade"])
def test_every_command_says_its_version_and_its_help(programs, program):
    assert said(programs, program, "--version")[0] == 0
    code, text = said(programs, program, "--help")
    assert code == 0 and "docs/" in text


@pytest.mark.slow
def test_answers_are_graded(programs, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"gold": "1/2", "response": "so \\boxed{0.5}"}) + "\n")
    code, text = said(programs, "scope-grade", "run", tmp_path / "rows.jsonl", "--out", tmp_path / "out.jsonl")
    assert code == 0 and "right 1" in text
    assert json.loads((tmp_path / "out.jsonl").read_text())["verdict"] == "right"
    assert said(programs, "scope-grade", "audit", tmp_path / "rows.jsonl")[0] == 0


PROGRAMS = {
    "scope-train": scope_openrlhf.run.cli,
    "scope-eval": scope_eval.cli,
    "scope-grade": scope_openrlhf.verifier.cli,
}
COMMANDS = [(program, name) for program, cli in PROGRAMS.items() for name in cli.command_line().commands]
WITHOUT_AN_EXTRA = {"runs", "diff", "page", "clean", "audit"}
"""Commands whose example asks for nothing but the wheel, though it may name a run that there is not."""


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory) -> Path:
    """A folder that holds the examples and nothing else."""
    folder = tmp_path_factory.mktemp("somewhere")
    shutil.copytree("examples", folder / "examples")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_every_commands_example_works_or_says_in_one_line_what_it_lacks(programs, somewhere, program, name):
    assert said(programs, program, name, "--help")[0] == 0
    _, _, after = PROGRAMS[program].command_line().commands[name].epilog.partition("example:\n  ")
    example = shlex.split(after.splitlines()[0])
    assert example[:2] == [program, name]
    code, text = said(programs, *example, cwd=somewhere)
    assert "Traceback" not in text
    *_, last = text.splitlines() or [""]
    assert code == 0 or (code == 2 and last.startswith("error: ") and text.count("error: ") == 1), text
    assert "is not installed" not in text or "pip install 'scope-openrlhf[gpu]'" in last
    assert name not in WITHOUT_AN_EXTRA or "is not installed" not in text
