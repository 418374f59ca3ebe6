"""The locks and pyproject.toml agree with what OpenRLHF asks for; flash-attn alone is left out."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

from scope_openrlhf.settings.pins import PINNED_OPENRLHF

EXTRAS = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
LOCKS = {file.stem: file.read_text() for file in Path("requirements").glob("*.lock")}


def pinned(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)", LOCKS[lock], re.MULTILINE))


def test_the_extra_train_holds_what_openrlhf_asks_for_but_for_itself_and_flash_attn():
    """So that `pip install 'scope-openrlhf[gpu]'` compiles nothing, and openrlhf can follow by --no-deps."""
    theirs = {r.replace(" ", "") for r in requires("openrlhf") or () if "extra ==" not in r}
    assert "flash-attn==2.8.3" in theirs
    ours = {r for extra in ("train", "gpu") for r in EXTRAS[extra]} | {"aiohttp", "tensorboard", "tqdm"}
    assert theirs - ours == {"flash-attn==2.8.3"}
    assert EXTRAS["flash-attn"] == ["flash-attn==2.8.3"]


def test_openrlhf_is_pinned_in_one_version_everywhere():
    assert f"\nopenrlhf=={PINNED_OPENRLHF}\n" in Path("requirements/openrlhf.in").read_text()
    assert {pinned(lock)["openrlhf"] for lock in LOCKS} == {PINNED_OPENRLHF}


def test_there_is_a_gpu_lock_for_each_python_and_they_differ_in_setuptools_alone():
    """vLLM wants setuptools below 81 on Python 3.12."""
    one, other = pinned("gpu-3.11"), pinned("gpu-3.12")
    assert {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)} == {"setuptools"}
    assert int(other["setuptools"].partition(".")[0]) < 81
    assert "vllm" in one and not any("flash-attn" in pinned(lock) for lock in LOCKS)
