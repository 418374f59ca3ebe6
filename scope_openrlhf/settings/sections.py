"""The sections of a config, one frozen dataclass each, in the order in which the data flow; a sentence under each key.

What is left open here (a 0 that means "as long as needed") is settled in resolved.py.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from scope_openrlhf.settings.address import check_ray
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.ranges import Count, CountOrZero, NotNegative, Positive, Share, TopK

DATE = "2024-07-26"
"""What the clock of a chat template says unless something else is asked for."""


def check_date(text: str, key: str) -> None:
    """Raise ConfigError naming the key unless the text is a date."""
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{key} must be a date like {DATE}, got {text!r}") from None


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    path: str
    """Training problems: a .jsonl, .json, .parquet or .csv file, or a Hugging Face dataset id."""
    prompt_key: str = "problem"
    """Column of the problem: text, or chat messages. Dots reach inside: `extra.question`."""
    answer_key: str = "answer"
    """Column of the gold answer: text, a number, or a list of which all are required; of a worked solution what
    follows `####` on its last line, or stands in its last box. Dots reach inside: `reward_model.ground_truth`."""
    skip_ungradable: bool = False
    """Leave out rows whose gold answer cannot be graded (empty, NaN, "proof", nothing that rules can read), however
    many. Otherwise data with more than 5% of them are refused. They are counted and named."""
    system: str = ""
    """System prompt of every problem that brings none of its own, in training and in evaluation. Empty: none."""
    teacher_key: str = "teacher"
    """Column that names each problem's teacher. Read only where there are `teachers`; a row without it goes to
    `teacher`."""
    trace_key: str = "expert_trace"
    """Column of a worked solution. Read only by algorithms that show it (smepo, opsd); `scope-train traces` has the
    teacher write it."""


@dataclass(frozen=True, kw_only=True)
class StudentConfig:
    path: str
    """Model to train: a folder in Hugging Face form, or a hub id."""
    trust_remote_code: bool = False
    """Let Python files that come with the model run. OpenRLHF runs them unasked, so such a model is refused unless this
    is set: read them first."""
    template_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of the student's chat template, in training and in evaluation: `{enable_thinking: false}`."""
    template_date: str = DATE
    """Date that a chat template gets which asks for today's, so that a run and its evaluation read the same prompts
    tomorrow. The default is what Llama 3's template takes where there is no clock."""

    def __post_init__(self) -> None:
        check_date(self.template_date, "student.template_date")


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """What a teacher is set to, in the config as in the run that it resolves to."""

    path: str = ""
    """Model that scores: a folder in Hugging Face form, or a hub id. Its tokenizer must be the student's. Algorithms
    without a teacher need none."""
    revision: str = ""
    """Commit of a hub id. Empty: the newest, whose name goes into scores and checkpoints."""
    urls: list[str] = field(default_factory=list)
    """Teachers that are served already (`vllm serve`), instead of a group started here: addresses with or without
    `/v1` at the end. The API key is read from SCOPE_TEACHER_API_KEY."""
    replicas: Count = 1
    """Engines in the teacher group. Any of them may die while another lives."""
    tensor_parallel_size: Count = 1
    """GPUs that each engine spreads its params over."""
    gpu_fraction: Share = 1.0
    """(Logical) part of a GPU that Ray reserves for each replica. With 0.5 two share one; lower gpu_memory_utilization
    with it."""
    placement: Literal["pack", "spread", "colocate"] = "pack"
    """Where Ray puts the replicas: on few nodes, on many, or each on one of the student's GPUs (with
    openrlhf.train.colocate_all)."""
    sleep: bool = False
    """Give the GPU's memory back between rollouts, as openrlhf.vllm.enable_sleep does for the rollout engines. For
    colocated teachers."""
    dtype: Literal["auto", "bfloat16", "float16", "half", "float32", "float"] = "bfloat16"
    """Type of the teacher's params."""
    max_num_batched_tokens: Count = 4096
    """Tokens per engine step. vLLM does not profile the memory of prompt log-probs: on GPUs some 6 bytes * vocabulary
    of 1,024 tokens at a time, on a CPU of all of them; lower it if a teacher runs out."""
    gpu_memory_utilization: Share = 0.9
    """Share of a GPU's memory (on a CPU machine: of RAM, keep it small) that an engine may take."""
    enforce_eager: bool = False
    """True: no CUDA graphs, no compilation; starts faster."""
    deadline_seconds: Positive = 600.0
    """Longest wait for one score, over all replicas and attempts."""
    hang_seconds: Positive = 120.0
    """A replica that answers none of its requests for so long is started again. Longer than the longest request
    takes."""
    score_log: str = ""
    """File in which every score is kept, and looked up before the teacher is asked. Empty: none."""
    replay: bool = False
    """Take scores from score_log alone and start no teacher; one that is not there is a TeacherError."""
    drop_budget: CountOrZero = 0
    """Rollouts of a step that may go unscored, and be dropped, before the run stops with TeacherError."""

    @property
    def started_here(self) -> bool:
        """Whether the run starts its engines: neither served by somebody else nor replaced by the score log."""
        return not (self.urls or self.replay)

    @property
    def gpus_per_replica(self) -> float:
        """What Ray reserves. Colocated replicas take as much of the student's GPUs as OpenRLHF's own actors there."""
        return 0.2 if self.placement == "colocate" else self.tensor_parallel_size * self.gpu_fraction


@dataclass(frozen=True, kw_only=True)
class TeacherConfig(TeacherSettings):
    """A teacher as the user wrote it; `resolved.Teacher` is what becomes of it."""

    max_model_len: CountOrZero = 0
    """Longest request plus one token. 0: openrlhf.data.max_len + 1. Where the teacher scores contexts it is at least
    what those take."""
    temperature: NotNegative = 0.0
    """Temperature of the teacher's log-probs. 0: the rollout's, at which the student's are; anything else compares two
    things, as published SCOPE does with 1."""
    accept: list[Literal["eos", "template"]] = field(default_factory=list)
    """Differences from the student that you know of: other EOS ids, another chat template."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    path: str = ""
    """Held-out problems: a .jsonl, .json, .parquet or .csv of problems with their answers, optionally with a stratum
    each. Empty: no evaluation after training."""
    prompt_key: str = "problem"
    """Column of the held-out problem, as data.prompt_key."""
    answer_key: str = "answer"
    """Column of its gold answer, as data.answer_key."""
    id_key: str = "id"
    """Column of its id. A row without one is called by its number, counted from 0."""
    samples: Count = 16
    """Samples per problem: n of Avg@n and Pass@n."""
    temperature: NotNegative = 0.6
    """Temperature of the samples."""
    top_p: Share = 1.0
    """Share of the probability that samples come from."""
    top_k: TopK = -1
    """Number of tokens that samples come from. -1: all."""
    max_tokens: Count = 96
    """Longest response in tokens; a longer one is truncated and counts as wrong."""
    instruction: str = ""
    """What follows each held-out problem, for instance "Put your final answer within \\boxed{}."; as in the training
    data."""


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    every: CountOrZero = 1
    """Steps from one reading of the student's whole vocabulary to the next, from the first on: entropy_<path> and
    grad_share_<path>, which cost a few passes over the logits. Other steps leave these columns out. 0: all do."""


@dataclass(frozen=True, kw_only=True)
class RayConfig:
    address: str = "local"
    """"local" starts Ray for this run and stops it after; "auto" or host:port joins a running one, as `ray job submit`
    needs."""
    num_gpus: CountOrZero = 0
    """Logical GPUs of a Ray started here on a machine without CUDA. 0: as many as the run asks for."""
    share_gpus: bool = False
    """Where there are fewer GPUs than the config asks for, let student, rollout engines and, if need be, teachers take
    turns on the same ones, instead of refusing. It takes one rollout engine of one GPU for each training GPU."""
    restarts: CountOrZero = 2
    """How often in a row the run starts again from its last checkpoint when Ray loses a part of it; a new checkpoint
    begins a new count."""
    hang_seconds: Positive = 3600.0
    """Longest time in which nothing moves (no rollout ends, no stage changes) before the run counts as hung and is
    started again."""

    def __post_init__(self) -> None:
        check_ray(self.address, "ray.address")


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    to: list[Literal["trackio", "mlflow", "swanlab"]] = field(default_factory=list)
    """Trackers that get the config, each row of metrics.jsonl and the scores. Each is a library to install; keys and
    servers are named in its own environment variables."""
    project: str = "scope_openrlhf"
    """What these trackers file the run under; MLflow calls it an experiment."""
