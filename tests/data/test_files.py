"""Files that somebody else wrote: read exactly, or refused with file, line or row, and what to do."""

import datetime
import gzip
import json
import os
from decimal import Decimal

import numpy as np
import pytest

from scope_openrlhf.data.files import column, read
from scope_openrlhf.settings.errors import ConfigError

ROWS = [{"problem": "1+1?", "answer": "2"}, {"problem": "1+2?", "answer": "3"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
DIGITS = "9" * 5_000
HUGE = "1e99999999999999999999"


def written(tmp_path, name: str, content: str | bytes):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.jsonl", LINES),
        ("a.jsonl", "\ufeff" + LINES.replace("\n", "\r\n\n") + "  \n"),
        ("a.json", LINES),
        ("a.json", json.dumps(ROWS, indent=2)),
        ("a.json", json.dumps({"data": ROWS})),
        ("a.json", json.dumps({"version": 1, "train": ROWS})),
        ("a.json", json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]})),
        ("a.csv", "problem,answer\n1+1?,2\n1+2?,3\n"),
        ("a.csv", '\ufeffproblem,answer\r\n"1+1?",2\r\n\r\n1+2?,"3"\r\n'),
        ("a.csv", "\nproblem,answer\n1+1?,2\n1+2?,3\n"),
        ("A.JSONL", LINES),
    ],
)
def test_a_file_of_any_form_gives_its_rows(tmp_path, name, content):
    assert read(written(tmp_path, name, content)) == ROWS


def test_one_row_of_json_lines_in_a_json_is_a_row(tmp_path):
    assert read(written(tmp_path, "a.json", json.dumps(ROWS[0]))) == ROWS[:1]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_numbers_are_exact_beside_others(tmp_path, name):
    numbers = ["9007199254740993", "0.5", "-3", "1e400", "0.1234567890123456789", "27.0", "1.50", "1e3", HUGE]
    rows = ",\n".join(f'{{"answer": {number}}}' for number in numbers)
    text = rows.replace(",\n", "\n") if name == "a.jsonl" else f"[{rows}]"
    read_back = [row["answer"] for row in read(written(tmp_path, name, text))]
    assert read_back == [9007199254740993, 0.5, -3, "1e400", "0.1234567890123456789", 27.0, 1.5, 1000.0, HUGE]


def test_a_csv_holds_texts_alone(tmp_path):
    rows = read(written(tmp_path, "a.csv", 'answer,x\n007,nan\n9007199254740993,""\n"1,234","two\nlines"\n'))
    assert [row["answer"] for row in rows] == ["007", "9007199254740993", "1,234"]
    assert [row["x"] for row in rows] == ["nan", "", "two\nlines"]
    assert len(read(written(tmp_path, "b.csv", "answer\n" + "x" * 200_000))[0]["answer"]) == 200_000


def test_parquet_keeps_what_is_inside(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [
        {
            "prompt": [{"role": "user", "content": "1+1?"}],
            "reward_model": {"ground_truth": "2", "style": "rule"},
            "answer": 9007199254740993,
            "price": Decimal("1.20"),
            "raw": b"2",
            "day": datetime.date(2024, 7, 26),
            "all": ["2", "3"],
        }
    ]
    table = pyarrow.Table.from_pylist(rows).append_column("single", pyarrow.array([0.1], pyarrow.float32()))
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read(str(tmp_path / "a.parquet")) == [rows[0] | {"single": 0.1}]


def test_parquet_keeps_short_floats_as_they_are_written_and_reads_maps_as_objects(tmp_path):
    import pyarrow
    import pyarrow.parquet

    single, pairs = pyarrow.float32(), pyarrow.map_(pyarrow.string(), pyarrow.string())
    table = pyarrow.table(
        {
            "half": pyarrow.array([np.float16(0.1)]),
            "list": pyarrow.array([[0.1, None]], pyarrow.list_(single)),
            "object": pyarrow.array([{"answer": 0.3}], pyarrow.struct({"answer": single})),
            "map": pyarrow.array([[("ground_truth", "2")]], pairs),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    row = {"half": 0.1, "list": [0.1, None], "object": {"answer": 0.3}, "map": {"ground_truth": "2"}}
    assert read(str(tmp_path / "a.parquet")) == [row]


@pytest.mark.parametrize("kind, value", [("timestamp", 1), ("string", b"\xff")])
def test_a_parquet_column_that_python_cannot_hold_is_named(tmp_path, kind, value):
    import pyarrow
    import pyarrow.parquet

    there = pyarrow.timestamp("us", tz="Mars/Olympus") if kind == "timestamp" else pyarrow.binary()
    column = pyarrow.array([value], there)
    table = pyarrow.table({"seen": column if kind == "timestamp" else column.view(pyarrow.string())})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="cannot be read as parquet: column seen: .*; write it anew"):
        read(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jsonl", LINES + "[1, 2]\n", r"a\.jsonl, line 3 is no row: it is a list, not an object of columns"),
        ("a.jsonl", LINES + '"text"\n', "line 3 is no row: it is a text"),
        ("a.jsonl", LINES + "null\n", "line 3 is no row: it is null"),
        ("a.jsonl", LINES + "7\n", "line 3 is no row: it is the value 7"),
        ("a.jsonl", LINES + '{"problem": "1', "line 3 is not JSON: Unterminated string"),
        ("a.jsonl", LINES + f'{{"answer": {DIGITS}}}', "line 3 holds an integer of 5,000 digits"),
        ("a.jsonl", LINES + '{"answer": 2 3}', "line 3 is not JSON: Expecting ',' delimiter at character 14; repair"),
        ("a.json", '[{"a": 1},\n{"a": 2 3}]', "is not JSON: Expecting ',' delimiter at line 2, character 9 in row 1"),
        ("a.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS"),
        ("a.jsonl", LINES + '{"answer": "\\ud83d"}', "line 3 holds half a surrogate pair"),
        ("a.jsonl", LINES + '{"answer": "2", "answer": "3"}', "line 3 has the key 'answer' twice"),
        ("a.jsonl", LINES + "[" * 100_000, "line 3 is nested too deeply"),
        ("a.jsonl", LINES + '{"a": "\0"}', "line 3 is not JSON: Invalid control character"),
        ("a.jsonl", gzip.compress(LINES.encode()), r"is not UTF-8 \(it begins as gzip does\); convert it"),
        ("a.jsonl", b"PK\x03\x04\xff\xff", "it begins as zip does"),
        ("a.jsonl", LINES.encode("utf-16"), "it begins as UTF-16 does"),
        ("a.jsonl", LINES.encode("utf-16-le"), "it begins as UTF-16 does"),
        ("a.jsonl", json.dumps(ROWS), r"line 1 is no row: it is a list.*; name a file that is one list \*\.json"),
        ("a.jsonl", json.dumps(ROWS, indent=1), r"line 1 is not JSON: .*; name a file that is one list \*\.json"),
        ("a.jsonl", LINES.encode() + '{"é": 1}'.encode("latin-1"), r"is not UTF-8 \(line 3: "),
        ("a.json", "", r"a\.json is empty"),
        ("a.json", '[{"a": 1}, {"a"', r"is not JSON: .* in row 1, counted from 0; repair it"),
        ("a.json", '[{"a": 1}, [2]]', r"row 1 \(counted from 0\) is no row: it is a list"),
        ("a.json", f'[{{"a": 1}}, {{"a": {DIGITS}}}]', "an integer of 5,000 digits.* in row 1"),
        ("a.json", '{"data": [{"a": 1}, {"a": 1, "a": 2}]}', "the key 'a' twice in row 1"),
        ("a.json", '[{"a": 1}, {"a": "\\udc00"}]', r"row 1 \(counted from 0\) holds half a surrogate pair"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", '{"a": 1}\n{"a": ', "line 2 is not JSON"),
        ("a.json", '{"a": {"0": 1}, "b": {"0": 2}}', "holds an object with a, b; a .json holds a list of rows"),
        ("a.json", '{"a": [1, 2], "b": [3]}', r"columns of different lengths, \[1, 2\]"),
        ("a.json", "17", "holds the value 17; a .json holds a list of rows"),
        ("a.parquet", b"PAR1 no more", "cannot be read as parquet: .*; write it anew"),
        ("a.parquet", b"", "cannot be read as parquet"),
        ("a.csv", "problem,answer\n1+1?,2,3\n", "line 2 has 3 fields, its first line 2"),
        ("a.csv", 'problem,answer\n1+1?,"2\n', "line 2 is not CSV: unexpected end of data"),
        ("a.csv", "problem;answer\n1+1?;2;3\n", "line 2 has 3 fields, .* a field with a semicolon or a line break"),
        ("a.csv", "answer,answer\n1,2\n", "two columns with the name answer"),
    ],
)
def test_a_broken_file_is_told_with_the_key_and_the_place(tmp_path, name, content, message):
    path = written(tmp_path, name, content)
    with pytest.raises(ConfigError, match=message) as raised:
        read(path)
    assert str(raised.value).startswith(f"data.path {path}")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_fields_of_a_csv_are_parted_by_what_parts_its_first_line(tmp_path, mark):
    text = f'\n{mark}problem{mark}answer\r\n0{mark}"How, say;\nmany\t?"{mark}"3,5"\r\n'
    assert read(written(tmp_path, "a.csv", text)) == [{"": "0", "problem": "How, say;\nmany\t?", "answer": "3,5"}]
    assert (
        read(written(tmp_path, "b.csv", f"a,b{mark}c\n1,2{mark}3\n"))[0].keys()
        == {
            ",": {"a", "b", "c"},
            ";": {"a", "b;c"},
            "\t": {"a", "b\tc"},
        }[mark]
    )


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet", "csv"])
def test_a_folder_a_missing_file_and_one_that_may_not_be_read_are_refused(tmp_path, suffix):
    with pytest.raises(ConfigError, match="data.path .*does not exist"):
        read(str(tmp_path / f"none.{suffix}"))
    (tmp_path / f"folder.{suffix}").mkdir()
    with pytest.raises(ConfigError, match="data.path .*is a folder; name a file in it"):
        read(str(tmp_path / f"folder.{suffix}"))
    if os.getuid():  # root may read anything
        (tmp_path / f"shut.{suffix}").touch(mode=0)
        with pytest.raises(ConfigError, match="data.path .*cannot be read.*[Pp]ermission denied"):
            read(str(tmp_path / f"shut.{suffix}"))


def test_two_parquet_columns_of_one_name_are_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(["2"]), pyarrow.array(["3"])], names=["answer", "answer"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="two columns with the name answer; rename one"):
        read(str(tmp_path / "a.parquet"))


def test_dots_reach_inside_unless_they_are_part_of_a_name():
    assert column({"reward_model": {"ground_truth": "2"}}, "reward_model.ground_truth") == "2"
    assert column({"reward_model.ground_truth": "2"}, "reward_model.ground_truth") == "2"
    assert column({"reward_model": "2"}, "reward_model.ground_truth") is None
