"""The GPU lock, installed as on a GPU machine but without CUDA and without nvcc: `make gpu-install-check`.

Downloads some 8 GB into a folder that is deleted afterwards. Imports every module, lets the doctor look, and resolves
every recipe. One JSON line at the end; exit code 1 with what failed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPES = sorted(Path("examples").glob("*.yaml"))
IMPORT_ALL = """
import importlib, pkgutil, sys
import scope_openrlhf.host, scope_eval
from scope_openrlhf.platform import flash_attn
assert flash_attn.missing()
names = ["vllm", "deepspeed", "transformers", "lm_eval", "bitsandbytes"]
for package in ("scope_openrlhf", "scope_eval", "openrlhf"):
    names += [m.name for m in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")]
failed = {}
for name in names:
    if name.endswith("__main__"):
        continue
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(f"RESULT {len(names)} {failed}")
"""


def main() -> int:
    """Install, look, delete."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR"), prefix="gpu-install-") as folder:
        python, env = Path(folder) / "venv" / "bin" / "python", clean_environment(Path(folder))
        seconds = install(python, env)
        report = {"seconds": round(seconds), "GB": round(size(Path(folder) / "venv") / 1e9, 2)}
        print(f"--- installed: {report}", flush=True)
        failed = {}
        checks = looks(python, Path(folder))
        for name, command, expected in checks:
            done = subprocess.run(command, env=env, capture_output=True, text=True)
            said = (done.stdout + done.stderr).strip()
            print(f"--- {name}: exit code {done.returncode}\n{said[-3000:]}", flush=True)
            if done.returncode or expected not in said:
                failed[name] = said.splitlines()[-1:]
        print(json.dumps(report | {"checks": len(checks), "failed": failed}))
        return bool(failed)


def clean_environment(folder: Path) -> dict[str, str]:
    """Without nvcc in PATH, without CUDA, without anything cached."""
    path = [place for place in os.environ["PATH"].split(":") if not Path(place, "nvcc").exists()]
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA", "SCOPE_", "VIRTUAL_ENV", "UV_"))}
    ours = {"PATH": ":".join(path), "UV_CACHE_DIR": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    return keep | ours | {"CUDA_VISIBLE_DEVICES": ""}


def install(python: Path, env: dict[str, str]) -> float:
    """Seconds that the lock took; our package itself is linked."""
    clock = time.time()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", python.parent.parent], check=True)
    lock = f"requirements/gpu-{sys.version_info[0]}.{sys.version_info[1]}.lock"
    uv = [Path(sys.executable).with_name("uv"), "pip"]
    subprocess.run([*uv, "sync", "--quiet", "--python", python, lock], env=env, check=True)
    subprocess.run([*uv, "install", "--quiet", "--python", python, "--no-deps", "--editable", "."], env=env, check=True)
    return time.time() - clock


def looks(python: Path) -> list[tuple[str, list, str]]:
    """(title, command, what it must say)."""
    train = python.with_name("scope-train")
    plans = []
    for recipe in RECIPES:
        gpu = ["--gpu", "4090"] if "24gb" in recipe.stem else []
        plans.append((f"plan {recipe}", [train, "plan", "--config", recipe, *gpu], "dry run of"))
    return [
        ("import every module", [python, "-W", "ignore", "-c", IMPORT_ALL], " {}"),
        ("doctor", [train, "doctor"], "builds for GPUs"),
        *plans,
    ]


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


if __name__ == "__main__":
    sys.exit(main())
