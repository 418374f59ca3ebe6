"""One frozen dataclass per stage, in the order the data flows; YAML file + `a.b=c` overrides -> Config.

This module imports neither torch nor Ray: what can be told wrong from the text alone is told within a second.
"""

import dataclasses
import difflib
import json
import math
import os
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from scope_openrlhf import keys

RUN_VARIABLE = "SCOPE_RUN"
"""Set in the environment of every worker of a run: its config as JSON."""


class ConfigError(ValueError):
    """A setting that cannot work. The message names the key and says what to do."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    path: str
    """Training problems: a .jsonl, .json or .parquet file, or a Hugging Face dataset id."""
    prompt_key: str = "problem"
    """Column of the problem: text, or a list of chat messages. Dots reach inside: `extra.question`."""
    answer_key: str = "answer"
    """Column of the gold answer. Dots reach inside: `reward_model.ground_truth`."""
    teacher_key: str = "teacher"
    """Column that names each problem's teacher. Read only where there are `teachers`; a row without it goes to `teacher`."""
    trace_key: str = "expert_trace"
    """Column of a worked solution. Read only by algorithms that show it (smepo, opsd); `scope-train --traces FILE` has the teacher write it."""


@dataclass(frozen=True, kw_only=True)
class StudentConfig:
    path: str
    """Model to train: a folder in Hugging Face form, or a hub id."""
    trust_remote_code: bool = False
    """Let Python files that come with the model run. OpenRLHF runs them unasked, so such a model is refused unless this is set: read them first."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    path: str = ""
    """Model that scores: a folder in Hugging Face form, or a hub id. Its tokenizer must be the student's. Algorithms without a teacher need none."""
    revision: str = ""
    """Commit of a hub id. Empty: the newest, whose name goes into scores and checkpoints."""
    urls: list[str] = field(default_factory=list)
    """Teachers that are served already (`vllm serve`), instead of a group started here. The API key is read from SCOPE_TEACHER_API_KEY."""
    replicas: int = 1
    """Engines in the teacher group. Any of them may die while another lives."""
    tensor_parallel_size: int = 1
    """GPUs that each engine spreads its params over."""
    gpu_fraction: float = 1.0
    """(Logical) part of a GPU that Ray reserves for each replica. With 0.5 two share one; lower gpu_memory_utilization with it."""
    placement: Literal["pack", "spread", "colocate"] = "pack"
    """Where Ray puts the replicas: on few nodes, on many, or each on one of the student's GPUs (with openrlhf.train.colocate_all)."""
    sleep: bool = False
    """Give the GPU's memory back between rollouts, as openrlhf.vllm.enable_sleep does for the rollout engines. For colocated teachers."""
    max_model_len: int = 0
    """Longest request plus one token. 0: openrlhf.data.max_len + 1. Where the teacher scores contexts it is at least what those take."""
    dtype: str = "bfloat16"
    """Type of the teacher's params."""
    max_num_batched_tokens: int = 4096
    """Tokens per engine step. vLLM does not profile the memory of prompt log-probs, some 10 bytes * vocabulary of each; lower it if a teacher runs out."""
    gpu_memory_utilization: float = 0.9
    """Share of a GPU's memory (on a CPU machine: of RAM, keep it small) that an engine may take."""
    enforce_eager: bool = False
    """True: no CUDA graphs, no compilation; starts faster."""
    temperature: float = 0.0
    """Of the teacher's log-probs. 0: the rollout's, at which the student's are; anything else compares two things, as published SCOPE does with 1."""
    deadline_seconds: float = 600.0
    """Longest wait for one score, over all replicas and attempts."""
    hang_seconds: float = 120.0
    """A replica that answers none of its requests for so long is started again. Longer than the longest request takes."""
    accept: list[Literal["eos", "template"]] = field(default_factory=list)
    """Differences from the student that you know of: other EOS ids, another chat template."""
    score_log: str = ""
    """File in which every score is kept, and looked up before the teacher is asked. Empty: none."""
    replay: bool = False
    """Take scores from score_log alone and start no teacher; one that is not there is a TeacherError."""
    drop_budget: int = 0
    """Rollouts of a step that may go unscored, and be dropped, before the run stops with TeacherError."""

    @property
    def started_here(self) -> bool:
        """Whether the run starts its engines: neither served by somebody else nor replaced by the score log."""
        return not (self.urls or self.replay)

    @property
    def gpus_per_replica(self) -> float:
        """What Ray reserves. Colocated ones take as much of the student's GPUs as OpenRLHF's own actors there do."""
        return 0.2 if self.placement == "colocate" else self.tensor_parallel_size * self.gpu_fraction


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    path: str = ""
    """Held-out problems (.jsonl with id, problem, answer and optionally stratum). Empty: no evaluation after training."""
    samples: int = 16
    """Samples per problem: n of Avg@n and Pass@n."""
    temperature: float = 0.6
    top_p: float = 1.0
    top_k: int = -1
    max_tokens: int = 96
    """Longest response in tokens; a longer one is truncated and counts as wrong."""
    instruction: str = ""
    """What follows each held-out problem, for instance "Put your final answer within \\boxed{}."; as in the training data."""


@dataclass(frozen=True, kw_only=True)
class RayConfig:
    address: str = "local"
    """"local" starts Ray for this run and stops it after; "auto" or host:port joins a running one, as `ray job submit` needs."""
    num_gpus: int = 0
    """Logical GPUs of a Ray started here on a machine without CUDA. 0: as many as the run asks for."""
    restarts: int = 2
    """How often in a row the run starts again from its last checkpoint when Ray loses a part of it; a new checkpoint begins a new count."""
    hang_seconds: float = 3600.0
    """Longest time in which nothing moves (no rollout ends, no stage changes) before the run counts as hung and is started again."""


@dataclass(frozen=True, kw_only=True)
class Config:
    name: str
    """The run's folder is runs/<name>."""
    runs: str = "runs"
    seed: int = 1
    steps: int = 0
    """Rollout batches to train on; each is one row of metrics.jsonl. 0: one pass over the data."""
    data: DataConfig
    student: StudentConfig
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    teachers: dict[str, TeacherConfig] = field(default_factory=dict)
    """Further ones by name, for the problems that name them. What one leaves out is as in `teacher`, but for path, revision and urls."""
    algorithm: dict[str, Any] = field(default_factory=lambda: {"name": "scope"})
    """name = a file of scope_openrlhf/algorithms, and its knobs. `algorithm=opd` is short for {name: opd}."""
    algorithms: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Knobs that algorithms need on these data, by name: `algorithm=rlsd` takes those of rlsd. What stands under `algorithm` itself comes first."""
    eval: EvalConfig = EvalConfig()
    ray: RayConfig = RayConfig()
    openrlhf: dict[str, Any] = field(default_factory=dict)
    """Any flag of OpenRLHF's train_ppo_ray without its dashes; checked by OpenRLHF's own parser."""

    @property
    def run_dir(self) -> Path:
        return Path(self.runs) / self.name

    @classmethod
    def from_dict(cls, raw: dict) -> "Config":
        """Raises ConfigError for an unknown key (naming the nearest known one), a missing one or a wrong type."""
        raw = dict(raw)
        if isinstance(raw.get("algorithm"), str):
            raw["algorithm"] = {"name": raw["algorithm"]}
        if isinstance(raw.get("teachers"), dict) and isinstance(raw.get("teacher", {}), dict):
            shared = {k: v for k, v in raw.get("teacher", {}).items() if k not in ("path", "revision", "urls")}
            raw["teachers"] = {str(name): shared | t if isinstance(t, dict) else t for name, t in raw["teachers"].items()}
        chosen, presets = raw.get("algorithm"), raw.get("algorithms")
        if isinstance(chosen, dict) and isinstance(presets, dict) and isinstance(knobs := presets.get(str(chosen.get("name"))), dict):
            raw["algorithm"] = knobs | chosen
        config = _build(cls, raw, "")
        if not config.name or Path(config.name).name != config.name:
            raise ConfigError(f"name must be a plain folder name, got {config.name!r}")
        if "name" not in config.algorithm:
            raise ConfigError("algorithm.name is missing; set it to the name of an algorithm, for instance scope")
        for key, value, least in (
            ("steps", config.steps, 0), ("eval.samples", config.eval.samples, 1), ("ray.num_gpus", config.ray.num_gpus, 0), ("seed", config.seed, 0),
            ("ray.restarts", config.ray.restarts, 0),
        ):  # fmt: skip
            if value < least:
                raise ConfigError(f"{key} must be at least {least}, got {value}")
        if not 0 < config.ray.hang_seconds < math.inf:
            raise ConfigError(f"ray.hang_seconds must be a number of seconds above 0, got {config.ray.hang_seconds}")
        check_teacher("teacher", config.teacher)
        for name, teacher in config.teachers.items():
            key = section_of(name)
            if not re.fullmatch(r"\w+", name):
                raise ConfigError(f"{key}: a teacher's name may hold letters, digits and _")
            if not (teacher.path or teacher.urls):
                raise ConfigError(f"{key} has neither path nor urls; set {key}.path")
            check_teacher(key, teacher)
            for field_name in OF_THE_RUN:
                if (value := getattr(teacher, field_name)) != getattr(config.teacher, field_name):
                    raise ConfigError(f"{key}.{field_name} is {value}, but it is one for all teachers: set teacher.{field_name}")
        return dataclasses.replace(config, openrlhf=flatten(config.openrlhf))

    @property
    def all_teachers(self) -> dict[str, TeacherConfig]:
        """Each by its name; that of `teacher`, which rows without a name go to, is empty."""
        default = {"": self.teacher} if self.teacher.path or self.teacher.urls else {}
        return default | self.teachers

    def with_teachers(self, change: Callable[[TeacherConfig], TeacherConfig]) -> "Config":
        """The same with each teacher changed."""
        teachers = {name: change(teacher) for name, teacher in self.teachers.items()}
        return dataclasses.replace(self, teacher=change(self.teacher), teachers=teachers)

    def with_student_as_teacher(self) -> "Config":
        """The same with the student, as it is before training, for its only teacher."""
        return dataclasses.replace(
            self, teachers={}, teacher=dataclasses.replace(self.teacher, path=self.student.path, revision="", urls=[])
        )

    @classmethod
    def load(cls, path: str | Path, overrides: list[str]) -> "Config":
        """Read a YAML file, apply overrides of the form a.b=value (value in YAML), resolve. Raises ConfigError."""
        try:
            raw = yaml.safe_load(Path(path).read_text())
        except OSError as error:
            raise ConfigError(f"cannot read the config {path}: {error.strerror}") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{path} is not YAML: {error}") from None
        if not isinstance(raw, dict):
            raise ConfigError(f"{path} must hold keys and values, it holds {type(raw).__name__}")
        for override in overrides:
            key, equals, text = override.partition("=")
            if not equals:
                raise ConfigError(f"override {override!r} must have the form key=value")
            try:
                _set(raw, key, yaml.safe_load(text))
            except yaml.YAMLError:
                raise ConfigError(f"the value of {override!r} is not YAML; quote it") from None
        return cls.from_dict(raw)

    def absolute(self) -> "Config":
        """The same with absolute paths where they name something here: workers may start in another folder."""

        def place(path: str) -> str:
            return str(Path(path).absolute()) if path and Path(path).exists() else path

        return dataclasses.replace(
            self,
            runs=str(Path(self.runs).absolute()),
            data=dataclasses.replace(self.data, path=place(self.data.path)),
            student=dataclasses.replace(self.student, path=place(self.student.path)),
        ).with_teachers(lambda t: dataclasses.replace(t, path=place(t.path), score_log=t.score_log and str(Path(t.score_log).absolute())))

    @classmethod
    def of_this_run(cls) -> "Config":
        """The config of the run that this worker belongs to, from its environment."""
        return cls.from_dict(json.loads(os.environ[RUN_VARIABLE]))

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)


def section_of(teacher: str) -> str:
    """Where the config holds the teacher of this name."""
    return f"teachers.{teacher}" if teacher else "teacher"


OF_THE_RUN = ("temperature", "deadline_seconds", "score_log", "replay", "drop_budget")
"""Fields of a teacher that hold for all teachers of a run."""


def check_teacher(key: str, teacher: TeacherConfig) -> None:
    for name, least in (("replicas", 1), ("tensor_parallel_size", 1), ("max_model_len", 0), ("drop_budget", 0)):
        if (value := getattr(teacher, name)) < least:
            raise ConfigError(f"{key}.{name} must be at least {least}, got {value}")
    if any(keys.with_secret(url) for url in teacher.urls):
        raise ConfigError(
            f"{key}.urls must be addresses alone, for instance http://host:8000: no user, no password, no parameters. "
            f"The API key is read from {keys.TEACHER} in the environment"
        )
    if teacher.revision and (not teacher.path or Path(teacher.path).exists()):
        raise ConfigError(f"{key}.revision is a commit of the hub, {key}.path is none of its ids; remove one of them")
    if teacher.replay and not teacher.score_log:
        raise ConfigError(f"{key}.replay takes scores from {key}.score_log, which is not set")
    for name in ("deadline_seconds", "hang_seconds"):
        if not 0 < (seconds := getattr(teacher, name)) < math.inf:
            raise ConfigError(f"{key}.{name} must be a number of seconds above 0, got {seconds}")
    if not 0 <= teacher.temperature < math.inf:
        raise ConfigError(f"{key}.temperature must be a number above 0, or 0 for the rollout's, got {teacher.temperature}")
    if not 0 < teacher.gpu_fraction <= 1:
        raise ConfigError(f"{key}.gpu_fraction must be above 0 and at most 1, got {teacher.gpu_fraction}")
    if teacher.tensor_parallel_size > 1 and (teacher.gpu_fraction < 1 or teacher.placement == "colocate"):
        raise ConfigError(
            f"{key} shares GPUs (gpu_fraction or placement=colocate), which takes replicas of one; set {key}.tensor_parallel_size to 1"
        )


def _set(raw: dict, key: str, value) -> None:
    section, _, rest = key.partition(".")
    if section == "openrlhf" and rest:  # its keys hold dots themselves, so nested and dotted spellings meet here
        raw["openrlhf"] = flatten(raw.get("openrlhf") or {}) | {rest: value}
    elif section == "algorithm" and rest and isinstance(raw.get("algorithm"), str):
        raw["algorithm"] = {"name": raw["algorithm"], rest: value}
    elif rest:
        if not isinstance(raw.setdefault(section, {}), dict):
            raise ConfigError(f"{section} is no section, so {key} cannot be set; {nearest(section, (f.name for f in fields(Config)))}")
        _set(raw[section], rest, value)
    else:
        raw[section] = value


def flatten(section: dict, prefix: str = "") -> dict:
    """{"actor": {"adam.lr": 1}} -> {"actor.adam.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in section.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def nearest(key: str, known) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"


def _build(cls, raw: dict, prefix: str):
    if not isinstance(raw, dict):
        raise ConfigError(f"{prefix.rstrip('.')} must be a section of keys, got {raw!r}")
    known = {f.name: f for f in fields(cls)}
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"unknown key {prefix}{key}; {nearest(f'{prefix}{key}', [prefix + k for k in known])}")
        values[key] = convert(hints[key], value, f"{prefix}{key}")
    for key, f in known.items():
        if key not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{prefix}{key} is missing{_purpose(hints[key], prefix + key)}")
    return cls(**values)


def _purpose(hint, key: str) -> str:
    if dataclasses.is_dataclass(hint):
        return f"; it is a section with {', '.join(f.name for f in fields(hint))}"
    return f"; set {key} in the config or pass {key}=..."


def convert(hint, value, key: str):
    """The value as the type that the field asks for. Raises ConfigError naming the key."""
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint) or isinstance(value, bool):
            raise ConfigError(f"{key} must be one of {', '.join(map(str, typing.get_args(hint)))}, got {value!r}")
        return value
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, f"{key}.")
    if typing.get_origin(hint) is list:
        if not isinstance(value, list):
            raise ConfigError(f"{key} must be a list, got {type(value).__name__}")
        return [convert(typing.get_args(hint)[0], v, f"{key}[{i}]") for i, v in enumerate(value)]
    if typing.get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{key} must be a section of keys, got {value!r}")
        inner = typing.get_args(hint)[1]
        return value if inner is Any else {str(k): convert(inner, v, f"{key}.{k}") for k, v in value.items()}
    if hint is float and type(value) in (int, float):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML reads 2e-4 as text
        try:
            return float(value)
        except ValueError:
            pass
    if hint is str and value is None:  # `eval.path=` on a command line
        return ""
    if type(value) is not hint:
        raise ConfigError(f"{key} must be of type {hint.__name__}, got {value!r}")
    return value
