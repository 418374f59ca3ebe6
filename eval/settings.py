"""What a user asks of scope-eval: made once, from flags or from a training run's config, and checked here alone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from scope_openrlhf.data.benchmark import Columns
from scope_openrlhf.settings.address import check_ray
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.ranges import Count, NotNegative, Positive, Seed, Share, TopK, check_ranges
from scope_openrlhf.settings.sections import DATE, check_date

DTYPES = ("auto", "bfloat16", "float16", "float32")
"""Number formats that vLLM's engines have."""


@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """How a model is asked and sampled. The two models of a pair are asked alike.

    Raises ConfigError if a number cannot work.
    """

    benchmarks: str
    """Names or files, comma-separated."""
    prompt_key: str = "problem"
    """Column of the problem in somebody's own file; dots reach inside."""
    answer_key: str = "answer"
    """Column of the gold answer there."""
    id_key: str = "id"
    """Column of the id there; a row without one is called by its number."""
    data_dir: str = ""
    """Folder with <benchmark>.jsonl; empty: the hub is asked."""
    samples: Count = 32
    """n of Avg@n and Pass@n: samples of each problem."""
    limit: Count | None = None
    """Only so many problems of each benchmark, the first ones; None: all."""
    seed: Seed = 1
    """Seed of the samples."""
    temperature: NotNegative | None = None
    """Temperature of the samples. None is the benchmark's own, here and in the next five."""
    top_p: Share | None = None
    """Share of the probability that samples come from."""
    top_k: TopK | None = None
    """Number of tokens that samples come from; -1: all."""
    repetition_penalty: Positive | None = None
    """vLLM's factor against tokens that were there before; 1.0: none."""
    max_tokens: Count | None = None
    """Longest response in tokens."""
    instruction: str | None = None
    """What follows each problem; empty: nothing."""
    system: str = ""
    """System prompt; empty: none."""
    chat: bool = True
    """Whether problems go through the model's chat template."""
    template_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of the chat template."""
    template_date: str = DATE
    """Date that a chat template gets which asks for today's."""
    revision: str = ""
    """Commit of a hub id."""
    engines: Count = 1
    """vLLM engines, each on its own GPUs."""
    tensor_parallel_size: Count = 1
    """GPUs of one engine."""
    dtype: str = "bfloat16"
    """Number format of the engines, one of DTYPES; on the CPU stack bfloat16 becomes float32."""
    gpu_memory_utilization: Share = 0.9
    """Share of each GPU that an engine may take."""
    ray_address: str = "local"
    """local: a Ray of its own; auto, or an address: one that runs."""
    base_url: str = ""
    """Address of an OpenAI-compatible server; empty: engines sample."""
    served_model: str = ""
    """What that server calls the model, if it serves several."""

    def __post_init__(self) -> None:
        check_ranges(self, lambda name: f"--{name.replace('_', '-')}")
        if self.template_args and not self.chat:
            raise ConfigError("--template-args are for the chat template, which --no-chat leaves out; give one of them")
        check_date(self.template_date, "--template-date")
        check_ray(self.ray_address, "--ray-address")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "EvalSettings":
        """The settings among values by name; what is None or not there is at its default."""
        names = [f.name for f in fields(cls)]
        return cls(**{name: values[name] for name in names if values.get(name) is not None})

    @property
    def columns(self) -> Columns:
        """Columns of somebody's own file."""
        return Columns(id=self.id_key, problem=self.prompt_key, answer=self.answer_key)

    @property
    def sampling(self) -> dict[str, Any]:
        """lm-eval's generation_kwargs that were asked for."""
        asked = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "repetition_penalty": self.repetition_penalty,
            "max_gen_toks": self.max_tokens,
        }
        return {k: v for k, v in asked.items() if v is not None}


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """Two models and how both are asked."""

    before: str
    """Folder or hub id of the first model."""
    after: str
    """Folder or hub id of the second one."""
    out: Path
    """Folder of pair.json, with a folder of samples, results and report for each model."""
    asked: EvalSettings
    """How both are asked."""

    @classmethod
    def of(cls, flags: Mapping[str, Any]) -> "PairSettings":
        """The settings that flags ask for; what they leave out comes from the training run that `run` names.

        Raises ConfigError for what is missing, or names one model alone.
        """
        known = of_a_run(flags["run"]) if flags["run"] else {}
        values = known | {name: value for name, value in flags.items() if value is not None}
        for name in ("before", "after", "benchmarks", "out"):
            if values.get(name) is None:
                raise ConfigError(f"--{name} is missing")
        if values["base_url"] or values["revision"]:
            raise ConfigError(
                "--base-url and --revision name one model; score each with scope-eval run, then scope-eval compare"
            )
        asked = EvalSettings.of(values)
        return cls(before=values["before"], after=values["after"], out=values["out"], asked=asked)


def of_a_run(run: Path) -> dict[str, Any]:
    """What a training run's config says of its evaluation, and of its prompts, under the names of flags."""
    file = run / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"{run} is no run: there is no {file}; make train first, or name another with --run")
    try:
        config = Config.from_dict(yaml.safe_load(file.read_text()))
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    asked = asdict(config.eval)
    file_of_problems = asked.pop("path") or None
    return asked | {
        "before": config.student.path,
        "after": str(run / "model"),
        "benchmarks": file_of_problems,
        "out": run / "eval",
        "seed": config.seed,
        "system": config.data.system,
        "template_args": config.student.template_args,
        "template_date": config.student.template_date,
    }
