import json

import pytest

from scope_openrlhf.verifier.cli import main


def test_rows_come_back_in_order_with_their_verdict_and_a_malformed_line_is_named(tmp_path, capsys):
    rows = [
        {"gold": "4", "response": r"\boxed{4}", "id": 1},
        {"gold": "4", "response": "4"},
        {"gold": r"\sqrt{8}", "response": r"\boxed{2\sqrt2}"},
    ]
    file = tmp_path / "cases.jsonl"
    lines = [json.dumps(rows[0]), "{broken", json.dumps(rows[1]), json.dumps({"gold": "1"}), "[1]", json.dumps(rows[2])]
    file.write_text("\n".join(lines) + "\n")
    assert main(["--input", str(file), "--output", str(tmp_path / "out.jsonl"), "--workers", "1"]) == 1
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(r["gold"], r["verdict"], r["extracted"]) for r in out] == [
        ("4", "right", "4"),
        ("4", "wrong", None),
        (r"\sqrt{8}", "right", r"2\sqrt2"),
    ]
    assert out[0]["id"] == 1 and all(r["seconds"] >= 0 and r["reason"] for r in out)
    error = capsys.readouterr().err
    assert (
        all(f"line {n}: not a row" in error for n in (2, 4, 5))
        and "right 2, wrong 1, failed 0; malformed lines 3" in error
    )


def test_a_file_of_sound_rows_exits_zero_and_a_missing_file_two(tmp_path):
    file = tmp_path / "cases.jsonl"
    file.write_text(json.dumps({"gold": "4", "response": r"\boxed{4}"}) + "\n")
    assert main(["--input", str(file), "--output", str(tmp_path / "out.jsonl")]) == 0
    assert main(["--input", str(tmp_path / "none"), "--output", str(tmp_path / "out.jsonl")]) == 2


def test_wrong_flags_are_refused(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["--input", "x"])
    assert "--input needs --output" in capsys.readouterr().err
    file = tmp_path / "cases.jsonl"
    file.write_text('{"gold": "1", "response": "1"}\n')
    with pytest.raises(SystemExit):
        main(["--input", str(file), "--output", str(file)])
    assert file.read_text()


def test_an_audit_lists_golds_that_a_rule_cannot_grade(tmp_path, capsys):
    golds = ["42", r"\frac{1}{2}", r"\text{Evelyn}", "t(0,4]", "3159", "4.5e33"]
    file = tmp_path / "golds.jsonl"
    file.write_text("".join(json.dumps({"id": f"p{i}", "answer": g}) + "\n" for i, g in enumerate(golds)))
    assert main(["--audit", str(file)]) == 0
    out = capsys.readouterr().out
    assert "p2\tno mathematics" in out and "p3\tnot readable" in out
    assert "golds.jsonl: 6 golds; no mathematics 1, not readable 1, spelling 0" in out
