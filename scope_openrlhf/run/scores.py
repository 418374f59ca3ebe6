"""The scores of a run's student before and after training, as its evaluation left them."""

import json
from dataclasses import dataclass
from pathlib import Path

WHEN = ("before", "after")


@dataclass(frozen=True, slots=True)
class Score:
    """A share between 0 and 1 (of a difference: between -1 and 1) with its 95% interval, which clusters by problem."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Avg@k and Pass@k on the held-out problems."""

    problems: int
    samples: int
    """Of each problem: k."""
    values: dict[str, dict[str, Score]]
    """{"before", "after", "difference": {"avg", "pass": ...}}."""

    def numbers(self) -> dict[str, float]:
        """As metrics. Example: {"eval.samples": 16, "eval.after.avg": 0.74, "eval.after.avg_low": 0.71, ...}."""
        found: dict[str, float] = {"eval.problems": self.problems, "eval.samples": self.samples}
        for when, scores in self.values.items():
            for name, score in scores.items():
                key = f"eval.{when}.{name}"
                found |= {key: score.value, f"{key}_low": score.low, f"{key}_high": score.high}
        return found


def read_scores(run: Path) -> Scores | None:
    """The scores in a run's folder; None where it has not been evaluated, before as well as after."""
    folder = run / "eval"
    files = [folder / when / "results.json" for when in WHEN]
    if not (folder / "pair.json").exists() or not all(file.exists() for file in files):
        return None
    pair = json.loads((folder / "pair.json").read_text(encoding="utf-8"))
    problems, samples = pair["n"], pair["k"]
    values = {}
    for when, file in zip(WHEN, files, strict=True):
        (held_out,) = json.loads(file.read_text(encoding="utf-8"))["benchmarks"].values()
        passed = held_out["pass"][str(samples)], held_out["pass_ci"][str(samples)]
        values[when] = {"avg": Score(held_out["avg"], *held_out["avg_ci"]), "pass": Score(passed[0], *passed[1])}
    gain = pair["difference"]
    values["difference"] = {"avg": Score(gain["avg"], *gain["ci"]), "pass": Score(gain["pass"], *gain["pass_ci"])}
    return Scores(problems, samples, values)
