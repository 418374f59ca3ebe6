"""The wheel alone in an empty environment: grading works, and the other commands say what they lack."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

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


def said(programs: Path, *command: str | Path) -> tuple[int, str]:
    """Exit code and all that the command said."""
    program, *arguments = command
    done = subprocess.run([programs / program, *arguments], capture_output=True, text=True, cwd=programs)
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


@pytest.mark.slow
def test_what_needs_the_training_stack_says_how_to_get_it(programs, tmp_path):
    config = Path("examples/cpu_tiny.yaml").absolute()
    for command in (
        ["scope-train", "run", "--config", config, f"runs={tmp_path}"],
        ["scope-train", "plan", "--config", config],
        ["scope-eval", "run", "--model", "x", "--out", tmp_path / "out"],
        ["scope-eval", "study", "--config", config],
    ):
        code, text = said(programs, *command)
        assert code == 2 and "is not installed; run make setup" in text and "Traceback" not in text
