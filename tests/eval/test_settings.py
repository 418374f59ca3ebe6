import typing

import pytest
import yaml

from scope_eval.settings import EvalSettings, PairSettings
from scope_openrlhf.data.benchmark import Columns
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.ranges import range_of

FLAGS = {"run": None, "before": None, "after": None, "benchmarks": None, "out": None, "base_url": "", "revision": ""}


@pytest.fixture
def run(tmp_path):
    """The folder of a training run whose config asks for 3 samples at temperature 0.8."""
    overrides = ["seed=7", "eval.samples=3", "eval.temperature=0.8", "eval.path=held.jsonl", "student.path=before"]
    overrides += ["eval.prompt_key=question", "eval.answer_key=gold.value", "eval.id_key=key"]
    overrides += ["data.system=Be brief.", "student.template_args.a=1", "student.template_date=2030-01-02"]
    folder = tmp_path / "run"
    folder.mkdir()
    config = Config.load("examples/cpu_tiny.yaml", overrides)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    return folder


def test_what_a_flag_does_not_say_is_at_its_default():
    settings = EvalSettings.of({"benchmarks": "tiny", "samples": None, "top_p": 0.5, "command": "run"})
    assert (settings.samples, settings.seed, settings.limit, settings.chat) == (32, 1, None, True)
    assert settings.sampling == {"top_p": 0.5}  # the rest is the benchmark's own


@pytest.mark.parametrize("name", ["samples", "limit", "engines", "tensor_parallel_size", "max_tokens"])
def test_a_number_that_cannot_work_is_refused_when_the_settings_are_made(name):
    with pytest.raises(ConfigError, match="must be at least 1"):
        EvalSettings(benchmarks="tiny", **{name: 0})


def test_a_training_run_says_what_flags_do_not(run):
    pair = PairSettings.of(FLAGS | {"run": run})
    assert (pair.before, pair.after, pair.out) == ("before", str(run / "model"), run / "eval")
    assert (pair.asked.benchmarks, pair.asked.samples, pair.asked.seed) == ("held.jsonl", 3, 7)
    assert pair.asked.sampling["temperature"] == 0.8
    assert pair.asked.columns == Columns(id="key", problem="question", answer="gold.value")
    asked = pair.asked
    assert (asked.system, asked.template_args, asked.template_date) == ("Be brief.", {"a": 1}, "2030-01-02")
    asked = PairSettings.of(FLAGS | {"run": run, "samples": 5, "after": "other", "temperature": 0.0}).asked
    assert (asked.samples, asked.sampling["temperature"]) == (5, 0.0)


def test_a_pair_without_two_models_or_of_a_model_served_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="--before is missing"):
        PairSettings.of(FLAGS)
    with pytest.raises(ConfigError, match="is no run: there is no .*config.yaml; make train first"):
        PairSettings.of(FLAGS | {"run": tmp_path})
    with pytest.raises(ConfigError, match="--base-url and --revision name one model"):
        PairSettings.of(FLAGS | {"run": run, "base_url": "http://127.0.0.1:9"})


def test_every_number_of_an_evaluation_has_a_range():
    hints = typing.get_type_hints(EvalSettings)
    full = typing.get_type_hints(EvalSettings, include_extras=True)
    numbers = [name for name, hint in hints.items() if {hint, *typing.get_args(hint)} & {int, float}]
    assert len(numbers) == 11 and all(range_of(full[name]) for name in numbers)
