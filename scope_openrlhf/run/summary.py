"""What a run shows: a line for each step, and at its end a table and a picture."""

import threading
from pathlib import Path
from typing import Any, TextIO

from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.run.page import RunPage
from scope_openrlhf.settings.config import Config


def right_share(row: dict[str, Any]) -> float:
    """Share of the kept rollouts of a step that is right; a step has at least one."""
    return row["right"] / (row["right"] + row["wrong"])


def progress_line(row: dict[str, Any], mean_seconds: float) -> str:
    """One row of metrics.jsonl for the terminal. mean_seconds: of a step, from which the time left is reckoned."""

    def show(name: str, form: str) -> str:
        return "-" if row.get(name) is None else form.format(row[name])

    left = (row["of"] - row["step"]) * mean_seconds
    stages = " ".join(f"{k} {v:.1f}" for k, v in row["seconds"].items() if k != "total")
    rewards = f"right {right_share(row):4.0%}  reward {show('reward', '{:.3f}')}  kl {show('reverse_kl', '{:.3f}')}"
    student, teacher = show("ppl_student_right", "{:.3f}"), show("ppl_teacher_wrong", "{:.2f}")
    return (
        f"step {row['step']:>4}/{row['of']}  {rewards}  ppl student {student} teacher {teacher}  "
        f"{row['seconds']['total']:.1f} s ({stages})  left {int(left) // 60}:{int(left) % 60:02d}"
    )


class Progress:
    """A thread of the driver that prints a line for each new row of metrics.jsonl, and writes the run's page."""

    def __init__(self, metrics_file: Path, out: TextIO) -> None:
        self.file, self.out, self.page = metrics_file, out, RunPage(metrics_file.parent)
        self.printed = len(whole_rows(metrics_file))
        self.seconds = 0.0
        """Duration of the steps seen so far, those of an earlier run that is resumed left out."""
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
            rows = whole_rows(self.file)
            self.printed = min(self.printed, len(rows))  # a resumed run drops rows first
            for row in rows[self.printed :]:
                times = sorted(r["seconds"]["total"] for r in rows[-50:])
                print(progress_line(row, times[len(times) // 2]), file=self.out, flush=True)
                self.seconds += row["seconds"]["total"]
            if len(rows) != self.printed:
                self.page.refresh()
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


def make_summary(config: Config, rows: list[dict], seconds: dict[str, float], evaluation: dict | None) -> dict:
    """summary.json: what a run did and what became of its student. rows: of metrics.jsonl."""

    def total(name: str) -> int:
        return int(sum(r.get(name) or 0 for r in rows))

    return {
        "algorithm": config.algorithm["name"],
        "steps": len(rows),
        "seconds": {k: round(seconds[k], 1) for k in ("setup", "startup", "train", "eval")},
        "eval": {k: evaluation[k] for k in ("n", "k", "before", "after", "difference")} if evaluation else None,
        "rollouts": {k: total(k) for k in ("right", "wrong", "truncated")},
        "teacher": {
            "scored": total("teacher_scored"),
            "skipped": total("teacher_skipped"),
            "seconds": round(sum(r["seconds"].get("teacher", 0.0) for r in rows), 1),
        },
        "model": str(config.run_dir / "model"),
    }


BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#999999"
"""Of the colours of Okabe and Ito, which the colour-blind tell apart."""


def draw_summary(rows: list[dict], evaluation: dict[str, Any] | None, path: Path) -> None:
    """summary.png: right rollouts and perplexities by step; Avg@k before and after by stratum, with standard errors."""
    import matplotlib  # a second, which a run that shows its summary alone need not wait for

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.4), constrained_layout=True)
    _draw_right_share(left, rows)
    _draw_perplexities(middle, rows)
    if evaluation:
        _draw_evaluation(right, evaluation)
    else:
        right.axis("off")
    for axes in (left, middle):
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, middle, right):
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_right_share(axes: Any, rows: list[dict]) -> None:
    steps, share = [r["step"] for r in rows], [right_share(r) for r in rows]
    window = max(1, len(rows) // 10)
    last = [share[max(0, i - window + 1) : i + 1] for i in range(len(share))]
    if window > 1:
        axes.plot(steps, share, color=GREY, lw=1, label="each step")
    label = f"mean of the last {window} steps" if window > 1 else "each step"
    axes.plot(steps, [sum(values) / len(values) for values in last], color=BLUE, marker=_marker(rows), label=label)
    axes.set(title="Rollouts that are right", xlabel="step", ylabel="share of the kept rollouts", ylim=(0, 1))
    axes.legend()


def _draw_perplexities(axes: Any, rows: list[dict]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter  # as above

    lines = (("ppl_student_right", "student, on right", BLUE), ("ppl_teacher_wrong", "teacher, on wrong", VERMILLION))
    for name, label, colour in lines:
        points = [(r["step"], r[name]) for r in rows if r.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker=_marker(rows), label=label)
            band = [(r["step"], r.get(f"{name}_p10"), r.get(f"{name}_p90")) for r in rows]
            if known := [b for b in band if None not in b]:
                axes.fill_between(*zip(*known, strict=True), color=colour, alpha=0.15, lw=0)
    title = "Perplexity of rollouts: mean, first to last decile"
    axes.set(title=title, xlabel="step", ylabel="perplexity, logarithmic", yscale="log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.1, 1.2, 1.5, 2, 3, 5, 7) if high < 10 * low else (1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    if axes.lines:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)


def _draw_evaluation(axes: Any, evaluation: dict[str, Any]) -> None:
    strata = list(evaluation["strata"])
    for offset, name, colour in ((-0.2, "before", GREY), (0.2, "after", BLUE)):
        values = [evaluation["strata"][s][name] for s in strata]
        where, errors = [i + offset for i in range(len(strata))], [v["stderr_avg"] for v in values]
        axes.bar(where, [v["avg"] for v in values], 0.4, yerr=errors, color=colour, label=name, capsize=3)
    axes.set_xticks(range(len(strata)), strata)
    k = evaluation["k"]
    axes.set(
        title=f"Held-out problems, {k} samples each", ylabel=f"Avg@{k}: share of right samples", ylim=(0, 1),
        xlabel="whiskers: one standard error to each side, by problem",
    )  # fmt: skip
    axes.legend()


def _marker(rows: list[dict]) -> str:
    """A mark on each point where there are few."""
    return "o" if len(rows) <= 20 else ""
