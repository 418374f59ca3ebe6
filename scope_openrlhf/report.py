"""What a run writes and prints: metrics.jsonl, rollouts.jsonl, progress lines, summary.json with its table and plot."""

import contextlib
import json
import math
import os
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from scope_openrlhf.checkpoint import write_whole

# OpenRLHF's name -> ours, for what metrics.jsonl keeps of its status
_SECONDS = {
    "timing/generation": "generate", "timing/make_experience": "experience", "timing/ppo_train": "update",
    "timing/broadcast": "sync", "timing/teacher": "teacher", "timing/context": "context",
}  # fmt: skip
_INSIDE_OTHERS = ("teacher", "context")
_RENAMED = {"actor_grad_norm": "grad_norm", "actor_lr": "learning_rate", "policy_loss": "loss"}
_DROPPED = ("rollout/", "timing/", "generated_samples", "weight", "return", "response_clip_ratio", "logprobs_diff", "kl", "score")


def step_row(step: int, of: int, status: dict[str, Any]) -> dict[str, Any]:
    """One row of metrics.jsonl. `teacher` seconds run inside `generate`, `context` ones (also a teacher's) inside `experience`; NaN (no such rollout this step) becomes null."""
    row: dict[str, Any] = {"step": step, "of": of}
    for name, value in status.items():
        if name in _RENAMED:
            row[_RENAMED[name]] = value
        elif name not in _DROPPED and not name.startswith(("rollout/", "timing/")) and isinstance(value, int | float):
            row[name] = value
    seconds = {ours: round(status[theirs], 4) for theirs, ours in _SECONDS.items() if theirs in status}
    seconds["total"] = round(sum(v for k, v in seconds.items() if k not in _INSIDE_OTHERS), 4)
    clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return clean | {"seconds": seconds}


class StepLog:
    """Appends to the run's files from the trainer's process, a whole line at a time."""

    rollouts_per_step = 8

    def __init__(self, run_dir: Path) -> None:
        self.metrics_file, self.rollouts_file = run_dir / "metrics.jsonl", run_dir / "rollouts.jsonl"

    def step(self, step: int, of: int, status: dict[str, Any]) -> None:
        _append(self.metrics_file, [step_row(step, of, status)])

    def rollouts(self, rows: list[dict]) -> None:
        _append(self.rollouts_file, rows)

    def forget_after(self, step: int) -> None:
        """Drop rows later than the checkpoint that a run resumes from: those steps are done again."""
        for file in (self.metrics_file, self.rollouts_file):
            if file.exists():
                kept = [row for row in read_jsonl(file) if row["step"] <= step]
                write_whole(file, "".join(json.dumps(row) + "\n" for row in kept))


class Stage:
    """What a run is doing, in a file of its folder for each part that says it, for whoever waits for it (train.py).

    It is no loss if the disk is full and it cannot be written.
    """

    def __init__(self, run_dir: Path, part: str = "run") -> None:
        self.file = run_dir / "logs" / f"stage.{part}"

    def __call__(self, what: str) -> None:
        with contextlib.suppress(OSError):
            self.file.write_text(what)

    def goes_on(self) -> None:
        """The same stage still makes progress."""
        with contextlib.suppress(OSError):
            self.file.touch()

    def begin(self, what: str) -> None:
        """The first stage of an attempt: what others said before counts no more."""
        for file in self.file.parent.glob("stage.*"):
            file.unlink(missing_ok=True)
        self(what)

    def stalled(self, seconds: float) -> str:
        """The stages, the newest first, if nothing has moved for so long; empty otherwise."""
        files = sorted(self.file.parent.glob("stage.*"), key=lambda f: -f.stat().st_mtime)
        if not files or time.time() - files[0].stat().st_mtime < seconds:
            return ""
        return "; ".join(text for f in files if (text := f.read_text())) or "nothing known"


def _append(file: Path, rows: list[dict]) -> None:
    with file.open("a") as f:
        f.write("".join(json.dumps(row) + "\n" for row in rows))
        f.flush()
        os.fsync(f.fileno())  # before the checkpoint of the step is


def read_jsonl(file: Path) -> list[dict]:
    """Whole rows of a file that may still be written: a last line without its newline is left out."""
    if not file.exists():
        return []
    text = file.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def right_share(row: dict[str, Any]) -> float:
    """Of the rollouts that count; a step has at least one."""
    return row["right"] / (row["right"] + row["wrong"])


def progress_line(row: dict[str, Any], mean_seconds: float) -> str:
    def show(name: str, form: str) -> str:
        return "-" if row.get(name) is None else form.format(row[name])

    left = (row["of"] - row["step"]) * mean_seconds
    stages = " ".join(f"{k} {v:.1f}" for k, v in row["seconds"].items() if k != "total")
    right = right_share(row)
    return (
        f"step {row['step']:>4}/{row['of']}  right {right:4.0%}  reward {show('reward', '{:.3f}')}  kl {show('reverse_kl', '{:.3f}')}  "
        f"ppl student {show('ppl_student_right', '{:.3f}')} teacher {show('ppl_teacher_wrong', '{:.2f}')}  "
        f"{row['seconds']['total']:.1f} s ({stages})  left {int(left) // 60}:{int(left) % 60:02d}"
    )


class Progress:
    """A thread of the driver that prints a line for each new row of metrics.jsonl."""

    def __init__(self, metrics_file: Path, out: TextIO) -> None:
        self.file, self.out = metrics_file, out
        self.printed = len(read_jsonl(metrics_file))
        self.seconds = 0.0
        """Of the steps seen so far, those of an earlier run that is resumed left out."""
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Progress":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stopped.set()
        self.thread.join()

    def _watch(self) -> None:
        while True:
            last = self.stopped.wait(0.5)
            rows = read_jsonl(self.file)
            self.printed = min(self.printed, len(rows))  # a resumed run drops rows first
            for row in rows[self.printed :]:
                times = sorted(r["seconds"]["total"] for r in rows[-50:])
                print(progress_line(row, times[len(times) // 2]), file=self.out, flush=True)
                self.seconds += row["seconds"]["total"]
            self.printed = len(rows)
            if last:
                return


def summary_table(summary: dict[str, Any]) -> str:
    """The summary as a small table for the terminal."""
    lines = [f"{summary['algorithm']}, {summary['steps']} steps; model in {summary['model']}"]
    e = summary.get("eval")
    if e:
        k = e["k"]
        lines.append(f"{e['n']} held-out problems, {k} samples each   Avg@{k}          Pass@{k}")
        for name in ("before", "after", "difference"):
            v = e[name]
            sign = "+" if name == "difference" else ""
            lines.append(
                f"  {name:<11}{'':>20}{100 * v['avg']:{sign}7.2f} +- {100 * v.get('stderr_avg', v.get('stderr')):.2f}"
                f"  {100 * v['pass']:{sign}7.2f} +- {100 * v['stderr_pass']:.2f}"
            )
    r, t, s = summary["rollouts"], summary["teacher"], summary["seconds"]
    lines.append(f"rollouts  right {r['right']}  wrong {r['wrong']}  truncated {r['truncated']}")
    saved = f" ({t['skipped'] / rollouts:.0%} of its work saved)" if (rollouts := t["scored"] + t["skipped"]) else ""
    lines.append(f"teacher   scored {t['scored']}  skipped {t['skipped']}{saved}  {t['seconds']:.1f} s")
    lines.append("seconds   " + "  ".join(f"{k} {v:.1f}" for k, v in s.items()))
    return "\n".join(lines)


def draw_summary(rows: list[dict], evaluation: dict[str, Any] | None, path: Path) -> None:
    """summary.png: share of right rollouts and perplexities by step; Avg@k before and after by stratum, with standard errors."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), constrained_layout=True)
    steps = [r["step"] for r in rows]
    share = [right_share(r) for r in rows]
    window = max(1, len(rows) // 10)
    smooth = [sum(share[max(0, i - window + 1) : i + 1]) / len(share[max(0, i - window + 1) : i + 1]) for i in range(len(share))]
    left.plot(steps, share, color="0.75", lw=1, label="each step")
    left.plot(steps, smooth, color="C0", label=f"mean of {window}")
    left.set(title="Rollouts that are right", xlabel="step", ylim=(0, 1))
    left.legend()
    for name, label in (("ppl_student_right", "student, on right"), ("ppl_teacher_wrong", "teacher, on wrong")):
        points = [(r["step"], r[name]) for r in rows if r.get(name) is not None]
        if points:
            middle.plot(*zip(*points, strict=True), label=label)
    middle.set(title="Perplexity", xlabel="step", yscale="log")
    if middle.lines:
        middle.legend()
    if evaluation:
        strata = list(evaluation["strata"])
        for offset, name, colour in ((-0.2, "before", "0.6"), (0.2, "after", "C0")):
            values = [evaluation["strata"][s][name] for s in strata]
            right.bar([i + offset for i in range(len(strata))], [v["avg"] for v in values], 0.4,
                      yerr=[v["stderr_avg"] for v in values], color=colour, label=name, capsize=3)  # fmt: skip
        right.set_xticks(range(len(strata)), strata)
        right.set(title=f"Held out, Avg@{evaluation['k']}", ylim=(0, 1))
        right.legend()
    else:
        right.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)
