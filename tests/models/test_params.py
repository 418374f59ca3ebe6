"""A model whose params are not all there is told with the file, before an engine starts."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from scope_eval import cli as scope_eval
from scope_openrlhf.models.params import INDEX, check_params
from scope_openrlhf.run.plan import make_plan
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

STUDENT = Path("examples/tiny/student")


@pytest.fixture
def model(tmp_path) -> Path:
    """A model in two files, with an index."""
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.zeros(4)}, folder / "one.safetensors")
    save_file({"b": torch.zeros(4), "c": torch.zeros(2)}, folder / "two.safetensors")
    names = {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}
    (folder / INDEX).write_text(json.dumps({"weight_map": names}))
    return folder


def test_whole_models_other_formats_and_hub_ids_are_left_alone(model, tmp_path):
    check_params(str(model), "student.path")
    check_params(str(STUDENT), "student.path")
    check_params("Qwen/Qwen3-1.7B", "student.path")
    (tmp_path / "pytorch_model.bin").touch()
    check_params(str(tmp_path), "student.path")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


BREAKS = {
    "a cut file": (lambda m: cut(m / "two.safetensors"), r"two.safetensors has \d+ bytes, its header says \d+"),
    "a cut header": (lambda m: (m / "one.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{"), "one.safetensors is cut"),
    "an empty file": (lambda m: (m / "one.safetensors").write_bytes(b""), r"one.safetensors is cut .*\(0 bytes\)"),
    "no JSON": (lambda m: (m / "one.safetensors").write_bytes(b"\x01\0\0\0\0\0\0\0{"), "one.safetensors has a broken"),
    "a missing file": (
        lambda m: (m / "two.safetensors").unlink(),
        "two.safetensors, which .*index.json names, is miss",
    ),
    "a tensor elsewhere": (
        lambda m: save_file({"b": torch.zeros(4)}, m / "two.safetensors"),
        "two.safetensors lacks c, which model.safetensors.index.json names",
    ),
    "a broken index": (lambda m: (m / INDEX).write_text("{"), "model.safetensors.index.json is broken"),
    "an index of nothing": (lambda m: (m / INDEX).write_text("[]"), "model.safetensors.index.json is broken"),
    "a pointer": (
        lambda m: (m / "one.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "one.safetensors is a pointer of Git LFS",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_model_that_is_not_whole_is_told_with_the_file(model, name):
    spoil, message = BREAKS[name]
    spoil(model)
    with pytest.raises(ConfigError, match=f"^teacher.path .*model cannot be loaded: {message}"):
        check_params(str(model), "teacher.path")


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_a_run_with_a_cut_model_is_told_by_its_plan(tmp_path, who):
    copy = shutil.copytree(Path("examples/tiny") / who, tmp_path / "model")
    cut(copy / "model.safetensors")
    config = Config.load("examples/cpu_tiny.yaml", [f"runs={tmp_path}", f"{who}.path={copy}"])
    with pytest.raises(ConfigError, match=rf"{who}\.path .* model.safetensors has \d[\d,]+ bytes, its header says"):
        make_plan(config, dry=True)


def test_a_folder_without_params_is_told_by_an_evaluation(tmp_path, capsys):
    copy = shutil.copytree(STUDENT, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    assert scope_eval.main(["run", "--model", str(copy), "--out", str(tmp_path / "out")]) == 2
    assert "there is no .safetensors file in it; copy the params too" in capsys.readouterr().err
    assert not (tmp_path / "out" / "samples.sqlite").exists()
