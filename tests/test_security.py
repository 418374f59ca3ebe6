"""What a model, a dataset or a response says is data: never code, a pickle, a template or a path."""

import ast
import dataclasses
import json
import pickle
import re
import shutil
from pathlib import Path

import pytest

from scope_openrlhf.data.files import refuse_foreign_files
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.problems import load_problems
from scope_openrlhf.data.prompts import as_text
from scope_openrlhf.equations.batch import Attempt
from scope_openrlhf.host import flags
from scope_openrlhf.models import foreign_code, loading
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import DataConfig, StudentConfig

STUDENT = Path("examples/tiny/student")


# --- code


def model(folder: Path, file: str = "", **entries) -> str:
    """The tiny student with a file that would run, and with entries in its config."""
    shutil.copytree(STUDENT, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))
    if file:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(f"open({str(folder.parent / 'ran')!r}, 'w')\n")
    return str(folder)


@pytest.mark.parametrize(
    "file, entries, message",
    [
        ("custom_generate/generate.py", {}, "brings Python files of its own"),
        ("adapter_config.json", {}, "is an adapter"),
        ("mine.py", {"auto_map": {"AutoModelForCausalLM": "mine.Model"}}, "brings Python files of its own"),
        (
            "",
            {"text_config": {"auto_map": {"AutoConfig": "somebody/else--mine.Config"}}},
            "brings Python files of its own",
        ),
        ("", {"speculators_config": {"verifier": {"name_or_path": "somebody/else"}}}, "is a speculator"),
        ("", {"_attn_implementation": "somebody/kernel"}, "asks for kernels from the hub"),
    ],
)
def test_a_student_that_runs_code_or_names_who_does_is_refused(tmp_path, file, entries, message):
    foreign_code.refuse_own_code(model(tmp_path / "harmless"))
    with pytest.raises(ConfigError, match=message):
        foreign_code.refuse_own_code(model(tmp_path / "m", file, **entries))


def test_a_teacher_and_an_evaluated_model_with_own_code_are_refused_and_it_does_not_run(tmp_path):
    from scope_eval.backend import ScopeVLLM

    own = model(tmp_path / "m", "mine.py", auto_map={"AutoConfig": "mine.Config"}, model_type="mine")
    for load in (lambda: loading.check_model(own, "teacher.path"), lambda: ScopeVLLM(own)):
        with pytest.raises(ConfigError, match="is no model that transformers can load"):
            load()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "flag, message",
    [
        ("train.agent_func_path", "openrlhf.train.agent_func_path is set by this plugin"),
        ("reward.remote_url", "openrlhf.reward.remote_url has no effect here: the verifier is the reward"),
        ("data.prompt_dataset", "change data.path"),
        ("data.image_key", "prompts are texts"),
        ("use_ms", "download yours and give its folder"),
        ("train.agent_func", "unknown key openrlhf.train.agent_func; did you mean"),  # argparse would take it
        ("logger.wandb.ke", "unknown key openrlhf.logger.wandb.ke; did you mean"),
    ],
)
def test_openrlhfs_doors_for_code_and_other_hubs_are_shut_under_any_spelling(flag, message):
    config = Config.load("examples/cpu_tiny.yaml", [])
    with pytest.raises(ConfigError, match=message):
        flags.resolve_args(dataclasses.replace(config, openrlhf=config.openrlhf | {flag: "mine.py"}))


def test_our_code_trusts_no_model_loads_no_pickle_and_calls_no_shell():
    doors = re.compile(r"(eval|exec|os\.system|os\.popen|np\.load|\w*pickle\.\w+|jinja2\..*|.*sympify|.*parse_expr)$")
    calls = set()
    for file in [*Path("scope_openrlhf").rglob("*.py"), *Path("eval").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
                if doors.match(name) or (name == "torch.load" and options.get("weights_only") != "True"):
                    calls.add((file.name, name))
                calls |= {(file.name, o) for o in ("shell", "trust_remote_code") if options.get(o, "False") != "False"}
    # flags.py runs OpenRLHF's own parser; the others hand on what student.trust_remote_code says
    assert calls == {
        ("flags.py", "exec"),
        *(
            (file, "trust_remote_code")
            for file in (
                "contexts.py",
                "data_check.py",
                "export.py",
                "loading.py",
                "memory.py",
                "plan.py",
                "probe.py",
                "rollout.py",
                "traces.py",
            )
        ),
    }


# --- pickles


class Bomb:
    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def __reduce__(self):
        return open, (self.file, "w")


def test_a_pickle_in_a_models_folder_does_not_run(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM
    from vllm.model_executor.model_loader.weight_utils import pt_weights_iterator

    folder = Path(model(tmp_path / "m"))
    (folder / "model.safetensors").unlink()
    params = folder / "pytorch_model.bin"
    for zipped in (True, False):
        torch.save({"model.norm.weight": Bomb(tmp_path / "ran")}, params, _use_new_zipfile_serialization=zipped)
        with pytest.raises(pickle.UnpicklingError):  # as OpenRLHF's Actor calls it
            AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
        with pytest.raises(pickle.UnpicklingError):  # as the engines do
            list(pt_weights_iterator([str(params)], False, "cpu"))
    assert not (tmp_path / "ran").exists()
    torch.load(params, weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have


def test_datasets_bring_neither_scripts_nor_pickles(tmp_path, monkeypatch):
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "name.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "train.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    monkeypatch.chdir(tmp_path)
    for path in (
        "owner/name",
        str(folder),
        str(folder / "name.py"),
        "pandas",
        "train.pkl",
        "../owner/name",
        "https://host/a.csv",
        "a::b/c",
    ):
        with pytest.raises(ConfigError, match="is neither a .jsonl, .json or .parquet file nor a dataset of the hub"):
            load_problems(DataConfig(path=path))
    assert not (tmp_path / "ran").exists()


def test_a_datasets_card_cannot_name_files_of_this_machine(tmp_path):
    import datasets

    (tmp_path / "secret.json").write_text('[{"problem": "1", "answer": "1"}]')
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "README.md").write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files: {tmp_path}/secret.json\n---\n"
    )
    files = datasets.load_dataset_builder(str(tmp_path / "d")).config.data_files
    with pytest.raises(ConfigError, match=f"its card names {tmp_path}/secret.json"):
        refuse_foreign_files("owner/name", files)
    refuse_foreign_files("owner/name", {"train": ["hf://datasets/owner/name@0a1b/train.json"]})


# --- texts

HOSTILE = ["{{ 7*7 }}{% raw %}", "{0.__class__} {answer} %s $HOME `touch ran`", "../../../ran", "</script>"]


def test_templates_take_texts_as_they_are(tmp_path):
    from lm_eval.tasks import TaskManager

    from scope_eval.benchmarks import TASKS, tasks_of
    from scope_eval.evaluate import load_tasks
    from scope_eval.settings import EvalSettings
    from scope_openrlhf import algorithms

    rlsd, tokenizer = algorithms.load(name="rlsd"), loading.load_tokenizer(str(STUDENT))
    (tmp_path / "own.jsonl").write_text(
        "".join(json.dumps({"id": t, "problem": t, "answer": t}) + "\n" for t in HOSTILE)
    )
    settings = EvalSettings(benchmarks=str(tmp_path / "own.jsonl"), samples=1, instruction="{{ 7*7 }}")
    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    (task,) = load_tasks(manager, tmp_path, tasks_of(settings.benchmarks, settings.columns), settings).values()
    for text, doc in zip(HOSTILE, task.eval_docs, strict=True):
        chat = as_text(tokenizer, text, StudentConfig(path=str(STUDENT)))
        assert chat == f"<|user|>{text}<|assistant|>"
        attempt = Attempt(Problem(id="0", prompt=text, answer=text), "", None, "wrong")
        assert rlsd.hint("with_answer", 0, [attempt]) == f"\n\nThe correct answer is {text}."
        assert (task.doc_to_text(doc), task.doc_to_target(doc)) == (text + "\n\n{{ 7*7 }}", text)


def test_a_prompt_with_a_picture_is_refused(tmp_path):
    (tmp_path / "d.jsonl").write_text(json.dumps({"problem": "<image>1+1?", "answer": "2"}))
    with pytest.raises(ConfigError, match=r"1 of 1 rows of .*row 0: it holds <image>, the place of a picture"):
        load_problems(DataConfig(path=str(tmp_path / "d.jsonl")))
    with pytest.raises(ConfigError, match="data.system holds <image>"):
        load_problems(DataConfig(path="examples/tiny/train.jsonl", system="See <image>."))


def test_ids_are_no_paths(tmp_path):
    from stores import graded

    from scope_eval.evaluate import write_results

    inside = tmp_path / "a" / "b" / "c" / "d"
    inside.mkdir(parents=True)
    store, _ = graded(inside, dict.fromkeys(HOSTILE, "rw"))
    write_results(store, inside)
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and f.parent != inside]
    assert (inside / "report.html").read_text().count("</script>") == 5  # the page's own


def test_the_grader_runs_no_answer(tmp_path):
    from scope_openrlhf.verifier import Grader

    ran = tmp_path / "ran"
    call = f'__import__("os").system("touch {ran}")'
    grader = Grader(workers=1)
    for answer in (
        call,
        f"\\text{{{call}}}",
        f"x + {call}",
        f"\\operatorname{{eval}}({call!r})",
        f"[{call} for x in (1,)]",
    ):
        for gold in ("\\sqrt{2} + x", "\\{1, \\sqrt{2}\\}"):
            assert grader.verify(gold, f"\\boxed{{{answer}}}").verdict != "right"
    grader.close()
    assert not ran.exists()
