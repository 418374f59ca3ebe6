import json
import re
from pathlib import Path

import pytest
import yaml

from scope_eval.benchmarks import TASKS, content_hash, dataset, gold_notes, how_asked, hub_row, names, task_of, tasks_of
from scope_openrlhf.data.benchmark import Columns, check
from scope_openrlhf.settings.errors import ConfigError

ROW = {"id": "a", "problem": "1+1?", "answer": "2"}


def write(file: Path, *rows) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def tasks() -> dict[str, dict]:
    return {
        f.stem.removeprefix("scope_"): yaml.safe_load(f.read_text().replace("!function ", ""))
        for f in TASKS.glob("*.yaml")
    }


def test_every_task_file_is_found_and_loaded_by_lm_eval(tmp_path):
    """lm-eval skips a YAML that fails to load at debug level, so ask for each."""
    from lm_eval.tasks import TaskManager

    for name in names():
        write(tmp_path / f"{name}.jsonl", ROW)
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata={"data_dir": str(tmp_path)})
    loaded = manager.load([f"scope_{name}" for name in names()])["tasks"]
    assert {"aime24", "aime25", "amc23", "math500", "minerva", "olympiad", "tiny"} == set(names())
    for name in names():
        task = loaded[f"scope_{name}"].config
        significant = name == "minerva"
        assert (
            (task.process_results.__name__ == "process_results_to_significant_figures")
            == significant
            == bool(task.metadata.get("significant"))
        )
        assert task.repeats == 32 and task.doc_to_text.endswith("\\boxed{}." if name != "tiny" else "{{problem}}")


def test_every_hub_benchmark_is_pinned_to_a_commit_or_says_that_it_is_not():
    for name, task in tasks().items():
        if hub := task["dataset_kwargs"].get("hub"):
            assert re.fullmatch("[0-9a-f]{40}", hub["revision"]) or (name == "minerva" and hub["revision"] == "main"), (
                name
            )


def test_a_data_dir_is_read_instead_of_the_hub(tmp_path):
    write(tmp_path / "aime24.jsonl", ROW | {"answer": 2, "source": "x"}, ROW | {"id": 7})
    rows = dataset("aime24", data_dir=str(tmp_path), hub={"path": "nobody/nothing"})["test"]
    assert rows[0] == ROW | {"stratum": "all"} and rows[1]["id"] == "7"
    write(tmp_path / "tiny.jsonl", ROW)
    assert (
        len(dataset("tiny", data_dir=str(tmp_path), default_file="examples/tiny/heldout.jsonl")["test"]) == 1
    )  # over what ships
    own = write(tmp_path / "own.jsonl", ROW, ROW | {"id": "b"})
    assert len(dataset("own", data_dir="/nowhere", file=str(own))["test"]) == 2  # somebody's own file stands for itself


def test_the_hash_is_of_ids_problems_and_golds_in_order():
    other = ROW | {"id": "b"}
    assert content_hash([ROW | {"source": "x"}]) == content_hash([ROW]) != content_hash([ROW | {"answer": "3"}])
    assert content_hash([ROW, other]) != content_hash([other, ROW])


@pytest.mark.parametrize(
    "rows, message",
    [
        ([], "holds no problems"),
        ([ROW, ROW | {"id": "b", "answer": None}], r"row 1 \(counted from 0\): answer is missing"),
        ([ROW | {"answer": "  "}], r"row 0 \(counted from 0\): answer: it is empty"),
        ([ROW | {"problem": " "}], "problem: it is empty"),
        ([ROW | {"problem": ""}], "problem is empty"),
        ([ROW | {"id": " "}], "id: it is empty"),
        ([ROW | {"problem": "What is in <image>?"}], "problem: it holds <image>, the place of a picture that nobody"),
        ([{"id": "a", "answer": "2"}], r"row 0 \(counted from 0\): problem is missing"),
        (["text"], r"row 0 \(counted from 0\) is no object but 'text'"),
        ([{"problem": "?", "reply": "2"}], "answer is missing.*its columns are problem, reply; .*--answer-key"),
        ([{"problem": "?", "answer": "2"}, ROW | {"id": 0}], r"row 1 .*: the id 0 was there before"),
        ([ROW, ROW], r"row 1 \(counted from 0\): the id a was there before"),
        ([ROW | {"problem": "\ud800"}], r"row 0 \(counted from 0\): problem: it holds half a surrogate"),
        ([ROW | {"answer": "\ud800"}], r"row 0 \(counted from 0\): it holds half a surrogate"),
        ([ROW | {"problem": [1]}], r"row 0 \(counted from 0\): problem: it is a list of int"),
        ([ROW | {"answer": {"value": 1}}], r"row 0 \(counted from 0\): answer: it is an object with value"),
        ([ROW | {"answer": float("nan")}], r"row 0 \(counted from 0\): answer: it is NaN"),
        (
            [ROW | {"answer": [""]}],
            r"row 0 \(counted from 0\): answer: it is a list, and of one of its parts: it is empty",
        ),
        ([ROW, ROW | {"id": "b", "answer": "proof"}], r"row 1 \(counted from 0\): answer: 'proof' is no answer"),
    ],
)
def test_rows_that_cannot_be_scored_are_named(rows, message):
    with pytest.raises(ConfigError, match=message):
        check(rows, "file")


def test_missing_data_say_what_to_give(tmp_path):
    with pytest.raises(
        ConfigError, match=r"there is no .*aime24.jsonl; it needs a file of rows with id, problem and answer"
    ):
        dataset("aime24", data_dir=str(tmp_path))
    with pytest.raises(ConfigError, match="line 1 is not JSON"):
        (tmp_path / "amc23.jsonl").write_text("{\n")
        dataset("amc23", data_dir=str(tmp_path))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        (tmp_path / "amc23.jsonl").write_bytes('{"id": "é"}'.encode("latin-1"))
        dataset("amc23", data_dir=str(tmp_path))
    with pytest.raises(ConfigError, match=r"did you mean math500.*A file is a benchmark too: .jsonl, .json"):
        task_of("math50")
    with pytest.raises(ConfigError, match="--benchmarks: there is no file nowhere.jsonl"):
        task_of("nowhere.jsonl")
    with pytest.raises(ConfigError, match="--benchmarks names tiny twice"):
        tasks_of("tiny, aime24,tiny")
    with pytest.raises(ConfigError, match="--benchmarks names none"):
        tasks_of(" ,")


def test_a_hub_that_does_not_answer_says_what_to_do(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="the hub does not give math-ai/nothing .*give --data-dir with a amc23.jsonl"):
        dataset(
            "amc23",
            hub={
                "path": "math-ai/nothing",
                "revision": "main",
                "split": "test",
                "problem": "problem",
                "answer": "answer",
            },
        )


def test_rows_of_the_hub_come_under_our_names():
    hub = tasks()["aime24"]["dataset_kwargs"]["hub"]
    assert hub_row("aime24", 3, {"problem": "?", "solution": r"\boxed{204}"}, hub) == {
        "id": "aime24-3",
        "problem": "?",
        "answer": r"\boxed{204}",
    }
    hub = tasks()["olympiad"]["dataset_kwargs"]["hub"]
    row = {"id": 1606, "question": "?", "final_answer": ["$1$", "2"]}
    assert hub_row("olympiad", 0, row, hub) == {"id": "olympiad-1606", "problem": "?", "answer": ["$1$", "2"]}
    hub = tasks()["math500"]["dataset_kwargs"]["hub"]
    row = {"unique_id": "test/algebra/1.json", "problem": "?", "answer": r"\frac{1}{2}"}
    assert hub_row("math500", 0, row, hub)["id"] == "test/algebra/1.json"


def test_golds_are_read_as_in_training():
    golds = (27.0, 0.5, 3, ["$1$", "2"], "016", r"\boxed{204}", "9*2\n#### 18", '["2", "3"]')
    rows = check([ROW | {"id": n, "answer": gold} for n, gold in enumerate(golds)], "file")
    assert [row["answer"] for row in rows] == ["27", "0.5", "3", "$1$, 2", "016", "204", "18", "2, 3"]
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]
    (row,) = check([ROW | {"problem": chat}], "file")
    assert json.loads(row["problem"]) == chat


def test_columns_of_ones_own_are_mapped_and_a_row_without_an_id_is_called_by_its_number(tmp_path):
    rows = [{"q": "1+1?", "gold": {"value": 2}}, {"q": "1+2?", "gold": {"value": 3}, "key": "b"}]
    columns = Columns(id="key", problem="q", answer="gold.value")
    checked = [
        {"id": "0", "problem": "1+1?", "answer": "2", "stratum": "all"},
        {"id": "b", "problem": "1+2?", "answer": "3", "stratum": "all"},
    ]
    assert check(rows, "file", columns) == checked
    asked = task_of(str(write(tmp_path / "own.jsonl", *rows)), columns)[1]["dataset_kwargs"]
    assert list(dataset(**asked)["test"]) == checked
    assert "columns" not in task_of(str(tmp_path / "own.jsonl"))[1]["dataset_kwargs"]


def test_golds_that_cannot_be_read_are_said_and_left_in():
    rows = [ROW, ROW | {"id": "b", "answer": "t(0,4]"}]
    assert len(check(rows, "file")) == 2 and gold_notes([ROW]) == []
    told = "1 of 2 rows have no gold answer that can be graded (counted from 0; row 1: 't(0,4]' cannot be read"
    assert gold_notes(rows)[0].startswith(told)


def test_how_a_benchmark_is_asked_is_one_line():
    params = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "max_tokens": 32768, "seed": 1}
    assert how_asked("mine", ["<u>1+1?\n\nThink.<a>", "x"], 4, params) == (
        "mine: 2 problems x 4 samples; temperature 0.6, top_p 0.95, top_k 20, max_tokens 32768; the first prompt ends "
        "in '<u>1+1?\\n\\nThink.<a>'"
    )
