import json

from scope_openrlhf.grade import main


def test_rows_come_back_in_order_with_their_verdict_and_a_malformed_line_is_named(tmp_path, capsys):
    rows = [{"gold": "4", "response": r"\boxed{4}", "id": 1}, {"gold": "4", "response": "4"}]
    file = tmp_path / "cases.jsonl"
    file.write_text(json.dumps(rows[0]) + "\n{broken\n" + json.dumps(rows[1]) + "\n" + json.dumps({"gold": "1"}) + "\n")
    assert main(["--input", str(file), "--output", str(tmp_path / "out.jsonl")]) == 1
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(r["gold"], r["verdict"], r["extracted"]) for r in out] == [("4", "right", "4"), ("4", "wrong", None)]
    assert out[0]["id"] == 1
    error = capsys.readouterr().err
    assert "line 2" in error
    assert "line 4" in error


def test_a_file_of_sound_rows_exits_zero_and_a_missing_file_two(tmp_path):
    file = tmp_path / "cases.jsonl"
    file.write_text(json.dumps({"gold": "4", "response": r"\boxed{4}"}) + "\n")
    assert main(["--input", str(file), "--output", str(tmp_path / "out.jsonl")]) == 0
    assert main(["--input", str(tmp_path / "none"), "--output", str(tmp_path / "out.jsonl")]) == 2
