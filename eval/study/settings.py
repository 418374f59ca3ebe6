"""What a study is asked for, checked before anything starts: which runs, and on which problems models are tried."""

import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scope_openrlhf.data.benchmark import Columns
from scope_openrlhf.data.benchmark import check as check_rows
from scope_openrlhf.data.files import read_file
from scope_openrlhf.files.disk import write_whole
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError, nearest
from scope_openrlhf.settings.ranges import Count, check_ranges

STUDENT = "student"
"""The untrained one, where an algorithm's name could stand."""


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """The flags of a study."""

    config: str
    """YAML file of the training runs."""
    algorithms: str
    """all, or names with commas between."""
    seeds: str
    """Whole numbers with commas between."""
    steps: Count
    """Steps of each training run."""
    problems: Count
    """Held-out problems that models are tried on."""
    samples: Count
    """Samples of each problem."""
    runs: Path
    """Folder of the training runs and of the evaluations."""
    out: Path
    """Folder of the page."""
    report_only: bool
    """Whether the page is written anew from what is finished, and nothing runs."""
    overrides: list[str]
    """key=value, for every training run."""

    @cached_property
    def base(self) -> Config:
        """The config that all training runs have in common."""
        return Config.load(self.config, self.overrides)

    @cached_property
    def algorithm_names(self) -> list[str]:
        """The algorithms in the order in which they are trained. Raises ConfigError for one that there is not."""
        from scope_openrlhf import algorithms  # torch comes with it, seconds that --help need not wait for

        known = algorithms.known()
        names = known if self.algorithms == "all" else list(dict.fromkeys(self.algorithms.split(",")))
        for name in names:
            if name not in known:
                raise ConfigError(f"--algorithms: there is no {name!r}; {nearest(name, known)}")
        return names

    @cached_property
    def seed_numbers(self) -> list[int]:
        """The seeds. Raises ConfigError for what is no whole number."""
        try:
            return list(dict.fromkeys(int(seed) for seed in self.seeds.split(",")))
        except ValueError:
            raise ConfigError(f"--seeds must be whole numbers with commas between, got {self.seeds!r}") from None

    @property
    def heldout(self) -> Path:
        """File of the problems that models are tried on."""
        return self.runs / f"heldout-{self.problems}.jsonl"

    @property
    def command(self) -> str:
        """The command line that asks for this study, for its page."""
        flags = ("config", "algorithms", "seeds", "steps", "problems", "samples", "runs", "out")
        given = [text for flag in flags for text in (f"--{flag}", str(getattr(self, flag)))]
        return shlex.join([".venv/bin/python", "-m", "scope_eval.study", *given, *self.overrides])

    def of_run(self, algorithm: str, seed: int) -> list[str]:
        """key=value of one training run. The study evaluates it itself, and a checkpoint would only take time."""
        return [
            f"runs={self.runs}",
            f"name={algorithm}-{seed}",
            f"seed={seed}",
            f"steps={self.steps}",
            f"algorithm={algorithm}",
            "eval.path=",
            "openrlhf.ckpt.save_steps=-1",
            *self.overrides,
        ]

    def config_of(self, name: str) -> Config:
        """The config of the training run <algorithm>-<seed>."""
        algorithm, _, seed = name.rpartition("-")
        return Config.load(self.config, self.of_run(algorithm, int(seed)))


def check(settings: StudySettings) -> None:
    """Raise ConfigError for what cannot work, before anything starts. The folder of the runs is looked at by others."""
    names, _ = settings.algorithm_names, settings.seed_numbers
    check_ranges(settings, lambda name: f"--{name}")
    own = ("runs", "name", "seed", "steps", "algorithm", "openrlhf.ckpt.save_steps", "eval.path", "eval.samples")
    for override in settings.overrides:
        if (key := override.partition("=")[0]) in own or key.startswith("algorithm."):
            raise ConfigError(
                f"{key} is not for every run alike: use the study's own flags, and algorithms.NAME.knob=... for knobs"
            )
    if not settings.base.eval.path:
        raise ConfigError(f"{settings.config} has no eval.path; the study scores its models on those problems")
    heldout_text(settings)
    from scope_openrlhf import algorithms  # torch, as above

    for algorithm in names:
        try:
            algorithms.load(**settings.config_of(f"{algorithm}-1").algorithm)
        except (ValueError, TypeError) as error:
            raise ConfigError(str(error)) from None


def write_heldout(settings: StudySettings) -> None:
    """Write the held-out problems to their file, unless they are there."""
    settings.runs.mkdir(parents=True, exist_ok=True)
    text = heldout_text(settings)
    if not settings.heldout.exists() or settings.heldout.read_text() != text:
        write_whole(settings.heldout, text)


def heldout_text(settings: StudySettings) -> str:
    """The held-out problems as .jsonl under our names. Raises ConfigError if there are too few."""
    asked = settings.base.eval
    columns = Columns(id=asked.id_key, problem=asked.prompt_key, answer=asked.answer_key)
    rows = subset(check_rows(read_file(Path(asked.path)), f"eval.path {asked.path}", columns), settings.problems)
    return "".join(json.dumps(row) + "\n" for row in rows)


def subset(rows: list[dict], problems: int) -> list[dict]:
    """The first rows of every stratum in equal shares, which differ by one where the number does not divide.

    Raises ConfigError if there are too few.
    """
    strata: dict[str, list[dict]] = {}
    for row in rows:
        strata.setdefault(str(row.get("stratum") or "all"), []).append(row)
    share, more = divmod(problems, len(strata) or 1)
    wanted = {name: share + (i < more) for i, name in enumerate(strata)}
    for name, of in strata.items():
        if len(of) < wanted[name]:
            raise ConfigError(f"--problems {problems} takes {wanted[name]} problems of {name}, there are {len(of)}")
    return [row for name, of in strata.items() for row in of[: wanted[name]]]
