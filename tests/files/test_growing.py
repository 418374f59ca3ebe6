"""A file of rows that grows while somebody reads it."""

import json

from scope_openrlhf.files.disk import append_rows, write_whole
from scope_openrlhf.files.growing import Growing


def row(step: int, text: str = "") -> dict:
    return {"step": step, "text": text}


def test_rows_are_found_by_step_and_what_is_added_later_too(tmp_path):
    file = Growing(tmp_path / "rows.jsonl")
    assert not file.look() and file.rows([1]) == []
    append_rows(file.file, [row(1, "a"), row(1, "ö"), row(2)])
    assert not file.look() and file.rows([1]) == [row(1, "a"), row(1, "ö")]
    append_rows(file.file, [row(10)])
    file.look()
    assert sorted(file.places) == [1, 2, 10] and file.rows([10, 2]) == [row(10), row(2)]


def test_a_line_that_is_being_written_waits(tmp_path):
    file = Growing(tmp_path / "rows.jsonl")
    file.file.write_text(json.dumps(row(1)) + "\n" + '{"step": 2, "te')
    file.look()
    assert sorted(file.places) == [1]
    with file.file.open("a") as f:
        f.write('xt": ""}\n')
    file.look()
    assert file.rows([2]) == [row(2)]


def test_a_file_that_a_resumed_run_wrote_anew_is_read_from_its_beginning(tmp_path):
    file = Growing(tmp_path / "rows.jsonl")
    append_rows(file.file, [row(1, "old"), row(2, "old")])
    file.look()
    write_whole(file.file, "".join(json.dumps(row(step, "new and longer")) + "\n" for step in (1, 2, 3)))
    assert file.look() and file.rows([2, 3]) == [row(2, "new and longer"), row(3, "new and longer")]
