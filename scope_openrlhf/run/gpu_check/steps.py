"""The whole GPU check: its steps one after the other, of which none stops the others, and the report at the end."""

import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from scope_openrlhf.platform import cpu
from scope_openrlhf.platform.cluster import last_line
from scope_openrlhf.platform.facts import Facts, gather
from scope_openrlhf.run.diagnosis import diagnose
from scope_openrlhf.run.doctor import show
from scope_openrlhf.run.errors import RunError
from scope_openrlhf.run.gpu_check.report import Row, State, line, report, totals
from scope_openrlhf.run.gpu_check.runs import TEMPERATURE, Bench, CheckError, broken, in_logs, numeric
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

NEEDS_CUDA = {
    "attention": "the kernel is CUDA's alone; tests put a loop in its place",
    "sleep": "engines sleep on CUDA alone",
    "graphs": "CUDA graphs are CUDA's alone",
    "memory": "the estimate is of a GPU's memory",
}
"""Checks that a CPU cannot make."""
ANOTHER_MACHINE = {
    "nccl": "NCCL between trainer and engine takes two cards; one card syncs by CUDA IPC",
    "tensor": "tensor parallel training and engines take two cards",
    "ring": "ring attention takes two cards, flash-attn and ring-flash-attn",
}
"""What one card cannot show."""
FURTHEST = {"cpu": 1e-5, "cuda": 2e-2}
"""Largest mean gap in nats between the log-probs of rollout engine and trainer, which vllm_kl tells; bf16 on CUDA."""
STEPS, KILLED = 5, 3
"""Steps of the run, and the one after which it is killed."""

Rows = Iterator[tuple[str, bool | None, str]]
"""(check, whether it is well or None for skipped, what was found)."""


def gpu_check(folder: Path, out: TextIO) -> None:
    """Make all checks and write folder/report.md. Raises RunError if one fails."""
    if not Path("examples/cpu_tiny.yaml").is_file():
        raise ConfigError("there is no examples/cpu_tiny.yaml here; give the command in a checkout of the repository")
    facts = gather(str(folder))
    gpus = () if cpu.active() else facts.gpus
    card = gpus[0].name if gpus else ""
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"  {time.monotonic() - began:>4.0f} s: {what}", file=out, flush=True)

    where = f"{card}, one of {len(gpus)}" if gpus else "no GPU; what takes one is skipped, the rest runs on the CPU"
    print(f"scope-train gpu-check: {where}", file=out, flush=True)
    bench, doctor, rows = Bench(folder, gpus, say), io.StringIO(), []
    show(diagnose(facts), f"Python {facts.python}, {facts.cores} cores", doctor)
    for names, step in steps(facts):
        for row in made(names, step, bench):
            print(line(row), file=out, flush=True)
            rows.append(row)
    file = folder / "report.md"
    versions = ", ".join(f"{name} {version}" for name, version in facts.packages.items())
    driver = f"driver {facts.driver}, CUDA of torch {facts.torch_cuda or 'none'}" if facts.driver else "no driver"
    file.write_text(report(rows, card, f"{versions}; Python {facts.python}; {driver}", doctor.getvalue(), bench.logs))
    took = f"{totals(rows)} in {time.monotonic() - began:.0f} s"
    print(f"{took}; {file} holds all of it, and goes into a bug report", file=out, flush=True)
    if failed := [row.check for row in rows if row.state == "FAIL"]:
        raise RunError(f"failed: {', '.join(failed)}; see {file}")


Step = Callable[[Bench], Rows]
STATES: dict[bool | None, State] = {True: "PASS", False: "FAIL", None: "SKIP"}


def steps(facts: Facts) -> list[tuple[tuple[str, ...], Step]]:
    """The checks that each step makes, and the step."""
    return [
        (("machine",), lambda bench: machine(facts)),
        *(((check,), lambda bench, check=check: number(bench, check)) for check in
          ("attention", "loss", "vocabulary", "adam")),
        (("run", "resume", "sync", "sleep", "graphs", "teacher", "memory"), embedded_default),
        (("lora",), lora),
        (tuple(ANOTHER_MACHINE), lambda bench: ((name, None, why) for name, why in ANOTHER_MACHINE.items())),
    ]  # fmt: skip


def made(names: tuple[str, ...], step: Step, bench: Bench) -> Iterator[Row]:
    """The rows of a step. Where it breaks off, the check that it was at has failed and those after it are skipped."""
    left, clock = list(names), time.monotonic()
    try:
        for check, well, said in step(bench):
            left.remove(check)
            yield Row(check, STATES[well], said, time.monotonic() - clock)
            clock = time.monotonic()
    except Exception as error:  # border to all that is checked
        said = str(error) if isinstance(error, CheckError) else f"{type(error).__name__}: {last_line(error)}"
        yield Row(left[0], "FAIL", said, time.monotonic() - clock)
        yield from (Row(check, "SKIP", f"{left[0]} failed") for check in left[1:])


def machine(facts: Facts) -> Rows:
    """The doctor's table in a line."""
    rows = diagnose(facts)
    failed = [f"{row.what}: {row.found} -> {row.advice}" for row in rows if row.state == "FAIL"]
    told = [f"{row.what}: {row.found}" for row in rows if row.what in ("GPUs", "driver", "C compiler", "attention")]
    yield "machine", not failed, "; ".join(failed or [*told, f"{facts.memory_gib:.1f} GiB of memory free"])


def number(bench: Bench, check: str) -> Rows:
    """A numeric check."""
    if not bench.gpus and check in NEEDS_CUDA:
        yield check, None, NEEDS_CUDA[check]
        return
    well, said = numeric(bench, check)
    if not bench.gpus and check == "vocabulary":
        yield check, None, f"torch counts memory on CUDA alone; {said}"
    else:
        yield check, well, said


def embedded_default(bench: Bench) -> Rows:
    """The embedded default on one card: trained, killed, resumed; and what it left."""
    run = bench.anew("run")
    command, peaks = bench.training("run", f"steps={STEPS}"), []
    bench.logs["run"] = bench.logs["resume"] = [run / "logs" / "driver.log"]
    seen = 0

    def so_far(enough: int) -> bool:
        nonlocal seen
        if (done := len(bench.rows("run"))) > seen:
            seen = done
            bench.say(f"step {done}/{STEPS}")
        return done >= enough

    bench.say("the embedded default starts: student, rollout engine and teacher on one card")
    peaks.append(bench.finish("run", command, lambda: so_far(KILLED)))
    rows = bench.rows("run")
    if len(rows) < KILLED:
        raise CheckError(f"it ended after {len(rows)} of {STEPS} steps")
    why, slowest = broken(rows), max(row["seconds"]["total"] for row in rows[1:])
    yield "run", not why, why or f"{len(rows)} steps, each at most {slowest:.1f} s after the first; then killed"
    peaks.append(bench.finish("resume", command, lambda: so_far(STEPS + 1)))
    rows = bench.rows("run")
    after = re.findall(r"goes on after step (\d+)", (bench.folder / "resume.log").read_text())
    well = bool(after) and not broken(rows) and [row["step"] for row in rows] == list(range(1, STEPS + 1))
    went = f"went on after step {', '.join(after) or '0'} to step {rows[-1]['step']} of {STEPS}"
    yield "resume", well, broken(rows) or went
    yield from _left_by(bench, run, rows, max(peaks))


def _left_by(bench: Bench, run: Path, rows: list[dict], peak: float) -> Rows:
    """What files and logs of the finished run show."""
    furthest, bound = max(abs(row["vllm_kl"]) for row in rows), FURTHEST[bench.device]
    yield "sync", furthest <= bound, f"vllm_kl at most {furthest:.1e} nats in {len(rows)} steps (bound {bound:.0e})"
    for check, text in (("sleep", "Sleep mode freed"), ("graphs", "Graph capturing finished")):
        if bench.gpus:
            lines = in_logs(run, text)
            last = f"; the last: {lines[-1].partition(text)[2].strip()}" if lines else ""
            yield check, bool(lines), f"engines have said {text!r} {len(lines)} times{last}"
        else:
            yield check, None, NEEDS_CUDA[check]
    config = Config.load(bench.config, bench.overrides("run"))
    yield "teacher", *numeric(bench, "teacher", config.teacher.score_log, config.teacher.path, str(TEMPERATURE))
    if bench.gpus:
        parts = estimated_gib(config, bench.gpus[0].total_gib)
        told = " + ".join(f"{who} {gib:.1f}" for who, gib in parts.items())
        yield "memory", peak <= sum(parts.values()), f"{peak:.1f} GiB at the peak; plan: {told}"
    else:
        yield "memory", None, NEEDS_CUDA["memory"]


def estimated_gib(config: Config, gpu_gib: float) -> dict[str, float]:
    """GiB that `scope-train plan` reckons with on a card that holds everything, all of it awake."""
    from scope_openrlhf.run.gpu_memory import student_gib  # the training stack: seconds, once the terminal is quiet
    from scope_openrlhf.run.memory import STUDENT, shapes_of
    from scope_openrlhf.run.plan import make_plan

    plan = make_plan(config, dry=True)
    engine = plan.args.vllm.gpu_memory_utilization * gpu_gib
    (teacher,) = plan.run.teachers.values()
    student = sum(student_gib(shapes_of(plan.run)[STUDENT], plan.args).values())
    return {"student": student, "rollout engine": engine, "teacher": teacher.gpu_memory_utilization * gpu_gib}


def lora(bench: Bench) -> Rows:
    """Two steps that train adapters, with gradient checkpointing."""
    bench.logs["lora"] = [bench.anew("lora") / "logs" / "driver.log"]
    bench.say("two steps of LoRA, with gradient checkpointing")
    flags = ("ds.lora.rank=4", "actor.gradient_checkpointing_enable=true")
    bench.finish("lora", bench.training("lora", "steps=2", *(f"openrlhf.{flag}" for flag in flags)))
    rows = bench.rows("lora")
    why = broken(rows) or ("" if len(rows) == 2 else f"{len(rows)} of 2 steps")
    norms = ", ".join(f"{row['grad_norm']:.2g}" for row in rows)
    furthest, bound = max((abs(row["vllm_kl"]) for row in rows), default=0.0), FURTHEST[bench.device]
    well = not why and furthest <= bound
    yield "lora", well, why or f"2 steps, norm of the gradient {norms}, vllm_kl at most {furthest:.1e} nats"
