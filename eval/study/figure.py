"""The figure of a study's page: Avg and Pass of each algorithm."""

from pathlib import Path
from typing import Any

from scope_eval.study.settings import STUDENT
from scope_eval.study.tables import ranked


def draw(found: dict[str, Any], file: Path) -> None:
    """Draw each algorithm's mean with its interval, single seeds as dots, the untrained student as a dashed line."""
    import matplotlib  # half a second of start-up, also of --help

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = [(name, a) for name, a in reversed(ranked(found)) if name != STUDENT]  # the highest on top
    n = found["scale"]["samples"]
    figure, panels = plt.subplots(1, 2, figsize=(11, 1.6 + 0.42 * len(rows)), sharey=True, constrained_layout=True)
    for panel, key, title in zip(panels, ("avg", "pass"), (f"Avg@{n}", f"Pass@{n}"), strict=True):
        panel.axvline(100 * found[STUDENT][key]["value"], color="0.5", ls="--", lw=1, label="untrained student")
        for y, (_, a) in enumerate(rows):
            mean, (low, high) = a[key]["value"], a[key]["ci"]
            panel.hlines(
                y,
                100 * low,
                100 * high,
                color="C0",
                lw=2,
                label="mean over seeds, 95% over problems" if y == 0 else None,
            )
            panel.plot(100 * mean, y, "o", color="C0", ms=7)
            seeds = [100 * v for v in a[key]["by_seed"]]
            panel.plot(seeds, [y - 0.22] * len(seeds), ".", color="C1", ms=7, label="single seeds" if y == 0 else None)
        panel.set(title=title, xlabel="percent", ylim=(-0.6, len(rows) - 0.4))
        panel.grid(axis="x", color="0.9")
        panel.set_axisbelow(True)
    panels[0].set_yticks(range(len(rows)), [name for name, _ in rows])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(file, dpi=110)
    plt.close(figure)
