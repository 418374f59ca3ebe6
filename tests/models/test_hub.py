"""A hub that does not answer is told at once, and never tried for minutes."""

import time
from pathlib import Path

import huggingface_hub.constants
import pytest

from scope_openrlhf.models import loading
from scope_openrlhf.run.cli import main
from scope_openrlhf.settings.errors import ConfigError

MODEL = "org/model"
"""One whose shape is not known here."""


@pytest.fixture
def no_hub(tmp_path, monkeypatch):
    """A hub at whose address nobody listens, and an empty cache, which is returned."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_plan_without_a_hub_says_in_one_line_that_the_model_could_not_be_fetched_and_what_to_do(no_hub, capfd):
    assert main(["plan", "--config", "examples/cpu_real.yaml", f"student.path={MODEL}"]) == 2
    said = capfd.readouterr().err.strip()
    assert said.count("\n") == 0
    assert said.startswith(f"error: student.path {MODEL} could not be fetched, http://127.0.0.1:9 does not answer (")
    assert f"hf download {MODEL} --local-dir FOLDER) and set student.path=FOLDER" in said


def test_a_hub_that_does_not_answer_is_asked_once(no_hub):
    began = time.process_time()
    with pytest.raises(ConfigError, match=r"teacher\.path org/model could not be fetched"):
        loading.check_model("org/model", "teacher.path")
    assert loading.load_tokenizer("org/model", optional=True) is None
    assert time.process_time() - began < 3


def test_a_model_that_was_downloaded_before_is_named_as_such(no_hub):
    commit, folder = "0" * 40, no_hub / "models--org--model"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "snapshots" / commit / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="set HF_HUB_OFFLINE=1 to use that copy"):
        loading.check_model("org/model", "student.path")


def test_a_folder_that_holds_a_gguf_file_alone_is_told_how_it_becomes_a_model(tmp_path):
    Path(tmp_path / "model.Q4_1.gguf").touch()
    with pytest.raises(ConfigError, match="a GGUF file alone cannot be trained"):
        loading.check_model(str(tmp_path), "student.path")


def test_a_path_of_three_names_is_a_folder_that_is_not_there_and_no_id_of_the_hub(no_hub):
    with pytest.raises(ConfigError, match="--model runs/a/model is no model: there is no runs/a/model/config.json"):
        loading.check_model("runs/a/model", "--model")
