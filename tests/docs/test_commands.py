"""What README and docs tell people to type works: every --help, every flag, and every command that starts nothing."""

import argparse
import json
import re
import shlex
import subprocess

import pytest
from pages import PAGES, ROOT, shown_commands

import scope_eval.cli as scope_eval
import scope_openrlhf.run.cli as scope_train
import scope_openrlhf.verifier.cli as scope_grade

CLIS = {"scope-train": scope_train, "scope-eval": scope_eval, "scope-grade": scope_grade}
COMMANDS = shown_commands()


def subcommands(program: str) -> dict[str, argparse.ArgumentParser]:
    actions = CLIS[program].parser()._actions
    return next(a.choices for a in actions if isinstance(a, argparse._SubParsersAction))


EVERY_COMMAND = [(program, name) for program in CLIS for name in ("", *subcommands(program))]


@pytest.mark.parametrize("program, name", EVERY_COMMAND)
def test_every_help_says_what_it_does_and_names_a_page(program, name, capsys):
    with pytest.raises(SystemExit) as stopped:
        CLIS[program].main([*name.split(), "--help"])
    said = capsys.readouterr().out
    pages = re.findall(r"docs/[\w-]+\.md", said)
    assert stopped.value.code == 0 and pages and all(page in PAGES for page in pages)
    assert not name or "example:\n" in said


def examples() -> list[tuple[str, str]]:
    """(where, command line) of the examples in the helps."""
    texts = [(f"{program} {name}", subcommands(program)[name].epilog or "") for program, name in EVERY_COMMAND if name]
    return [(where, line) for where, text in texts for line in re.findall(r"^ +(scope-\w+ .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("where, command", [c for c in [*COMMANDS, *examples()] if not c[1].startswith("make")])
def test_every_flag_of_a_shown_command_is_one_that_it_has(where, command):
    program, name, *arguments = shlex.split(command)
    subcommands(program)[name].parse_intermixed_args(arguments)


def test_every_command_is_shown_somewhere():
    text = "".join(PAGES.values())
    assert [f"{program} {name}" for program, name in EVERY_COMMAND if f"{program} {name}".strip() not in text] == []


TARGETS = {t for page in PAGES.values() for t in re.findall(r"`(?:PROFILE=\w+ )?make ([a-z][\w-]*)", page)}
TARGETS |= {shlex.split(command)[1] for _, command in COMMANDS if command.startswith("make")}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_make_target_is_there(target):
    made = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)  # a folder of that name is none


@pytest.fixture
def deepmath(tmp_path, monkeypatch):
    """A batch of problems in DeepMath's form, and no hub."""
    import datasets  # a second
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    row = {"question": "1+1?", "final_answer": "2"}
    datasets.Dataset.from_list([row] * 256).to_parquet(str(tmp_path / "d.parquet"))
    return f"data.path={tmp_path}/d.parquet"


@pytest.mark.parametrize(
    "command", sorted({command for _, command in COMMANDS if command.startswith("scope-train plan --config examples/")})
)
def test_every_shown_plan_works_and_prints_what_the_page_shows(command, deepmath, capfd):
    brings_its_data = "examples/data/" in command or "cpu_tiny" in command
    assert scope_train.main([*shlex.split(command)[1:], *([] if brings_its_data else [deepmath])]) == 0
    said = capfd.readouterr().out
    if brings_its_data:
        return
    (shown,) = re.findall(r"^dry run of scope_qwen3_1.7b.*?(?=^```)", PAGES["docs/operations.md"], re.M | re.DOTALL)
    assert all(line in said.splitlines() for line in shown.splitlines())
    (told,) = re.findall(r"^dry run of.*?(?=^```)", PAGES["README.md"], re.M | re.DOTALL)
    assert set(told.splitlines()) <= set(shown.splitlines())


def test_the_shown_grades_and_audit_work_on_a_small_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"gold": "1/2", "response": r"\boxed{0.5}"}, {"gold": "3", "response": r"\boxed{4}"}]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "benchmark.jsonl").write_text('{"id": "7", "answer": "1/2"}\n')
    for command in [c for page, c in COMMANDS if page == "docs/grader.md"]:
        assert scope_grade.main(shlex.split(command)[1:]) == 0
    graded = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in graded] == ["right", "wrong"]
    assert "1 golds" in capsys.readouterr().out
