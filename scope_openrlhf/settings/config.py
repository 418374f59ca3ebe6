"""A config as the user wrote it: YAML file + `a.b=c` overrides -> Config.

This room imports neither torch nor Ray: what can be told wrong from the text alone is told within a second.
"""

import dataclasses
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from scope_openrlhf.settings import address, api_keys
from scope_openrlhf.settings.based import read_file
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.flag_ranges import check_flag
from scope_openrlhf.settings.parse import build, flatten, key_of, set_key
from scope_openrlhf.settings.ranges import CountOrZero, Seed
from scope_openrlhf.settings.sections import (
    DataConfig,
    EvalConfig,
    HealthConfig,
    RayConfig,
    StudentConfig,
    TeacherConfig,
    TrackConfig,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    name: str
    """The run's folder is runs/<name>."""
    base: str = ""
    """Another config file, seen from this one's folder, whose values this one starts from: sections are merged, key by
    key; an `algorithm` that names itself takes the other's place whole."""
    runs: str = "runs"
    """Folder of all runs."""
    seed: Seed = 1
    """Seed of the order of problems and of every sample."""
    steps: CountOrZero = 0
    """Rollout batches to train on; each is one row of metrics.jsonl. 0: one pass over the data."""
    from_: str = ""
    """Checkpoint of another run that this one goes on from, as `runs/a@step60`: its model, its optimiser and its place
    in the data. Empty: the student as it is."""
    data: DataConfig
    student: StudentConfig
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    teachers: dict[str, TeacherConfig] = field(default_factory=dict)
    """Further teachers by name, for the problems that name them. What one leaves out is as in `teacher`, but for path,
    revision and urls."""
    algorithm: dict[str, Any] = field(default_factory=lambda: {"name": "scope"})
    """name = a file of scope_openrlhf/algorithms, and its knobs. `algorithm=opd` is short for {name: opd}."""
    algorithms: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Knobs that algorithms need on these data, by name: `algorithm=rlsd` takes those of rlsd. What stands under
    `algorithm` itself comes first."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    ray: RayConfig = field(default_factory=RayConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    openrlhf: dict[str, Any] = field(default_factory=dict)
    """Any flag of OpenRLHF's train_ppo_ray without its dashes; checked by OpenRLHF's own parser."""

    @property
    def run_dir(self) -> Path:
        return Path(self.runs) / self.name

    @property
    def origin(self) -> tuple[Path, int]:
        """Folder and step of the run that this one goes on from; step 0: of none."""
        return origin_of(self.from_, "from") if self.from_ else (Path(), 0)

    @classmethod
    def load(cls, path: str | Path, overrides: list[str]) -> "Config":
        """Read a YAML file and apply overrides of the form a.b=value (value in YAML). Raises ConfigError."""
        return cls.from_dict(read_raw(path, overrides))

    @classmethod
    def from_dict(cls, raw: dict) -> "Config":
        """Raises ConfigError for an unknown key (naming the nearest known one), a missing one, or a bad value."""
        config = build(cls, _spelled_out(raw))
        _check_run(config)
        check_teacher("teacher", config.teacher)
        for name, teacher in config.teachers.items():
            _check_further_teacher(name, teacher, config.teacher)
        config = dataclasses.replace(config, openrlhf=flatten(config.openrlhf))
        for flag, value in config.openrlhf.items():
            check_flag(flag, value)
        return config

    @property
    def all_teachers(self) -> dict[str, TeacherConfig]:
        """Each by its name; that of `teacher`, which rows without a name go to, is empty."""
        default = {"": self.teacher} if self.teacher.path or self.teacher.urls else {}
        return default | self.teachers

    def absolute(self) -> "Config":
        """The same with absolute paths where they name something here: workers may start in another folder."""

        def place(path: str) -> str:
            return str(Path(path).absolute()) if path and Path(path).exists() else path

        def placed(t: TeacherConfig) -> TeacherConfig:
            log = t.score_log and str(Path(t.score_log).absolute())
            return dataclasses.replace(t, path=place(t.path), score_log=log)

        return dataclasses.replace(
            self,
            runs=str(Path(self.runs).absolute()),
            data=dataclasses.replace(self.data, path=place(self.data.path)),
            student=dataclasses.replace(self.student, path=place(self.student.path)),
            teacher=placed(self.teacher),
            teachers={name: placed(teacher) for name, teacher in self.teachers.items()},
        )

    def to_dict(self) -> dict:
        """Its keys and values, as `from_dict` takes them."""
        values = dataclasses.asdict(self)
        return {key_of(f): values[f.name] for f in fields(self)}


def read_raw(path: str | Path, overrides: list[str]) -> dict:
    """The values of a YAML file, over those of its base, under overrides of the form a.b=value; unchecked.

    Raises ConfigError.
    """
    raw = read_file(Path(path))
    set_overrides(raw, overrides)
    return raw


def set_overrides(raw: dict, overrides: list[str]) -> None:
    """Set keys of raw values by texts of the form a.b=value (value in YAML). Raises ConfigError."""
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"override {override!r} must have the form key=value")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            raise ConfigError(f"the value of {override!r} is not YAML; quote it") from None
        set_key(raw, key, value, [key_of(f) for f in fields(Config)])


def section_of(teacher: str) -> str:
    """Where the config holds the teacher of this name."""
    return f"teachers.{teacher}" if teacher else "teacher"


def _spelled_out(raw: dict) -> dict:
    """The values of a config with its short forms written out: algorithm's name alone, what teachers share, presets."""
    raw = dict(raw)
    if isinstance(raw.get("algorithm"), str):
        raw["algorithm"] = {"name": raw["algorithm"]}
    if isinstance(raw.get("teachers"), dict) and isinstance(raw.get("teacher", {}), dict):
        shared = {k: v for k, v in raw.get("teacher", {}).items() if k not in ("path", "revision", "urls")}
        # put last, so that a mistake in `teacher` is told of that section and not of those that copy it
        teachers = raw.pop("teachers")
        raw["teachers"] = {str(n): shared | t if isinstance(t, dict) else t for n, t in teachers.items()}
    chosen, presets = raw.get("algorithm"), raw.get("algorithms")
    if isinstance(chosen, dict) and isinstance(presets, dict):
        knobs = presets.get(str(chosen.get("name")))
        if isinstance(knobs, dict):
            raw["algorithm"] = knobs | chosen
    return raw


def origin_of(text: str, key: str) -> tuple[Path, int]:
    """Folder and step of a checkpoint, from a text like runs/a@step60. Raises ConfigError naming the key."""
    run, _, step = text.rpartition("@step")
    if not run or not re.fullmatch(r"[1-9]\d*", step):
        raise ConfigError(f"{key} must be a run and one of its checkpoints, as runs/a@step60; got {text!r}")
    return Path(run), int(step)


LONGEST_NAME = 200
"""Bytes of a run's name; a file system takes 255, and files of trackers add to it."""


def _check_run(config: Config) -> None:
    if config.base:
        raise ConfigError("base stands in the config file that starts from another one; give that file with --config")
    _ = config.origin  # or `from` is none
    name = config.name  # ".." is its own last part
    if Path(name).name != name or name in ("", "..") or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise ConfigError(f"name must be a plain folder name of at most {LONGEST_NAME} bytes, got {name[:60]!r}")
    if "name" not in config.algorithm:
        raise ConfigError("algorithm.name is missing; set it to the name of an algorithm, for instance scope")


OF_THE_RUN = ("temperature", "deadline_seconds", "score_log", "replay", "drop_budget")
"""Keys of a teacher that hold for all teachers of a run."""


def _check_further_teacher(name: str, teacher: TeacherConfig, first: TeacherConfig) -> None:
    key = section_of(name)
    if not re.fullmatch(r"\w+", name):
        raise ConfigError(f"{key}: a teacher's name may hold letters, digits and _")
    if not (teacher.path or teacher.urls):
        raise ConfigError(f"{key} has neither path nor urls; set {key}.path")
    check_teacher(key, teacher)
    for shared in OF_THE_RUN:
        if (value := getattr(teacher, shared)) != getattr(first, shared):
            raise ConfigError(f"{key}.{shared} is {value}, but it is one for all teachers: set teacher.{shared}")


def check_teacher(key: str, teacher: TeacherConfig) -> None:
    """Raise ConfigError for values that do not go together. key: the teacher's section."""
    if why := next(filter(None, map(address.fault, teacher.urls)), None):
        raise ConfigError(f"{key}.urls {why}. The API key is read from {api_keys.TEACHER} in the environment")
    if teacher.revision and (not teacher.path or Path(teacher.path).exists()):
        raise ConfigError(f"{key}.revision is a commit of the hub, {key}.path is none of its ids; remove one of them")
    if teacher.replay and not teacher.score_log:
        raise ConfigError(f"{key}.replay takes scores from {key}.score_log, which is not set")
    if teacher.tensor_parallel_size > 1 and (teacher.gpu_fraction < 1 or teacher.placement == "colocate"):
        raise ConfigError(
            f"{key} shares GPUs (gpu_fraction or placement=colocate), which takes replicas of one; "
            f"set {key}.tensor_parallel_size to 1"
        )
