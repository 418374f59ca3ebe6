"""`scope-train init` writes configs that `scope-train plan` takes, and says what it found in the data."""

import io
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from scope_openrlhf.run import cli
from scope_openrlhf.run.plan import make_plan
from scope_openrlhf.run.schema import FILE
from scope_openrlhf.settings.config import Config

STUDENT, TEACHER = "examples/tiny/student", "examples/tiny/teacher"
DATA = ["tiny/train.jsonl", "data/gsm8k.jsonl", "data/math.jsonl", "data/verl.parquet"]


def init(tmp_path: Path, *flags: str) -> Path:
    file = tmp_path / "mine.yaml"
    assert cli.main(["init", "--model", STUDENT, "--out", str(file), *flags]) == 0
    return file


@pytest.mark.parametrize("data", DATA)
def test_a_written_config_passes_the_plan(tmp_path, capfd, data):
    file = init(tmp_path, "--teacher", TEACHER, "--data", f"examples/{data}", "--where", "laptop")
    assert cli.main(["plan", "--config", str(file)]) == 0
    assert "dry run of mine: scope" in capfd.readouterr().out


@pytest.mark.parametrize("where", ["laptop", "gpu", "cluster"])
@pytest.mark.parametrize("algorithm", ["scope", "opd", "grpo", "rloo"])
def test_every_place_gets_a_config_that_can_work(tmp_path, where, algorithm):
    data = ["--data", "examples/data/gsm8k.jsonl", "--where", where]
    file = init(tmp_path, *data, "--algorithm", algorithm, "--teacher", TEACHER)
    assert make_plan(Config.load(file, []), dry=True).steps >= 1


def test_a_written_config_says_what_its_keys_mean_and_fits_the_schema(tmp_path):
    text = init(tmp_path, "--data", "examples/data/gsm8k.jsonl", "--where", "gpu").read_text()
    found = re.match(r"# yaml-language-server: \$schema=(\S+)", text)
    assert found and (tmp_path / found[1]).resolve() == FILE.resolve()
    jsonschema.validate(yaml.safe_load(text), json.loads(FILE.read_text()))
    assert text.count(" # ") >= 12 and max(map(len, text.splitlines()[1:])) <= 120


def test_what_was_found_in_the_data_is_shown_and_what_to_type_next(tmp_path, capfd):
    file = init(tmp_path, "--data", "examples/data/gsm8k.jsonl", "--where", "laptop")
    said = capfd.readouterr().out
    assert "examples/data/gsm8k.jsonl: 16 rows" in said and "columns     question, answer" in said
    assert "<|user|>30+9+4-8?" in said and "written     30+9=39 39+4=43 43-8=35 #### 35" in said
    assert "gold        35 (number)" in said and "golds  16 of 16 can be graded" in said
    for command in (
        f"scope-train data --config {file} --page",
        f"scope-train plan --config {file}",
        f"scope-train run --config {file}",
        "--run runs/mine",
    ):
        assert command in said


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "nobody can be asked without a terminal; give --data, --where"),
        (["--data", "examples/none.jsonl", "--where", "gpu"], "examples/none.jsonl does not exist"),
        (["--data", "examples/data/gsm8k.jsonl", "--where", "moon"], "--where moon is none of laptop, gpu, cluster"),
        (
            ["--data", "examples/data/gsm8k.jsonl", "--where", "gpu", "--algorithm", "scop"],
            "there is no algorithm scop; did you mean scope?",
        ),
        (
            ["--data", "examples/data/gsm8k.jsonl", "--where", "gpu", "--algorithm", "opd"],
            "algorithm opd needs a teacher; give --teacher",
        ),
        (
            ["--data", "examples/data/gsm8k.jsonl", "--where", "gpu", "--answer-key", "gold"],
            "set data.prompt_key and data.answer_key",
        ),
    ],
)
def test_what_cannot_work_is_told_and_nothing_is_written(tmp_path, capfd, flags, message):
    file = tmp_path / "mine.yaml"
    assert cli.main(["init", "--model", STUDENT, "--out", str(file), *flags]) == 2
    assert message in capfd.readouterr().err and not file.exists()


def test_a_file_that_is_there_stays(tmp_path, capfd):
    file = init(tmp_path, "--data", "examples/data/gsm8k.jsonl", "--where", "gpu")
    assert cli.main(["init", "--out", str(file)]) == 2
    assert "is there already; give another --out" in capfd.readouterr().err


def test_a_terminal_is_asked(tmp_path, capfd, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    said = [STUDENT, "examples/data/math.jsonl", "", TEACHER, "opd", "gpu"]
    monkeypatch.setattr("sys.stdin", Terminal("".join(f"{line}\n" for line in said)))
    file = tmp_path / "asked.yaml"
    assert cli.main(["init", "--out", str(file)]) == 0
    asked = capfd.readouterr().out
    assert [n for n in "12345" if f"{n}. " in asked] == list("12345") and "[problem solution]" in asked
    config = Config.load(file, [])
    assert (config.student.path, config.teacher.path, config.algorithm["name"]) == (STUDENT, TEACHER, "opd")
    assert (config.data.prompt_key, config.data.answer_key) == ("problem", "solution")
