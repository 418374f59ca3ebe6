"""Worked solutions by the teacher: which are kept, and what the same command does again."""

import contextlib
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from scope_openrlhf.data.order import sample_seed
from scope_openrlhf.run import teachers, traces
from scope_openrlhf.run.cli import main
from scope_openrlhf.teacher.contract import Completion, TeacherError
from scope_openrlhf.verifier import verify

ROWS = [
    {"id": "a", "problem": "1+1?", "answer": "2", "stratum": "K1"},
    {"id": "b", "problem": "2+2?", "answer": "4", "stratum": "K1", "expert_trace": "2+2=4;\\boxed{4}"},
    {"id": "c", "problem": "3+3?", "answer": "6", "stratum": "K1", "expert_trace": ""},
]
WRONG, CUT, DEAD = "\\boxed{9}", "cut", "dead"
RIGHT = {row["id"]: f"\\boxed{{{row['answer']}}}" for row in ROWS}


class Replica:
    """Replica that writes for each problem what its script says, try by try; it knows a try by its seed.

    CUT: a right answer that is cut off. DEAD: an error.
    """

    name = "replica"

    def __init__(self, **scripts: list[str]) -> None:
        self.scripts, self.asked = scripts, []
        self.tokenizer = Tokenizer.from_file("examples/tiny/student/tokenizer.json")
        self.draws = {
            sample_seed(1, row["id"], "trace", number): (row["id"], number) for row in ROWS for number in range(10)
        }

    async def generate(self, prompt_ids, max_tokens, seed):
        problem, number = self.draws[seed]
        text = self.scripts[problem][number]
        if text == DEAD:
            raise TeacherError("it died")
        self.asked.append((problem, number))
        asked = next(row["problem"] for row in ROWS if row["id"] == problem)
        assert self.tokenizer.decode(prompt_ids, skip_special_tokens=False) == f"<|user|>{asked}<|assistant|>"
        assert max_tokens == 40
        return Completion(self.tokenizer.encode(RIGHT[problem] if text == CUT else text).ids, truncated=text == CUT)

    async def close(self):
        pass


@pytest.fixture
def write_traces(tmp_path, monkeypatch, capfd):
    """The real command but for the engines: exit code, what it said, the rows of out.jsonl where it wrote them."""
    monkeypatch.setattr(teachers, "ray_session", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(teachers, "teacher_groups", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(traces, "probe_run", lambda *_: ([], []))
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def run(replica, *overrides, out="out.jsonl"):
        monkeypatch.setattr(traces, "connect", lambda *_: [replica])
        settings = [f"data.path={tmp_path}/data.jsonl", f"runs={tmp_path}/runs", "openrlhf.rollout.max_new_tokens=40"]
        command = ["traces", "--config", "examples/cpu_tiny.yaml", "--out", str(tmp_path / out)]
        code = main([*command, *settings, *overrides])
        said = capfd.readouterr()
        file = tmp_path / out
        rows = [json.loads(line) for line in file.read_text().splitlines()] if code == 0 else []
        return code, (said.out + said.err).strip().splitlines()[-1], rows

    return run


def test_the_first_right_whole_solution_is_kept_and_never_a_wrong_or_a_truncated_one(write_traces, tmp_path):
    replica = Replica(a=[WRONG, CUT, "1+1=2;\\boxed{2}", "\\boxed{2}"], c=["3+3=6;\\boxed{6}"])
    code, said, rows = write_traces(replica)
    assert code == 0 and sorted(replica.asked) == [("a", 0), ("a", 1), ("a", 2), ("c", 0)]  # b came with one
    assert rows == [
        ROWS[0] | {"expert_trace": "1+1=2;\\boxed{2}"},
        ROWS[1],
        ROWS[2] | {"expert_trace": "3+3=6;\\boxed{6}"},
    ]
    assert said == (
        "3 of 3 problems have a trace "
        "(1 came with the data, 2 written by the teacher, 0 without a right one in 4 tries); "
        f"written: {tmp_path}/out.jsonl; train with data.path={tmp_path}/out.jsonl"
    )
    assert not (tmp_path / "runs" / "tiny_scope" / "config.yaml").exists()  # no run was begun


def test_a_problem_without_a_right_one_has_none_and_is_said_and_asked_again_only_for_more_tries(write_traces):
    replica = Replica(a=[WRONG, WRONG, CUT, WRONG, WRONG, "\\boxed{2}"], c=["\\boxed{6}"])
    code, said, rows = write_traces(replica)
    assert code == 0 and rows[0] == ROWS[0] | {"expert_trace": None}
    counts = "1 came with the data, 1 written by the teacher, 1 without a right one in 4 tries"
    assert f"2 of 3 problems have a trace ({counts})" in said
    replica.asked.clear()
    assert write_traces(replica)[2] == rows and not replica.asked
    code, said, rows = write_traces(replica, "--tries", "6")
    assert replica.asked == [("a", 4), ("a", 5)] and rows[0]["expert_trace"] == "\\boxed{2}" and "3 of 3" in said


def test_a_teacher_that_dies_loses_nothing_and_the_same_command_goes_on(write_traces, tmp_path):
    settings = ("teacher.deadline_seconds=0.5",)
    code, said, _ = write_traces(Replica(a=["\\boxed{2}"], c=[DEAD]), *settings)
    assert code == 1 and "the same command goes on where it was" in said and not (tmp_path / "out.jsonl").exists()
    with (tmp_path / "out.jsonl.cache").open("a") as file:
        file.write('{"row": 2, "tr')  # killed while it wrote
    replica = Replica(a=[DEAD], c=["\\boxed{6}"])
    code, said, rows = write_traces(replica, *settings)
    assert code == 0 and replica.asked == [("c", 0)] and [row["expert_trace"][-2] for row in rows] == ["2", "4", "6"]


@pytest.mark.parametrize(
    ("overrides", "out", "message"),
    [
        ([], "data.jsonl", "data.jsonl is data.path itself, which is never overwritten; choose another file"),
        ([], "foreign.jsonl", "so it was not written by scope-train traces; choose another file"),
        ([], "out.parquet", "what is written are JSON lines; name it *.jsonl"),
        (["teacher.dtype=float32"], "out.jsonl", "it differs in dtype: choose another --out file"),
        (["openrlhf.rollout.temperature=1"], "out.jsonl", "it differs in temperature: choose"),
        (["data.path=examples/tiny/train.jsonl"], "out.jsonl", "it differs in problems: choose"),
        (
            ["data.trace_key=stratum.trace"],
            "new.jsonl",
            "'stratum' holds 'K1' and nothing can be put inside; set data.trace_key",
        ),
    ],
)
def test_files_of_others_are_refused_and_left_as_they_are(write_traces, tmp_path, overrides, out, message):
    (tmp_path / "foreign.jsonl").write_text("mine\n")
    assert write_traces(Replica(a=["\\boxed{2}"], c=["\\boxed{6}"]))[0] == 0
    before = {file: file.read_text() for file in tmp_path.glob("*.*")}
    code, said, _ = write_traces(Replica(), *overrides, out=out)
    assert code == 2 and message in said
    assert {file: file.read_text() for file in tmp_path.glob("*.*")} == before


def test_a_dotted_key_reaches_inside(write_traces):
    code, _, rows = write_traces(
        Replica(a=["\\boxed{2}"], b=["\\boxed{4}"], c=[WRONG] * 4), "data.trace_key=extra.trace", "algorithm=grpo"
    )
    assert code == 0 and [row["extra"] for row in rows] == [
        {"trace": "\\boxed{2}"},
        {"trace": "\\boxed{4}"},
        {"trace": None},
    ]


@pytest.mark.slow
def test_the_real_teacher_writes_right_solutions_that_training_accepts(tmp_path, capfd):
    problems = [json.loads(line) for line in Path("examples/tiny/train.jsonl").read_text().splitlines()[:6]]
    for row in problems:
        row.pop("expert_trace", None)
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    command = [
        "traces",
        "--config",
        "examples/cpu_tiny.yaml",
        "--out",
        f"{tmp_path}/out.jsonl",
        f"data.path={tmp_path}/data.jsonl",
        f"runs={tmp_path}/runs",
    ]
    assert main(command) == 0
    said = capfd.readouterr().out.splitlines()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    solved = [row for row in rows if row["expert_trace"]]
    assert [row | {"expert_trace": None} for row in rows] == [row | {"expert_trace": None} for row in problems]
    assert len(solved) >= 4 and all(verify(row["answer"], row["expert_trace"]).right for row in solved)
    assert said[-1].startswith(
        f"{len(solved)} of 6 problems have a trace (0 came with the data, {len(solved)} written by the teacher"
    )
    cache = (tmp_path / "out.jsonl.cache").read_text().splitlines()
    (tmp_path / "out.jsonl.cache").write_text("\n".join(cache[:4]) + "\n")  # three answers are lost
    assert main(command) == 0
    assert [
        json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()
    ] == rows  # and drawn again as they were
