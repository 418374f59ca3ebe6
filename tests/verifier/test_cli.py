import json
import subprocess
import sys

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
    assert main(["run", str(file), "--out", str(tmp_path / "out.jsonl"), "--workers", "1"]) == 1
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


def test_golds_of_a_run_are_read_as_in_training_and_one_that_is_none_fails(tmp_path):
    golds = [["2", "3"], 4, '["2", "3"]', "9*2\\n#### 18", "", float("nan")]
    responses = [r"\boxed{3,2}", r"\boxed{4}", r"\boxed{2, 3}", r"\boxed{18}", r"\boxed{}", r"\boxed{nan}"]
    file, out = tmp_path / "cases.jsonl", tmp_path / "out.jsonl"
    rows = [{"gold": gold, "response": response} for gold, response in zip(golds, responses, strict=True)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["run", str(file), "--out", str(out)]) == 0
    graded = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["verdict"] for row in graded] == ["right"] * 4 + ["failed"] * 2
    assert graded[4]["reason"] == "gold: it is empty" and graded[0]["gold"] == ["2", "3"]


def test_an_audit_reads_golds_as_training_does_and_says_what_is_none(tmp_path, capsys):
    golds = [["2", "3"], '["2", "3"]', "9*2\n#### 18", 9007199254740993, "proof", float("nan"), [""], {"value": 1}]
    lines = [json.dumps({"id": f"p{i}", "answer": gold}) for i, gold in enumerate(golds)]
    lines += [json.dumps({"reward_model": {"ground_truth": "5"}}), "[1]", '{"id": 1}', '{"answer": ' + "9" * 5000 + "}"]
    file = tmp_path / "golds.jsonl"
    file.write_text("\ufeff" + "\r\n".join(lines))
    assert main(["audit", str(file)]) == 0
    said = capsys.readouterr()
    found = [line.split("\t")[:2] for line in said.out.splitlines()[:-1]]
    assert found == [[f"p{i}", "not readable"] for i in range(4, 8)]
    assert "'proof' is no answer" in said.out and "it is NaN" in said.out
    assert "golds.jsonl: 9 golds; no mathematics 0, not readable 4, spelling 0" in said.out
    assert [f"line {n}: not a row" in said.err for n in (10, 11, 12)] == [True] * 3


def test_an_audit_of_no_text_ends_with_two_and_says_what_it_is(tmp_path, capsys):
    (tmp_path / "golds.jsonl").write_bytes(b"\x1f\x8b\x08\xff")
    assert main(["audit", str(tmp_path / "golds.jsonl")]) == 2 == main(["audit", str(tmp_path)])
    assert "is not UTF-8 (it begins as gzip does)" in capsys.readouterr().err


def test_a_file_of_sound_rows_exits_zero_and_a_missing_file_two(tmp_path):
    file = tmp_path / "cases.jsonl"
    file.write_text(json.dumps({"gold": "4", "response": r"\boxed{4}"}) + "\n")
    assert main(["run", str(file), "--out", str(tmp_path / "out.jsonl")]) == 0
    assert main(["run", str(tmp_path / "none"), "--out", str(tmp_path / "out.jsonl")]) == 2


def test_wrong_flags_are_refused(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["--input", "x"])
    assert "--input needs --output" in capsys.readouterr().err
    file = tmp_path / "cases.jsonl"
    file.write_text('{"gold": "1", "response": "1"}\n')
    for wrong, message in (
        (["--input", str(file), "--output", str(file)], "--out must be another file than the input"),
        (["run", str(file), "--out", str(file)], "--out must be another file than the input"),
        (["run", str(file)], "the following arguments are required: --out"),
        (["run", str(file), "--out", "x", "--workers", "0"], "--workers must be at least 1"),
        (["audit", str(file), "--memory", "64"], "--memory at least 256"),
        (["--input", str(file), "--audit", str(file)], "not allowed with"),
        ([], "commands:"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(wrong)
        assert ended.value.code == 2 and message in capsys.readouterr().err, wrong
    assert file.read_text()


def test_an_audit_lists_golds_that_a_rule_cannot_grade(tmp_path, capsys):
    golds = ["42", r"\frac{1}{2}", r"\text{Evelyn}", "t(0,4]", "3159", "4.5e33"]
    file = tmp_path / "golds.jsonl"
    file.write_text("".join(json.dumps({"id": f"p{i}", "answer": g}) + "\n" for i, g in enumerate(golds)))
    assert main(["audit", str(file)]) == 0
    out = capsys.readouterr().out
    assert "p2\tno mathematics" in out and "p3\tnot readable" in out
    assert "golds.jsonl: 6 golds; no mathematics 1, not readable 1, spelling 0" in out


def test_the_old_spellings_of_the_command_do_the_same_and_are_not_shown(tmp_path, capsys):
    file, old, new = (tmp_path / name for name in ("-cases.jsonl", "old.jsonl", "new.jsonl"))
    file.write_text(json.dumps({"gold": "0.26", "response": "The answer is 0.264."}) + "\n")
    flags = ["--lenient", "--significant-figures", "--workers", "1", "--timeout=3"]
    assert main([*flags, f"--input={file}", "--output", str(old)]) == 0
    assert main(["run", str(file), "--out", str(new), *flags]) == 0
    rows = [{k: v for k, v in json.loads(out.read_text()).items() if k != "seconds"} for out in (old, new)]
    assert rows[0] == rows[1] and rows[0]["verdict"] == "right"
    capsys.readouterr()
    assert main(["--workers", "1", "--audit", str(file), "--lenient"]) == 0 == main(["audit", str(file)])
    said = capsys.readouterr().out.splitlines()
    assert (
        len(said) == 2 and said[0] == said[1] == "-cases.jsonl: 1 golds; no mathematics 0, not readable 0, spelling 0"
    )
    for command in ([], ["run"], ["audit"]):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        shown = capsys.readouterr().out
        assert not any(f" {flag} " in shown for flag in ("--input", "--output", "--audit"))


@pytest.mark.parametrize("command", [["run"], ["audit"]])
def test_the_help_of_a_command_ends_with_an_example_and_the_page_that_says_more(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0 and lines[-1] == "more: docs/grader.md"
    assert lines[lines.index("example:") + 1].startswith("  scope-grade ")


def test_the_command_needs_nothing_but_the_base_dependencies(tmp_path):
    file = tmp_path / "cases.jsonl"
    file.write_text(json.dumps({"gold": "4", "response": r"\boxed{4}"}) + "\n")
    command = ["run", str(file), "--out", str(tmp_path / "out.jsonl")]
    base = "import runpy, sys; sys.modules.update(dict.fromkeys(('tqdm', 'torch', 'ray', 'openrlhf', 'lm_eval')))"
    script = f"{base}; sys.argv[1:] = {command}; runpy.run_module('scope_openrlhf.verifier', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "right 1, wrong 0, failed 0; malformed lines 0\n")


def test_an_audit_without_a_gold_ends_with_two_and_says_what_it_reads(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"question": "1+1?"}\n')
    (tmp_path / "a.json").write_text('[{"answer": "2"}]')
    assert main(["audit", str(tmp_path / "a.jsonl")]) == 2 == main(["audit", str(tmp_path / "a.json")])
    said = capsys.readouterr().err
    assert "a.jsonl holds no row with ground_truth, answer, gold or reward_model" in said
    assert "a.json: an audit reads JSON lines" in said


def test_a_gold_that_says_there_is_none_fails_whatever_the_response_repeats(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"gold": "proof", "response": "\\\\boxed{proof}"}\n')
    assert main(["run", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]) == 0
    (row,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (row["verdict"], row["reason"]) == ("failed", "gold: 'proof' is no answer")
