"""`scope-train config`: what keys mean, what a config sets them to and where, and the schema that editors read."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from scope_openrlhf import algorithms
from scope_openrlhf.run import cli
from scope_openrlhf.run.config_command import read_source
from scope_openrlhf.run.keys import knobs, sections
from scope_openrlhf.run.schema import FILE
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

TINY = "examples/cpu_tiny.yaml"
EXAMPLES = [str(f) for f in [*Path("examples").glob("*.yaml"), *Path("examples/data").glob("*.yaml")]]
VALIDATOR = jsonschema.Draft7Validator(json.loads(FILE.read_text()))


def said(capfd, *arguments: str) -> str:
    assert cli.main(["config", *arguments]) == 0
    return " ".join(capfd.readouterr().out.split())


def test_without_a_name_every_key_and_every_knob_is_explained(capfd):
    text = said(capfd)
    for key in [*(k for keys in sections().values() for k in keys), *(k for k, _ in knobs())]:
        assert f"{key.name}: default {key.default}".replace("\n", " ") in text and " ".join(key.meaning.split()) in text


@pytest.mark.parametrize("name", algorithms.known())
def test_an_algorithm_is_explained_with_its_knobs_and_their_defaults(capfd, name):
    text = said(capfd, f"algorithm.{name}")
    assert text.startswith(f"[algorithm {name}] ")
    assert text.count(": default ") == len(vars(algorithms.load(name).knobs))


def test_a_section_a_key_and_the_end_of_a_key_are_explained(capfd):
    assert said(capfd, "teacher").count("teacher.") >= 20
    text = (
        "teacher.replicas: default 1 Engines in the teacher group. Any of them may die while another lives. At least 1."
    )
    assert said(capfd, "teacher.replicas") == f"[teacher] {text}"
    assert "openrlhf.rollout.temperature: default 1.0" in said(capfd, "rollout.temperature")
    assert "openrlhf.actor.adam.lr: default 1e-06" in said(capfd, "openrlhf.actor.adam")
    assert "teacher.path" in said(capfd, "teachers.math.path")


@pytest.mark.parametrize(
    "name, near",
    [
        ("techer", "teacher"),
        ("teacher.replica", "teacher.replicas"),
        ("algorithm.cep", "algorithm.cepo"),
        ("openrlhf.rollout.temprature", "openrlhf.rollout.temperature"),
    ],
)
def test_a_wrong_name_gives_the_nearest(capfd, name, near):
    assert cli.main(["config", name]) == 2
    assert f"there is no {name}; did you mean {near}?" in capfd.readouterr().err


def test_with_a_config_each_value_says_where_it_was_set(capfd):
    source = read_source(
        TINY, ["algorithm=rlsd", "algorithm.mix=0.1", "openrlhf.actor.adam.lr=1e-3", "eval={path: x}"], False
    )
    origins = {
        "steps": "file",
        "runs": "default",
        "algorithm.name": "command line",
        "algorithm.hint": "file",  # among its presets
        "algorithm.mix": "command line",
        "algorithm.mix_steps": "default",
        "openrlhf.actor.adam.lr": "command line",
        "openrlhf.rollout.batch_size": "file",
        "openrlhf.rollout.top_p": "default",
        "eval.path": "command line",
        "student.template_args": "default",
    }
    assert {key: source.origin(key) for key in origins} == origins
    text = said(capfd, "steps", "seed", "teacher.dtype", "--config", TINY, "seed=7")
    assert (
        "steps: 100 (file) " in text
        and "seed: 7 (command line) " in text
        and "teacher.dtype: bfloat16 (default)" in text
    )


def test_what_is_left_open_is_resolved_on_demand(capfd):
    text = said(capfd, "steps", "teacher", "ray", "--resolve", "--config", TINY, "steps=0")
    rows = len(Path("examples/tiny/train.jsonl").read_text().splitlines())
    assert f"steps: 0 (command line), resolved to {rows // 16} " in text
    assert "teacher.temperature: 0.0 (default), resolved to 0.6 " in text
    assert "teacher.max_model_len: 0 (default), resolved to 128 " in text
    assert "teacher.replicas: 1 (default) " in text


def test_a_whole_config_shows_the_flags_that_it_sets(capfd):
    text = said(capfd, "--config", TINY, "openrlhf.actor.max_norm=2.0")
    assert "openrlhf.rollout.batch_size: 16 (file) " in text and "openrlhf.actor.max_norm: 2.0 (command line) " in text
    assert "openrlhf.rollout.top_p" not in text


def test_values_without_a_config_are_refused(capfd):
    assert cli.main(["config", "steps=1"]) == 2
    assert "--config" in capfd.readouterr().err


def test_the_schema_that_is_printed_is_the_one_that_is_shipped(capfd):
    assert cli.main(["config", "--schema"]) == 0
    assert capfd.readouterr().out == FILE.read_text()


@pytest.mark.parametrize("file", EXAMPLES)
def test_every_example_names_the_schema_in_its_first_line_and_fits_it(file):
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", Path(file).read_text())
    assert found and (Path(file).parent / found[1]).resolve() == FILE.resolve()
    VALIDATOR.validate(yaml.safe_load(Path(file).read_text()))


@pytest.mark.parametrize(
    "section",
    [
        {"stepz": 1},
        {"steps": "many"},
        {"steps": -1},
        {"seed": 2**32},
        {"eval": {"top_p": 0}},
        {"eval": {"sample": 4}},
        {"teacher": {"placement": "near"}},
        {"teacher": {"urls": "http://h"}},
        {"teachers": {"math": {"replica": 1}}},
        {"algorithm": "scop"},
        {"algorithm": {"name": "grpo", "tau": 1.0}},
        {"algorithm": {"name": "scope", "tau": 0}},
        {"algorithms": {"rlsd": {"tau": 1.0}}},
        {"openrlhf": {"rollout.batchsize": 1}},
        {"openrlhf": {"actor.adam.lr": -1}},
        {"openrlhf": {"train.seed": 1}},
        {"openrlhf": {"actor.dual_clip": 3.0}},
        {"openrlhf": {"vllm.enforce_eager": "yes"}},
    ],
)
def test_wrong_types_ranges_and_unknown_keys_do_not_fit_the_schema_nor_the_code(section):
    raw = yaml.safe_load(Path(TINY).read_text())
    assert not VALIDATOR.is_valid(raw | section)
    assert VALIDATOR.is_valid(raw)


def test_what_the_code_takes_fits_the_schema():
    raw = yaml.safe_load(Path(TINY).read_text())
    raw |= {"openrlhf": {"actor": {"adam.lr": "1e-4"}, "ds.zero_stage": 2}, "teachers": {"math": {"path": "m"}}}
    for algorithm in ("opd", {"name": "scope", "tau": 2}):
        VALIDATOR.validate(raw | {"algorithm": algorithm})
    VALIDATOR.validate(Config.from_dict(raw).to_dict())


def test_a_config_that_cannot_work_is_told_as_ever():
    with pytest.raises(ConfigError, match="unknown key stepz"):
        read_source(TINY, ["stepz=1"], False)
