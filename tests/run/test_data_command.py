"""`scope-train data`: what it shows of data, when it refuses them, and that no text of theirs can run."""

import json
from pathlib import Path

import house
import pytest

from scope_openrlhf.data.problems import load_problems
from scope_openrlhf.run import cli
from scope_openrlhf.run.data_check import check_data
from scope_openrlhf.run.data_command import config_of
from scope_openrlhf.run.data_page import bars, page_data
from scope_openrlhf.run.data_text import summary, visible
from scope_openrlhf.settings.errors import ConfigError

STUDENT = "student.path=examples/tiny/student"
HOSTILE = r"</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'> $\frac{1}{2}$ <|end|>"
SOUND = [{"problem": f"{i}+{i}?", "answer": 2 * i} for i in range(40)]
ODD = [
    {"problem": "1 + 1 ?", "answer": "2"},  # row 40 is row 1, but for spaces
    {"problem": "2+2?", "answer": "5"},  # row 41 is row 2, which has 4
    {"id": "<b>odd</b>", "problem": HOSTILE, "answer": r"$\sqrt{2}$"},
]


def write(file: Path, rows: list[dict]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def said(capfd, *words: str, code: int = 0) -> str:
    """What the command printed on stdout, or on stderr where it ends with another code than 0."""
    found = cli.main(["data", *words])
    told = capfd.readouterr()
    assert found == code, told.err
    return told.out if code == 0 else told.err


def data_of(file: Path) -> dict:
    return json.loads(file.read_text().partition('id="data">')[2].partition("</script>")[0])


def test_rows_are_shown_as_the_student_gets_them_and_each_gold_as_it_is_read(tmp_path, capfd):
    text = said(capfd, "examples/data/gsm8k.jsonl", STUDENT, "--rows", "1", "--page", str(tmp_path / "data.html"))
    text = text.replace(f"{tmp_path}/", "")
    assert (
        "\n    <|user|>30+9+4-8?<|assistant|>\n  written     30+9=39 39+4=43 43-8=35 #### 35\n  gold        35 (number)"
        in text
    )
    assert f"```\n{text}```" in Path("docs/data.md").read_text()


def test_a_config_says_what_is_read_and_what_fits_and_which_problems_are_held_out(capfd):
    text = said(capfd, "--config", "examples/cpu_tiny.yaml", "algorithm=opsd", "openrlhf.data.max_len=71", "--rows=1")
    assert "  solution    column expert_trace (data.trace_key)\n" in text
    assert "  solution    30+9=39;39+4=43;43-8=35;\\boxed{35}\n" in text
    assert "  0 are longer than 17: openrlhf.data.max_len 71 less 54 for the response" in text
    assert "held out: none of the 400 problems of eval.path examples/tiny/heldout.jsonl is in the data" in text


def test_without_a_student_chat_messages_are_shown_and_it_says_so(capfd):
    text = said(capfd, "examples/data/verl.parquet", "--rows", "1")
    assert "as chat messages, without lengths; student.path=... shows them as a model gets them" in text
    assert "    user: 38-6+7-4?\n" in text and "tokens" not in text


def test_repeats_other_answers_and_special_tokens_are_told(tmp_path, capfd):
    text = said(capfd, write(tmp_path / "d.jsonl", SOUND + ODD), STUDENT, "--rows=0")
    assert "duplicates: 2 of 43 rows repeat a problem (1 letter for letter, 1 but for case" in text
    assert "1 of them have another answer than the first time: row 41 is row 2" in text
    assert "special tokens: 1 problems hold some in their own text (the first: row <b>odd</b>)" in text


def test_what_training_refuses_is_shown_and_refused_with_a_line_for_each_reason(tmp_path, capfd):
    bad = [
        {"problem": 7, "answer": "2"},
        *({"problem": f"{i}?", "answer": "proof"} for i in range(3)),
        {"problem": "x"},
    ]
    file = write(tmp_path / "d.jsonl", SOUND + bad)
    assert cli.main(["data", file, STUDENT, "openrlhf.rollout.batch_size=64", "openrlhf.data.max_len=8"]) == 2
    told = capfd.readouterr()
    assert "row 40\n    7\n" in told.out and "  fault       no prompt: it is 7, of type int" in told.out
    assert "golds  41 of 45 can be graded: number 41\n  4 cannot (8.9%): row 41 and 2 more: 'proof' is no" in told.out
    assert [line[:60] for line in told.err.splitlines()] == [
        f"error: 1 of 45 rows of {file} have no prompt"[:60],
        f"error: data.path {file}, 'answer': 4 of 45 rows"[:60],
        "error: 30 prompts do not fit: row 10 has 8 tokens and 1 are kept for the response"[:60],
        "error: the data have 40 rows, fewer than openrlhf.rollout.batch_size 64"[:60],
    ]
    with pytest.raises(ConfigError, match="1 of 45 rows"):
        load_problems(config_of(None, [file])[0].data)
    sound = write(tmp_path / "s.jsonl", SOUND + bad[1:])
    assert "4 of 44 rows" in said(capfd, sound, code=2)
    assert "can be trained on: 40 of 44 rows" in said(capfd, sound, "data.skip_ungradable=true")


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("d.jsonl", "", "d.jsonl holds no rows"),
        (
            "d.jsonl",
            '{"Frage": "Wie viel ist 1+1?", "Zahl": 2}',
            "(problems may be in Frage; gold answers may be in Zahl",
        ),
        ("d.jsonl", '{"problem": "1+1? \\ud835", "answer": 2}', "line 1 holds half a surrogate pair"),
        ("d.jsonl", "[1]", "line 1 is no row: it is a list"),
        ("d.csv", "problem,answer,answer\n1+1?,2,3\n", "two columns with the name answer"),
        (
            "d.csv",
            "problem;answer\n1+1?;2;3\n",
            "line 2 has 3 fields, its first line 2; repair it: a field with a semicolon",
        ),
        ("d.txt", "1+1?", "d.txt is neither a .jsonl, .json or .parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_a_line(tmp_path, capfd, name, text, message):
    (tmp_path / name).write_text(text)
    told = said(capfd, str(tmp_path / name), code=2)
    assert message in told and told.count("\n") == 1


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "name one file of data, or a config by --config; got neither"),
        (["a.jsonl", "b.jsonl"], "got a.jsonl b.jsonl"),
        (["a.jsonl", "data.path_key=x"], "unknown key data.path_key"),
        (["examples/data/math.jsonl", "student.path=./none"], "student.path ./none is no model"),
        (["examples/data/math.jsonl", "--held-out", "tests/run"], "--held-out tests/run is a folder without a .jsonl"),
        (["--config", "examples/cpu_tiny.yaml", "data.answer_key=gold"], "answer_key (problems may be in problem or"),
        (["--config", "examples/cpu_tiny.yaml", "eval.path=none.jsonl"], "eval.path none.jsonl does not exist"),
    ],
)
def test_what_cannot_be_meant_is_told(capfd, words, message):
    assert message in said(capfd, *words, code=2)


def test_files_and_folders_of_held_out_problems_are_compared_in_columns_of_their_own(tmp_path, capfd):
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / "one.jsonl", [{"question": "3 + 3?", "answer": "6"}, {"question": "x?", "answer": "6"}])
    (tmp_path / "b" / "two.csv").write_text("problem\n9+9+9?\n")
    (tmp_path / "b" / "README.md").write_text("no rows")
    own = write(tmp_path / "b" / "d.jsonl", SOUND)
    text = said(capfd, own, "--held-out", str(tmp_path / "b"), "--held-out", "examples/tiny/heldout.jsonl")
    assert f"warning: 1 of 2 held-out problems of --held-out {tmp_path}/b/one.jsonl are in the data (0 letter" in text
    assert f"none of the 1 problems of --held-out {tmp_path}/b/two.csv" in text
    assert (
        "none of the 400 problems of --held-out examples/tiny/heldout.jsonl" in text and f"held-out {own}" not in text
    )


def test_lengths_are_summed_up_as_a_hand_counts_them():
    check = check_data(
        config_of(None, ["examples/data/gsm8k.jsonl", STUDENT, "openrlhf.data.max_len=14"])[0], [], print
    )
    ordered = sorted(check.prompts.lengths)
    assert summary(check) == {
        "min": 11,
        "median": ordered[7],
        "p95": 17,
        "max": 17,
        "over": sum(n > 13 for n in ordered),
    }
    assert bars([3, 3, 5]) == [(3, 3, 2), (4, 4, 0), (5, 5, 1)] and bars([]) == []
    assert [bar[:2] for bar in bars([1, 61])][-1] == (61, 63) and sum(bar[2] for bar in bars([1, 61])) == 2


def test_a_text_cannot_steer_the_terminal():
    assert visible("a\n\x1b[31m\u202eb\r") == "a\n\\x1b[31m\\u202eb\\r"


def test_no_engine_is_imported():
    graph, reached = house.graph(), {"scope_openrlhf.run.data_command"}
    while more := {other for module in reached for other in graph[module]} - reached:
        reached |= more
    libraries = {library for module in reached for library in house.libraries_of(house.modules()[module])}
    assert not libraries & {"vllm", "openrlhf", "deepspeed", "ray"} and "transformers" in libraries


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page of data with every kind of oddity, the oddest of whose texts try to run as script."""
    folder = tmp_path_factory.mktemp("data")
    bad = [{"problem": "y?", "answer": None}, {"problem": 7, "answer": "2"}]
    file = write(folder / "<i>d.jsonl", SOUND + ODD + bad)
    held = write(folder / "held.jsonl", [{"id": "h", "problem": "3+3?", "answer": "6"}])
    words = [file, STUDENT, "openrlhf.data.max_len=9", "--held-out", held, "--page", str(folder / "page.html")]
    assert cli.main(["data", *words]) == 2
    return folder / "page.html"


def test_the_page_has_rows_of_every_kind(page):
    data = data_of(page)
    kinds = {kind["name"]: kind["of"] for kind in data["kinds"]}
    assert kinds == {
        "all": 45,
        "ungradable gold": 1,
        "no prompt": 1,
        "too long": 1,
        "there before, with another answer": 1,
        "there before": 2,
        "held out": 1,
        "longest prompts": 43,
        "gold: number": 43,
        "gold: formula": 1,
    }
    assert data["rows"]["41"]["again"] == {"row": 2, "exact": True, "other": "4"} and len(data["refused"]) == 2
    assert data["faults"] == [["it is missing", 1, 43]] and data["columns"][0] == ["problem", "problem", "0+0?"]


def test_the_rows_of_a_page_are_some_of_each_kind():
    check = check_data(config_of("examples/cpu_tiny.yaml", [])[0], [], print)
    (all_rows, *_) = page_data(check, ())["kinds"]
    assert (all_rows["of"], len(all_rows["rows"]), all_rows["rows"][-1]) == (3200, 40, 3199)


@pytest.fixture(scope="module")
def opened(page, browser):
    browser.get_log("browser")  # of the pages before, whose texts were stopped
    browser.get(page.as_uri())
    return browser


def chosen(opened, kind: str) -> None:
    """Choose a kind of row, whose first one is then shown."""
    opened.execute_script(
        "const w = $('which'); w.value = data.kinds.findIndex((k) => k.name === arguments[0]); "
        "w.dispatchEvent(new Event('change'))",
        kind,
    )


def texts(opened, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
    return opened.execute_script(script, selector)


def test_texts_cannot_run_as_script_and_nothing_is_fetched(opened):
    for kind in ("all", "gold: formula", "too long"):
        chosen(opened, kind)
    assert opened.execute_script("return window.ran") is None
    assert opened.execute_script("return document.querySelectorAll('main img, main b, main i').length") == 0
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert [e["message"] for e in opened.get_log("browser") if e["level"] == "SEVERE"] == []


def test_special_tokens_are_marked_and_mathematics_is_typeset(opened):
    chosen(opened, "gold: formula")
    assert texts(opened, "#row .special") == ["<|user|>", "<|end|>", "<|assistant|>"]
    assert len(texts(opened, "#row .prompt math")) == 1 and len(texts(opened, "#row .gold math")) == 1
    chosen(opened, "there before, with another answer")
    assert texts(opened, "#row .warning") == ["Was there before: row 2, where the answer is 4"]
    assert len(texts(opened, "#verdict .warning")) == 2 and texts(opened, "#title")[0].endswith("<i>d.jsonl")


def test_a_telephone_needs_no_sideways_scrolling(opened):
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for kind in ("gold: formula", "held out", "no prompt"):
        chosen(opened, kind)
        assert opened.execute_script("return document.documentElement.scrollWidth") == 390
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
