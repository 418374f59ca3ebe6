"""The Dockerfile: its steps in their order, with stand-ins for what would change this machine, and what is left out."""

import os
import re
import subprocess
from pathlib import Path

import pytest

STAND_IN = '#!/bin/sh\necho "$(basename "$0") $*" >>"$ASKED"\n'


def steps(word: str) -> list[str]:
    """What stands behind an instruction of the Dockerfile, in order."""
    text = re.sub(r"\\\n\s*", "", Path("Dockerfile").read_text())
    return re.findall(rf"^{word} (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("profile, lock", [("cpu", "cpu"), ("gpu", "gpu-3.")])
def test_the_steps_install_the_lock_of_the_profile_and_a_compiler_for_gpus_alone(tmp_path, profile, lock):
    for folder in ("bin", "image/.venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("apt-get", "rm", "useradd", "install", "ln"):
        (tmp_path / "bin" / name).write_text(STAND_IN)
        (tmp_path / "bin" / name).chmod(0o755)
    image = tmp_path / "image"
    (image / ".venv/bin/uv").write_text(STAND_IN)
    (image / ".venv/bin/uv").chmod(0o755)
    python = '#!/bin/sh\ncase "$*" in *version_info*) echo 3.11;; *config*) exit 1;; esac\n'
    (image / ".venv/bin/python").write_text(python)
    (image / ".venv/bin/python").chmod(0o755)
    (image / "requirements").symlink_to(Path("requirements").resolve())
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    env = {"PATH": path, "PROFILE": profile, "ASKED": str(tmp_path / "asked"), "HOME": str(tmp_path)}
    for number, step in enumerate(steps("RUN")):
        if number == len(steps("RUN")) - 1:  # all of the checkout has been copied
            (image / "pyproject.toml").touch()
        subprocess.run(["sh", "-euc", step], env=env, cwd=image, check=True)
    asked = (tmp_path / "asked").read_text()
    assert asked.count(f"uv pip sync --python .venv/bin/python --quiet --compile-bytecode requirements/{lock}") == 2
    assert asked.count("--editable .") == 1
    assert ("gcc libc6-dev python3-dev" in asked) == (profile == "gpu")


def test_the_user_of_the_image_is_not_root_and_owns_its_volumes():
    assert steps("USER") == ["scope"]
    assert any("install --directory --owner scope /scope /scope/runs /hub" in step for step in steps("RUN"))


def test_what_git_ignores_stays_out_of_the_image():
    ignored = Path(".gitignore").read_text().split()
    left_out = {line.removeprefix("**/") for line in Path(".dockerignore").read_text().split()}
    assert left_out == {*ignored, ".git/"}
