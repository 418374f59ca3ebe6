"""The embedded default with every engine on one card, and what its files and logs say of it afterwards."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.platform import child
from scope_openrlhf.platform.facts import Gpu, gpus_now
from scope_openrlhf.run.folder import delete_run

LIMIT = 600.0
"""Seconds after which a command of a check is ended: none takes so long."""
TEMPERATURE = 0.6
ONE_CARD = (
    *("eval.path=", "ray.address=local", "teacher.placement=colocate", "teacher.replicas=1"),
    "teacher.tensor_parallel_size=1",
    f"openrlhf.rollout.temperature={TEMPERATURE}",
    *("openrlhf.actor.num_nodes=1", "openrlhf.actor.num_gpus_per_node=1", "openrlhf.vllm.num_engines=1"),
    *("openrlhf.vllm.tensor_parallel_size=1", "openrlhf.train.colocate_all=true", "openrlhf.ds.zero_stage=2"),
    *("openrlhf.ds.packing_samples=true", "openrlhf.ds.attn_implementation=flash_attention_2"),
    *("openrlhf.algo.advantage.is_correction_level=token", "openrlhf.ckpt.save_steps=2"),
    "openrlhf.actor.adam.lr=2e-3",  # ten times the default's: params that were not synced must be told from rounding
)
"""Of examples/cpu_tiny.yaml: all that says who sits where, so that one card holds every engine."""
ON_CUDA = (
    *("openrlhf.vllm.enable_sleep=true", "openrlhf.ds.enable_sleep=true", "teacher.sleep=true"),
    *("openrlhf.vllm.enforce_eager=false", "teacher.enforce_eager=false"),
    *("openrlhf.vllm.gpu_memory_utilization=0.3", "teacher.gpu_memory_utilization=0.3"),
)
ON_A_CPU = (
    *("openrlhf.vllm.enable_sleep=false", "openrlhf.ds.enable_sleep=false", "teacher.sleep=false"),
    *("openrlhf.vllm.enforce_eager=true", "teacher.enforce_eager=true"),
)


class CheckError(Exception):
    """A check could not be made, or not to its end."""


@dataclass(frozen=True)
class Bench:
    """Where the check runs, and where it writes."""

    folder: Path
    gpus: tuple[Gpu, ...]
    """None: a CPU."""
    say: Callable[[str], None]
    """Tells somebody who waits."""
    logs: dict[str, list[Path]] = field(default_factory=dict)
    """What each check wrote, by name."""

    @property
    def device(self) -> str:
        """As torch calls it."""
        return "cuda" if self.gpus else "cpu"

    @property
    def config(self) -> str:
        """The embedded default's file."""
        return "examples/cpu_tiny.yaml"

    def overrides(self, name: str) -> list[str]:
        """Keys of a run of this check."""
        run = [f"runs={self.folder}", f"name={name}", f"teacher.score_log={self.folder}/{name}/scores.sqlite"]
        return [*run, *ONE_CARD, *(ON_CUDA if self.gpus else ON_A_CPU)]

    def training(self, name: str, *keys: str) -> list[str]:
        """The command that trains; the same one resumes."""
        program = [sys.executable, "-m", "scope_openrlhf.run", "run", "--config", self.config]
        return [*program, *self.overrides(name), *keys]

    def anew(self, name: str) -> Path:
        """The folder of a run, without what an earlier check left there."""
        delete_run(self.folder / name)
        return self.folder / name

    def rows(self, name: str) -> list[dict]:
        """The metrics of a run so far."""
        return whole_rows(self.folder / name / "metrics.jsonl")

    def finish(self, check: str, command: list[str], until: Callable[[], bool] = lambda: False) -> float:
        """Run a command to its end, or kill it and all that it started once `until` holds.

        Its output is the log of the check. Returns the most memory that it was seen to take of a GPU, in GiB. Raises
        CheckError where it fails, or takes too long.
        """
        log = self.folder / f"{check}.log"
        self.logs.setdefault(check, []).insert(0, log)
        before, most, began = _used(self.gpus and gpus_now()[0]), 0.0, time.monotonic()
        with log.open("w") as out, child.started(command, out, subprocess.STDOUT, self._environment()) as process:
            while process.poll() is None and not until():
                if time.monotonic() - began > LIMIT:
                    kill_all(process)
                    raise CheckError(f"it took longer than {LIMIT:.0f} s")
                most = max(most, _used(self.gpus and gpus_now()[0]) - before)
                time.sleep(0.2)
            if process.returncode is None:
                kill_all(process)
            elif process.returncode:
                raise CheckError(f"exit code {process.returncode}: {said_last(log)}")
        return most

    def _environment(self) -> dict[str, str]:
        """With one GPU of several."""
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        return dict(os.environ) | ({"CUDA_VISIBLE_DEVICES": first} if self.gpus else {})


def _used(gpus: tuple[Gpu, ...]) -> float:
    """GiB of the GPU of which most is taken; 0 where there is none."""
    return max((gpu.total_gib - gpu.free_gib for gpu in gpus), default=0.0)


def kill_all(process: subprocess.Popen) -> None:
    """Kill a process and all that it started, as a power cut would."""
    started = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in started:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(started, timeout=20)


def said_last(log: Path) -> str:
    """The line of a command's output that tells its error, else the last one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "rror: " in line), lines[-1] if lines else "it said nothing")


def broken(rows: list[dict]) -> str:
    """What is wrong with the metrics of a run; empty where nothing is."""
    for row in rows:
        for name in ("loss", "grad_norm", "reverse_kl", "vllm_kl"):
            value = row.get(name)
            if value is None or not math.isfinite(value):
                return f"{name} of step {row['step']} is {value}"
        if row["grad_norm"] <= 0:
            return f"step {row['step']} has no gradient"
    return ""


def in_logs(run: Path, text: str) -> list[str]:
    """Lines with this text in what the run's workers and engines wrote."""
    logs = (run / "logs" / "ray").glob("worker-*")
    return [line for log in logs for line in log.read_text(errors="replace").splitlines() if text in line]


def numeric(bench: Bench, check: str, *arguments: str) -> tuple[bool, str]:
    """One check of numbers.py in a process of its own: (whether it is well, what was found). Raises CheckError."""
    module = "scope_openrlhf.run.gpu_check.numbers"
    bench.finish(check, [sys.executable, "-m", module, check, bench.device, *arguments])
    found = json.loads((bench.folder / f"{check}.log").read_text().splitlines()[-1])
    return found["ok"], found["said"]
