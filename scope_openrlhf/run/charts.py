"""Which metrics the run's page draws into one chart, and what is said of them: from their definitions."""

from collections.abc import Iterable
from typing import Any

from scope_openrlhf.equations.metric_definitions import Metric, definition

TOGETHER = {
    "rollouts by verdict": ("right", "wrong", "dropped", "truncated", "repeating", "grader_failed"),
    "groups": ("groups_all_right", "groups_mixed", "groups_all_wrong"),
    "the teacher's work": ("teacher_scored", "teacher_skipped", "teacher_failed"),
    "seconds of a step": tuple(
        f"seconds.{s}" for s in ("total", "generate", "experience", "update", "sync", "teacher", "context")
    ),
}
"""Title of a chart -> metrics that are read beside each other."""
FIRST = (
    "rollouts by verdict",
    "reward",
    "reverse_kl",
    "ppl_student",
    "ppl_teacher",
    "loss",
    "weight_ess",
    "groups",
    "response_length",
    "seconds of a step",
)
"""Charts that are shown first; the others stand behind a click."""
NO_CURVE = ("step", "of")
DECILES = ("_p10", "_p90")


def charts_of(keys: Iterable[str], paths: tuple[str, ...], of_algorithm: tuple[Metric, ...]) -> list[dict[str, Any]]:
    """Charts of all keys of metrics.jsonl, the first ones first.

    A chart has title, about, axis, first and lines; a line has key, name, about and, where there are deciles, band.
    """
    keys = list(keys)
    charts: dict[str, dict[str, Any]] = {}
    for key in keys:
        metric = definition(key, paths, of_algorithm)
        if key in NO_CURVE or (key.endswith(DECILES) and key[:-4] in keys):
            continue
        title, name = place_of(key, metric)
        about = f"{metric.meaning} Taken: {metric.taken}." if metric else "The code does not define it."
        chart = charts.setdefault(
            title,
            {
                "title": title,
                "about": metric.meaning if metric and title not in TOGETHER else "",
                "axis": metric.taken if metric else "value",
                "first": title in FIRST,
                "lines": [],
            },
        )
        band = [key + end for end in DECILES] if all(key + end in keys for end in DECILES) else None
        chart["lines"].append({"key": key, "name": name, "about": about, "band": band})
    for title, members in TOGETHER.items():
        if title in charts:
            charts[title]["lines"].sort(key=lambda line, members=members: members.index(line["key"]))
    return sorted(charts.values(), key=lambda c: FIRST.index(c["title"]) if c["first"] else len(FIRST))


def place_of(key: str, metric: Metric | None) -> tuple[str, str]:
    """(title of the chart, name of the line) of a key of metrics.jsonl."""
    for title, members in TOGETHER.items():
        if key in members:
            return title, key.removeprefix("seconds.").removeprefix("groups_").removeprefix("teacher_").replace(
                "_", " "
            )
    if metric is None or "<" not in metric.name:
        return key, key
    before, _, rest = metric.name.partition("<")
    after = rest.partition(">")[2]
    return before.rstrip("_") + after, key[len(before) : len(key) - len(after)]
