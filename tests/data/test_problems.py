import json
from dataclasses import replace

import pytest

from scope_openrlhf.data.order import order_problems
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.problems import hinted, load_problems
from scope_openrlhf.data.prompts import with_hint
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import DataConfig


def write(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(path)


def test_rows_without_a_gold_answer_are_named(tmp_path):
    file = write(
        tmp_path / "d.jsonl",
        [{"problem": "1+1?", "answer": "2"}, {"problem": "1+2?", "answer": " "}, {"problem": "1+3?"}],
    )
    with pytest.raises(ConfigError) as raised:
        load_problems(DataConfig(path=file))
    assert str(raised.value) == (
        f"data.path {file}, 'answer': 2 of 3 rows have no gold answer that can be graded (counted from 0; row 1: it is "
        "empty; row 2: it is missing), and at most 5% may be: set data.answer_key to the column of the answers, repair "
        "the rows, or set data.skip_ungradable=true, which leaves them out"
    )


def test_rows_whose_gold_cannot_be_graded_are_left_out_and_named_where_they_are_few_or_on_demand(tmp_path):
    few = [{"problem": f"{n}+1?", "answer": n + 1} for n in range(39)] + [{"problem": "1/0?", "answer": "proof"}]
    problems = load_problems(DataConfig(path=write(tmp_path / "few.jsonl", few)))
    assert [p.answer for p in problems] == [str(n + 1) for n in range(39)] and problems.rows == list(range(39))
    assert problems.notes == [
        "left out: 1 of 40 rows have no gold answer that can be graded (counted from 0; row 39: 'proof' is no answer)"
    ]
    answers = (float("nan"), "2", [], ["2"], "notfound", [""], "#### 2")
    many = [{"problem": "1+1?", "answer": answer} for answer in answers]
    file = write(tmp_path / "many.jsonl", many)
    with pytest.raises(ConfigError, match="4 of 7 rows have no gold answer .*data.skip_ungradable=true"):
        load_problems(DataConfig(path=file))
    problems = load_problems(DataConfig(path=file, skip_ungradable=True))
    assert [p.answer for p in problems] == ["2"] * 3 and problems.rows == [1, 3, 6]
    assert [p.id for p in problems] == ["1", "3", "6"] and "4 of 7" in problems.notes[0]
    none = write(tmp_path / "none.jsonl", [{"problem": "1+1?", "answer": "nan"}])
    with pytest.raises(ConfigError, match="1 of 1 rows .* set data.answer_key"):
        load_problems(DataConfig(path=none, skip_ungradable=True))


def test_rows_whose_prompt_cannot_be_asked_are_named_with_the_key(tmp_path):
    rows = [{"q": prompt, "answer": "2"} for prompt in ("1+1?", 7, [], " ", [{"from": "human", "value": "1+1?"}])]
    with pytest.raises(ConfigError, match=r"3 of 5 rows of .* 'q' \(.*; row 1: it is 7.*set data.prompt_key"):
        load_problems(DataConfig(path=write(tmp_path / "d.jsonl", rows), prompt_key="q"))
    sound = DataConfig(path=write(tmp_path / "s.jsonl", rows[:1] + rows[4:]), prompt_key="q", system="Be brief.")
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}
    assert [p.prompt for p in load_problems(sound)] == [[system, user]] * 2


@pytest.mark.parametrize("name", ["gsm8k", "math", "deepmath", "dapo", "verl"])
def test_known_datasets_are_read_in_their_own_columns(name):
    """The configs of examples/data, on 16 problems of the embedded task in those columns."""
    config = Config.load(f"examples/data/{name}.yaml", [])
    problems, tiny = load_problems(config.data), load_problems(DataConfig(path="examples/tiny/train.jsonl"))
    known = {p.prompt: p.answer for p in tiny}
    asked = [p.prompt if isinstance(p.prompt, str) else p.prompt[0]["content"] for p in problems]
    assert len(problems) == 16 and [p.answer for p in problems] == [known[text] for text in asked]
    assert not problems.notes


def test_real_rows_of_those_datasets_are_read(tmp_path):
    rows = {
        "gsm8k": ("question", "answer", {"question": "How many?", "answer": "9 * 2 = <<9*2=18>>18.\n#### 18"}, "18"),
        "math": ("problem", "solution", {"problem": "x?", "solution": r"So $\boxed{\frac{1}{2}}$."}, r"\frac{1}{2}"),
        "deepmath": ("question", "final_answer", {"question": "x?", "final_answer": r"\pi/2"}, r"\pi/2"),
        "olympiad": ("question", "final_answer", {"question": "x?", "final_answer": ["$2$", "3"]}, "$2$, 3"),
    }
    for name, (prompt_key, answer_key, row, answer) in rows.items():
        file = write(tmp_path / f"{name}.jsonl", [row])
        (problem,) = load_problems(DataConfig(path=file, prompt_key=prompt_key, answer_key=answer_key))
        assert problem.answer == answer


def test_a_dataset_without_the_label_column_lists_its_columns(tmp_path):
    file = write(tmp_path / "d.jsonl", [{"question": "1+1?", "gold": "2"}])
    with pytest.raises(ConfigError, match="its columns are question, gold: set data.prompt_key and data.answer_key"):
        load_problems(DataConfig(path=file))


def test_a_missing_file_an_empty_one_and_a_broken_line_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_problems(DataConfig(path=str(tmp_path / "none.jsonl")))
    with pytest.raises(ConfigError, match="holds no rows"):
        load_problems(DataConfig(path=write(tmp_path / "d.jsonl", [])))
    (tmp_path / "d.jsonl").write_text('{"problem": 1}\n{"prob')
    with pytest.raises(ConfigError, match="line 2 is not JSON"):
        load_problems(DataConfig(path=str(tmp_path / "d.jsonl")))


def test_each_row_goes_to_the_teacher_that_it_names(tmp_path):
    rows = [{"problem": "1+1?", "answer": "2"}, {"problem": "1+2?", "answer": "3", "teacher": "math"}]
    config = DataConfig(path=write(tmp_path / "d.jsonl", rows))
    assert [p.teacher for p in load_problems(config, ["", "math"])] == ["", "math"]
    assert load_problems(config)[1].teacher is None  # a column that nobody asked for
    zero = DataConfig(path=write(tmp_path / "z.jsonl", [rows[0] | {"teacher": 0}, rows[0]]))
    assert [p.teacher for p in load_problems(zero, ["", "0"])] == ["0", ""]  # a name, not an absence
    with pytest.raises(
        ConfigError, match=r"1 rows want the teacher 'math', which is none of teachers; did you mean maths\?"
    ):
        load_problems(config, ["", "maths"])
    with pytest.raises(ConfigError, match="1 of 2 rows name no teacher in their 'teacher'; set teacher.path for them"):
        load_problems(config, ["math"])
    with pytest.raises(ConfigError, match="no row goes to teachers.code, so its engines would stand idle"):
        load_problems(config, ["", "math", "code"])


def test_the_order_is_a_function_of_the_seed_and_every_pass_visits_each_row_once():
    rows = [Problem(id=str(i), prompt="1+1?", answer="2") for i in range(6)]
    ordered = order_problems(rows, batch_size=4, steps=3, seed=7)
    assert (
        ordered
        == order_problems(rows, batch_size=4, steps=3, seed=7)
        != order_problems(rows, batch_size=4, steps=3, seed=8)
    )
    assert [sorted(int(r.id) for r in ordered[i : i + 6]) for i in (0, 6)] == [list(range(6))] * 2
    assert len(order_problems(rows, batch_size=4, steps=0, seed=7)) == 4  # one pass, whole batches only
    with pytest.raises(ConfigError, match="6 rows, fewer than openrlhf.rollout.batch_size 7"):
        order_problems(rows, batch_size=7, steps=0, seed=7)


def test_a_hint_stands_at_the_end_of_the_last_message_whatever_its_form():
    assert with_hint("1+1?", " 2") == "1+1? 2"
    system = {"role": "system", "content": "Be brief."}
    assert with_hint([system, {"role": "user", "content": "1+1?"}], " 2") == [
        system,
        {"role": "user", "content": "1+1? 2"},
    ]


def test_a_prompt_says_whether_it_carries_a_trace_and_whether_that_tells_the_answer():
    problem = Problem(id="0", prompt="1+1?", answer="2", trace="1+1=2")
    shown = hinted(problem, lambda answer, trace: (f" {trace.replace('1', '*')}", answer in trace))
    assert shown == replace(problem, prompt="1+1? *+*=2", hinted=True, leaks=True)
    assert hinted(problem, lambda answer, trace: ("", False)) == replace(problem, hinted=False, leaks=False)


def test_traces_are_read_where_some_rows_have_one_and_refused_where_none_has(tmp_path):
    rows = [
        {"problem": "1+1?", "answer": "2", "extra": {"solution": "1+1=2"}},
        {"problem": "1+2?", "answer": "3", "extra": {"solution": None}},
    ]
    config = DataConfig(path=write(tmp_path / "d.jsonl", rows), trace_key="extra.solution")
    assert [p.trace for p in load_problems(config, traces=True)] == ["1+1=2", ""]
    assert load_problems(config)[0].trace is None
    with pytest.raises(ConfigError, match="no row of .* has a worked solution in 'expert_trace'.*scope-train traces"):
        load_problems(DataConfig(path=config.path), traces=True)
    left_out, picture = rows[0] | {"answer": "proof"}, rows[0] | {"extra": {"solution": "see <image>"}}
    file = write(tmp_path / "p.jsonl", [left_out, picture])
    config = DataConfig(path=file, trace_key="extra.solution", skip_ungradable=True)
    with pytest.raises(ConfigError, match=r"1 worked solutions of .* hold <image> \(the first: rows \[1\], counted"):
        load_problems(config, traces=True)
