import subprocess
import sys

import pytest

from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

MINIMAL = {"name": "r", "data": {"path": "d.jsonl"}, "student": {"path": "s"}, "teacher": {"path": "t"}}


def test_an_unknown_key_is_refused_with_the_nearest_known_one():
    with pytest.raises(ConfigError, match=r"unknown key teacher.replica; did you mean teacher.replicas\?"):
        Config.from_dict(MINIMAL | {"teacher": {"path": "t", "replica": 2}})
    with pytest.raises(ConfigError, match=r"unknown key algoritm; did you mean algorithm\?"):
        Config.from_dict(MINIMAL | {"algoritm": "scope"})


def test_a_missing_key_says_what_to_set():
    with pytest.raises(ConfigError, match="student.path is missing; set student.path"):
        Config.from_dict(MINIMAL | {"student": {}})
    with pytest.raises(ConfigError, match="data is missing; it is a section with path"):
        Config.from_dict({k: v for k, v in MINIMAL.items() if k != "data"})


@pytest.mark.parametrize(
    "section, message",
    [
        ({"steps": "many"}, "steps must be of type int"),
        ({"steps": -1}, "steps must be at least 0"),
        ({"seed": True}, "seed must be of type int"),
        ({"teacher": {"path": "t", "replicas": 0}}, "teacher.replicas must be at least 1"),
        ({"name": "a/b"}, "name must be a plain folder name"),
        ({"name": ".."}, "name must be a plain folder name"),
        ({"name": "a\0b"}, "name must be a plain folder name"),
        ({"name": "\u00e9" * 101}, "name must be a plain folder name of at most 200 bytes"),
        ({"ray": {"address": "nowhere"}}, "ray.address must be local, auto or host:port, got 'nowhere'"),
        ({"openrlhf": {"actor": {"adam.lr": "-1e-4"}}}, "openrlhf.actor.adam.lr must be above 0, got -0.0001"),
        ({"openrlhf": {"actor.adam.betas": [0.9, 1]}}, "openrlhf.actor.adam.betas must be .* below 1, got 1"),
        ({"openrlhf": {"rollout.temperature": 0.0}}, "openrlhf.rollout.temperature must be above 0, got 0"),
        ({"openrlhf": {"ckpt.save_steps": 0}}, "openrlhf.ckpt.save_steps must be at least 1, or -1, got 0"),
        ({"algorithm": {"tau": 1.0}}, "algorithm.name is missing"),
        ({"eval": 3}, "eval must be a section of keys"),
        ({"teacher": {"gpu_fraction": 0}}, "teacher.gpu_fraction must be above 0 and at most 1, got 0"),
        (
            {"teacher": {"placement": "colocate", "tensor_parallel_size": 2}},
            "teacher shares GPUs .* set teacher.tensor_parallel_size to 1",
        ),
        ({"teacher": {"placement": "near"}}, "teacher.placement must be one of pack, spread, colocate, got 'near'"),
        (
            {"teacher": {"path": "tests", "revision": "abc"}},
            "teacher.revision is a commit of the hub, teacher.path is none of its ids",
        ),
        (
            {"teachers": {"math": {"path": "m", "temperatur": 1}}},
            "unknown key teachers.math.temperatur; did you mean teachers.math.temperature",
        ),
        (
            {"teachers": {"math": {"path": "m", "temperature": 2}}},
            "teachers.math.temperature is 2.0, but it is one for all teachers",
        ),
        ({"teachers": {"math": {"replicas": 2}}}, "teachers.math has neither path nor urls"),
        ({"teachers": {"math": "m"}}, "teachers.math must be a section of keys, got 'm'"),
    ],
)
def test_a_wrong_value_names_its_key(section, message):
    with pytest.raises(ConfigError, match=message):
        Config.from_dict(MINIMAL | section)


def test_a_named_teacher_takes_from_the_other_all_but_the_model():
    raw = MINIMAL | {
        "teacher": {"path": "t", "replicas": 3, "dtype": "float32"},
        "teachers": {"math": {"path": "m", "dtype": "bfloat16"}},
    }
    config = Config.from_dict(raw)
    assert list(config.all_teachers) == ["", "math"]
    math = config.teachers["math"]
    assert (math.path, math.replicas, math.dtype) == ("m", 3, "bfloat16")
    assert Config.from_dict(config.to_dict()) == config
    assert list(Config.from_dict(raw | {"teacher": {}}).all_teachers) == ["math"]


def test_overrides_reach_nested_dotted_and_short_keys(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(
        "name: r\ndata: {path: d}\nstudent: {path: s}\nteacher: {path: t}\nalgorithm: scope\n"
        "openrlhf: {actor: {adam.lr: 1}}\n"
    )
    config = Config.load(
        file, ["algorithm.tau=0.5", "openrlhf.actor.adam.lr=1e-4", "eval.path=", "steps=3", "ray.num_gpus=4"]
    )
    assert config.algorithm == {"name": "scope", "tau": 0.5}
    assert config.openrlhf == {"actor.adam.lr": "1e-4"}  # YAML leaves it text; OpenRLHF's parser makes it a number
    assert (config.eval.path, config.steps, config.ray.num_gpus) == ("", 3, 4)
    assert Config.from_dict(config.to_dict()) == config


def test_a_config_starts_from_the_values_of_its_base(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/first.yaml").write_text(
        "name: a\ndata: {path: d, prompt_key: q}\nstudent: {path: s}\nteacher: {path: t, replicas: 4}\n"
        "algorithm: {name: scope, tau: 2.0}\nopenrlhf: {actor: {adam.lr: 1}, ds.zero_stage: 3}\n"
    )
    second, third = tmp_path / "second.yaml", tmp_path / "third.yaml"
    second.write_text(
        "base: shared/first.yaml\nname: b\ndata: {path: e}\nalgorithm: opd\n"
        "openrlhf: {actor.adam.lr: 2, ds.zero_stage: null}\n"
    )
    third.write_text("base: second.yaml\nalgorithm: {clip_low: 0.1}\n")
    config = Config.load(third, ["teacher.replicas=2"])
    assert (config.name, config.data.path, config.data.prompt_key, config.teacher.replicas) == ("b", "e", "q", 2)
    assert config.algorithm == {"name": "opd", "clip_low": 0.1}  # of another algorithm nothing is left
    assert config.openrlhf == {"actor.adam.lr": 2, "ds.zero_stage": None}
    assert Config.from_dict(config.to_dict()) == config


def test_a_base_that_cannot_be_read_or_leads_back_says_who_named_it(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("base: two.yaml\nname: r")
    with pytest.raises(ConfigError, match=r"cannot read the config .*two.yaml: No such file.*it is the base of .*one"):
        Config.load(one, [])
    two.write_text("base: one.yaml")
    with pytest.raises(ConfigError, match="has one.yaml as its base, which starts from"):
        Config.load(one, [])
    one.write_text("base: [two.yaml]")
    with pytest.raises(ConfigError, match=r"base must be the path of a config file, got \['two.yaml'\]"):
        Config.load(one, [])
    with pytest.raises(ConfigError, match="base stands in the config file"):
        Config.load("examples/cpu_tiny.yaml", ["base=x"])


def test_an_override_without_a_value_and_a_file_that_is_no_yaml_are_refused(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("name: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        Config.load(file, [])
    file.write_text("name: r")
    with pytest.raises(ConfigError, match="must have the form key=value"):
        Config.load(file, ["steps"])
    with pytest.raises(ConfigError, match=r"'name=\[1' is not YAML"):
        Config.load(file, ["name=[1"])
    with pytest.raises(ConfigError, match="name is no section, so name.x cannot be set"):
        Config.load(file, ["name.x=1"])
    with pytest.raises(ConfigError, match="cannot read the config"):
        Config.load(tmp_path / "none.yaml", [])
    with pytest.raises(
        ConfigError, match="'student.template_date=2024-13-01' is not YAML"
    ):  # a month that there is not
        Config.load(file, ["student.template_date=2024-13-01"])
    for content in (b"name: 2024-13-01", b"name: \xff"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="c.yaml is not YAML"):
            Config.load(file, [])


def test_reading_a_config_imports_neither_torch_nor_ray():
    code = (
        "import sys, scope_openrlhf.run.cli; "
        "print(sorted({'torch', 'ray', 'vllm', 'openrlhf', 'transformers'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_knobs_by_algorithm_are_those_of_the_chosen_one_and_what_stands_under_algorithm_comes_first():
    presets = {"rlsd": {"hint": "{answer}", "mix": 0.1}, "opd": {"top_k": 4}}
    base = {"name": "r", "data": {"path": "d"}, "student": {"path": "s"}, "algorithms": presets}
    assert Config.from_dict(base | {"algorithm": "rlsd"}).algorithm == {"name": "rlsd", "hint": "{answer}", "mix": 0.1}
    assert Config.from_dict(base | {"algorithm": {"name": "rlsd", "mix": 0.4}}).algorithm == {
        "name": "rlsd",
        "hint": "{answer}",
        "mix": 0.4,
    }
    assert Config.from_dict(base | {"algorithm": "grpo"}).algorithm == {"name": "grpo"}
    again = Config.from_dict(base | {"algorithm": "rlsd"}).to_dict()
    assert Config.from_dict(again).to_dict() == again  # as the workers of a run read it
    with pytest.raises(ConfigError, match="algorithms must be a section of keys"):
        Config.from_dict(base | {"algorithm": "rlsd", "algorithms": ["rlsd"]})


def test_a_mistake_in_what_teachers_share_is_told_where_the_user_made_it():
    raw = {"name": "r", "data": {"path": "d"}, "student": {"path": "s"}}
    raw |= {"teachers": {"math": {"path": "m"}}, "teacher": {"replica": 2}}
    with pytest.raises(ConfigError, match=r"unknown key teacher\.replica; did you mean teacher\.replicas\?"):
        Config.from_dict(raw)
