"""Bad input: each a clear error before any engine starts, naming the key and what to do."""

import json
import shutil
import time
from pathlib import Path

import pytest

from scope_openrlhf.files.stage import Stage
from scope_openrlhf.platform.cluster import last_line
from scope_openrlhf.run import folder, session
from scope_openrlhf.run.cli import main
from scope_openrlhf.run.errors import LostError
from scope_openrlhf.run.plan import make_plan
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError


@pytest.fixture
def scope_train(tmp_path, capfd):
    def run(*overrides):
        command = "run" if not overrides or overrides[0] not in ("plan", "probe") else overrides[0]
        rest = overrides[command != "run" :]
        code = main([command, "--config", "examples/cpu_tiny.yaml", f"runs={tmp_path}", "name=r", *rest])
        return code, capfd.readouterr().err.strip()

    return run


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["student.path=examples"], "student.path examples is no model: there is no examples/config.json"),
        (["teacher.path=./nowhere"], "teacher.path ./nowhere is no model"),
        (
            ["openrlhf.rollout.n_samples_per_prompt=1"],
            "openrlhf.rollout.n_samples_per_prompt is 1, but scope normalises inside a prompt's group; set it to 2",
        ),
        (["algorithm.tau=0"], "algorithm.tau must be above 0, got 0"),
        (["algorithm=nosuch"], "there is no algorithm 'nosuch'; known:"),
        (["openrlhf.data.max_len=64"], "3200 prompts do not fit: row train-0 has 11 tokens and 54 are kept"),
        (
            ["algorithm=opsd", "openrlhf.rollout.max_new_tokens=80"],
            "of its hint (privileged), the copy of student.path that algorithm.context_scorer=initial keeps has 127 "
            "positions for them; lower openrlhf.rollout.max_new_tokens",
        ),
        (
            ["algorithm=opsd", "teacher={}", "openrlhf.data.max_len=128"],
            "needs 129 positions, the copy of student.path that algorithm.context_scorer=initial keeps has 128; lower",
        ),
        (
            ["algorithm=smepo", "data.trace_key=solution"],
            "no row of examples/tiny/train.jsonl has a worked solution in 'solution', which this algorithm shows; "
            "set data.trace_key",
        ),
        (
            ["algorithm=rlsd", "algorithm.context_scorer=teacher", "teachers.math.path=examples/tiny/teacher"],
            "asks one teacher after the rollouts have ended; leave teachers and teacher.sleep out",
        ),
        (
            ["algorithm=sdpo", "student.trust_remote_code=true"],
            "runs no Python files of a model; set algorithm.context_scorer=student",
        ),
        (["algorithms.cepo.mixx=1"], "unknown key algorithm.mixx; did you mean 'mix'?"),
        (["algorithms.copo={}"], "there is no algorithm 'copo'; known: cepo"),
        (["openrlhf.data.max_len=400"], "needs 400 positions, student.path has 128; lower data.max_len"),
        (
            ["openrlhf.train.batch_size=100"],
            "must be a multiple of openrlhf.train.batch_size, but 128 is not a multiple of 100",
        ),
        (
            ["openrlhf.train.micro_batch_size=48"],
            "train.micro_batch_size * training ranks, but 128 is not a multiple of 48",
        ),
        (
            ["ray.num_gpus=2", "ray.share_gpus=false"],
            "the run asks for 3 GPUs, ray.num_gpus gives 2; set it to 3 or more, or to 0, or ray.share_gpus to true",
        ),
        (
            ["ray.num_gpus=1", "openrlhf.vllm.num_engines=2"],  # which cannot share one GPU
            "the run asks for 4 GPUs, ray.num_gpus gives 1; set it to 4",
        ),
        (["ray.address=127.0.0.1:1"], "ray.address 127.0.0.1:1 does not answer"),
        (["data.path=none.jsonl"], "data.path none.jsonl does not exist"),
        (["data.answer_key=gold"], "set data.prompt_key and data.answer_key"),
        (["eval.path=none.jsonl"], "eval.path none.jsonl does not exist"),
        (["eval.path=README.md"], "eval.path README.md is none of .jsonl"),
        (
            ["teacher.max_model_len=127"],
            "teacher.max_model_len 127 is too short: openrlhf.data.max_len 127 and one token more must fit",
        ),
        (["teacher.placement=colocate"], "teacher.placement=colocate needs openrlhf.train.colocate_all=true"),
        (
            ["teacher.placement=colocate", "teacher.replicas=4", "openrlhf.train.colocate_all=true"],
            "4 colocated teacher replicas do not fit on the student's 1 GPUs, which take 3 each",
        ),
        (
            ["teachers.math.path=examples/tiny/teacher"],
            "no row goes to teachers.math, so its engines would stand idle; remove it",
        ),
        (["openrlhf.rollout.batch_size=4000"], "the data have 3200 rows, fewer than openrlhf.rollout.batch_size 4000"),
    ],
)
def test_bad_input_is_refused_before_any_engine_starts(scope_train, tmp_path, overrides, message):
    if "batch_size=4000" in overrides[0]:
        overrides = [*overrides, "steps=0", "openrlhf.train.batch_size=32000"]
    code, error = scope_train(*overrides)
    assert code == 2 and message in error.splitlines()[-1]
    assert not (tmp_path / "r" / "metrics.jsonl").exists()


def test_a_teacher_with_another_end_or_another_template_is_refused_unless_it_is_accepted(scope_train, tmp_path):
    other = tmp_path / "teacher"
    shutil.copytree("examples/tiny/teacher", other)
    template = other / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|user|>", "<|user|>2"))
    code, error = scope_train(f"teacher.path={other}")
    assert code == 2 and "the teacher's '<|user|>21+1?<|assistant|>'" in error and "teacher.accept=[template]" in error
    settings = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": "<|pad|>"}))
    code, error = scope_train(f"teacher.path={other}", "teacher.accept=[template]")
    assert code == 2 and "the student ends with ['<|end|>'], the teacher with" in error and "'<|pad|>'" in error
    code, error = scope_train(f"teacher.path={other}", "teacher.accept=[template, eos]", "openrlhf.data.max_len=64")
    assert code == 2 and "3200 prompts do not fit" in error  # it went on to the next check


def test_a_teacher_with_another_vocabulary_is_refused_with_an_example(scope_train, tmp_path):
    other = tmp_path / "teacher"
    shutil.copytree("examples/tiny/teacher", other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["7"], vocab["8"] = vocab["8"], vocab["7"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    code, error = scope_train(f"teacher.path={other}")
    assert code == 2 and "has another vocabulary" in error and "'7' is 13 there and 12 here" in error


def test_a_student_that_brings_python_files_is_refused_and_they_do_not_run(scope_train, tmp_path):
    """OpenRLHF would run them: it loads every model with trust_remote_code=True."""
    for name in ("config.json", "tokenizer_config.json"):
        own = tmp_path / name
        shutil.copytree("examples/tiny/student", own)
        settings = json.loads((own / name).read_text())
        (own / name).write_text(json.dumps(settings | {"auto_map": {"AutoConfig": "mine.Config"}}))
        (own / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        code, error = scope_train(f"student.path={own}")
        assert (
            code == 2
            and f"brings Python files of its own (auto_map in its {name})" in error
            and "student.trust_remote_code=true" in error
        )
    assert not (tmp_path / "ran").exists()


def test_a_folder_with_steps_of_another_config_is_not_touched(scope_train, tmp_path):
    run = tmp_path / "r"
    run.mkdir()
    (run / "config.yaml").write_text("name: r\nseed: 5\n")
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    code, error = scope_train()
    assert code == 2 and "belongs to another config" in error and "--fresh" in error
    assert (run / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_a_folder_that_is_no_run_is_not_touched(scope_train, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.txt").write_text("mine")
    for overrides in ((), ("--fresh",)):
        code, error = scope_train(*overrides)
        assert code == 2 and "is no run of ours (it holds thesis.txt)" in error
    assert (tmp_path / "r" / "thesis.txt").read_text() == "mine"


def test_the_cause_of_a_workers_error_is_its_last_telling_line():
    said = (
        "Traceback:\n  File x\nValidationError: 1 error\n  Value error, no model there\n"
        "    For further information visit https://errors\n"
    )
    assert last_line(RuntimeError(said)) == "Value error, no model there"


def test_a_wait_in_which_nothing_moves_ends_and_says_what_it_waited_for(tmp_path):
    (tmp_path / "logs").mkdir()
    stage = Stage(tmp_path)
    stage("generating rollouts")
    with session.deadline(stage, 1.0):
        for _ in range(8):
            time.sleep(0.25)
            stage.goes_on()
    with (
        pytest.raises(LostError, match="nothing has moved for 1 s .* the run was at: generating rollouts"),
        session.deadline(stage, 1.0),
    ):
        time.sleep(30)


def test_a_wait_inside_ray_ends_too_and_ctrl_c_is_still_ctrl_c(ray_session, tmp_path):
    (tmp_path / "logs").mkdir()
    stage, began = Stage(tmp_path), time.monotonic()
    stage("the optimiser")
    time.sleep(0.05)
    Stage(tmp_path, "generator")("generating rollouts")
    never = ray_session.remote(num_cpus=0)(lambda: time.sleep(60)).remote()
    with (
        pytest.raises(LostError, match="the run was at: generating rollouts; the optimiser"),
        session.deadline(stage, 1.0),
    ):
        ray_session.get(never)
    assert time.monotonic() - began < 30
    with pytest.raises(KeyboardInterrupt), session.deadline(stage, 1000.0):
        raise KeyboardInterrupt
    ray_session.cancel(never, force=True)


def test_two_of_scope_train_do_not_work_on_one_run(scope_train, tmp_path):
    (tmp_path / "r" / "logs").mkdir(parents=True)
    with folder.alone(tmp_path / "r"):
        code, error = scope_train("student.path=examples")
    assert code == 2 and f"another scope-train works on {tmp_path / 'r'}" in error
    code, error = scope_train("student.path=examples")
    assert code == 2 and "is no model" in error


def test_only_what_another_attempt_may_mend_is_started_again():
    from ray.exceptions import ActorDiedError, ObjectStoreFullError, RayTaskError, RuntimeEnvSetupError

    def raised_in_a_worker(cause):
        return RayTaskError("fit", "Traceback", cause)

    in_worker, gloo = raised_in_a_worker(ActorDiedError()), "[../third_party/gloo/gloo/transport/tcp/pair.cc:547]"
    closed = raised_in_a_worker(RuntimeError(f"{gloo} Connection closed by peer"))
    assert all(session.lost(error) for error in (ActorDiedError(), in_worker, raised_in_a_worker(in_worker), closed))
    # an actor whose constructor failed
    unfit = ActorDiedError(raised_in_a_worker(ValueError("No available memory for the cache blocks")))
    mine = [
        unfit,
        RuntimeEnvSetupError("no such package"),
        raised_in_a_worker(ValueError("all 128 rollouts were dropped")),
        ObjectStoreFullError(),
        raised_in_a_worker(OSError(28, "No space")),
    ]
    assert not any(session.lost(error) for error in mine)


def test_overrides_may_stand_before_and_after_flags(scope_train):
    code, error = scope_train("probe", "algorithm=grpo", "steps=3")
    assert code == 2 and "algorithm grpo has no teacher to probe" in error


def test_a_run_of_before_a_setting_existed_is_still_the_same_run(tmp_path, capsys):
    import yaml

    config = Config.load("examples/cpu_tiny.yaml", [f"runs={tmp_path}", "name=r"])
    stored = json.loads(json.dumps(config.to_dict()))
    del stored["teachers"], stored["teacher"]["placement"], stored["data"]["teacher_key"]
    run = tmp_path / "r"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(stored))
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    assert folder.open_run(config) is False  # it goes on
    with pytest.raises(ConfigError, match="it differs in seed"):
        folder.open_run(Config.load("examples/cpu_tiny.yaml", [f"runs={tmp_path}", "name=r", "seed=2"]))


MATHEMATICIAN = ("teachers.math.path=examples/tiny/student", "data.teacher_key=mathematics")


@pytest.mark.parametrize(
    "overrides, room",
    [
        # the longest problem, its solution, a response
        (["algorithm=opsd", "algorithm.context_scorer=initial"], 17 + 52 + 54 + 1),
        (["algorithm=opsd", "teacher={urls: ['http://127.0.0.1:9']}"], 17 + 52 + 54 + 1),
        (["algorithm=opsd", "teacher={}", *MATHEMATICIAN], 17 + 52 + 54 + 1),
        # what a sibling said may be as long as a response
        (["algorithm=sdpo", "teacher.path=examples/tiny/student"], 17 + 54 + 54 + 1),
        # 17 + 2 + 54 is less than what the data allow anyway
        (["algorithm=rlsd", "teacher.path=examples/tiny/student"], 80 + 1),
    ],
)
def test_a_teacher_that_scores_contexts_has_room_for_them_however_it_is_reached(tmp_path, overrides, room):
    lines = Path("examples/tiny/train.jsonl").read_text().splitlines()[:64]
    rows = [json.loads(line) | {"mathematics": "math"} for line in lines]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    algorithm = [overrides[0], "algorithm.context_scorer=teacher", *overrides[1:]]
    data = [f"data.path={tmp_path}/data.jsonl", f"runs={tmp_path}", "openrlhf.data.max_len=80", "steps=1"]
    config = Config.load("examples/cpu_tiny.yaml", [*algorithm, *data])
    (teacher,) = make_plan(config, dry=True).run.teachers.values()
    assert teacher.max_model_len == room


def test_contexts_scored_by_another_model_are_said_before_the_run(tmp_path):
    overrides = ["algorithm=rlsd", "algorithm.context_scorer=teacher", f"runs={tmp_path}"]
    config = Config.load("examples/cpu_tiny.yaml", overrides)
    assert "a difference of two models" in make_plan(config, dry=True).notes[-1]


def test_the_student_as_it_was_is_a_teacher_of_its_own(tmp_path):
    overrides = ["algorithm=opsd", "teachers.math.path=nowhere", f"runs={tmp_path}"]
    plan = make_plan(Config.load("examples/cpu_tiny.yaml", overrides), dry=True)
    (teacher,) = plan.run.teachers.values()
    assert teacher.path == plan.run.student.path and teacher.enforce_eager  # the rest as `teacher` says
    assert plan.gpus == 3 and plan.algorithm.asks.teacher
    assert "a copy of the student as it is now" in plan.notes[-1]
