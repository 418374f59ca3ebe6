"""Identity of a teacher: the same one, another one, or one whose name stayed and whose numbers did not."""

import os
import shutil
import subprocess
import sys

import pytest
import resolved

from scope_openrlhf.teacher.contract import TeacherError
from scope_openrlhf.teacher.identity import identities, refuse_another_teacher, refuse_other_scores, teacher_identity


def test_a_teacher_is_known_by_its_files_dtype_and_temperature(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"0" * 100)
    same = teacher_identity(resolved.teacher(path=str(tmp_path), temperature=0.6))
    assert same == teacher_identity(resolved.teacher(path=str(tmp_path), temperature=0.6, replicas=3))
    assert same != teacher_identity(resolved.teacher(path=str(tmp_path), temperature=1.0))
    assert same != teacher_identity(resolved.teacher(path=str(tmp_path), temperature=0.6, quantization="fp8"))
    (tmp_path / "model.safetensors").write_bytes(b"1" * 100)
    assert same["files"] != teacher_identity(resolved.teacher(path=str(tmp_path), temperature=0.6))["files"]


def test_the_identities_of_a_run_stand_in_one_table_under_the_names_of_its_teachers():
    teachers = {"": resolved.teacher(path="t", dtype="float32"), "math": resolved.teacher(name="math", path="m")}
    assert identities(teachers) == {
        "path": "t",
        "urls": "",
        "dtype": "float32",
        "temperature": "0.6",
        "math.path": "m",
        "math.urls": "",
        "math.dtype": "bfloat16",
        "math.temperature": "0.6",
    }


def test_a_teacher_that_scores_otherwise_than_at_the_checkpoint_is_refused():
    teacher, math = resolved.teacher(), resolved.teacher(name="math")
    refuse_other_scores(teacher, None, [-1.0, -2.0], 0.1)
    refuse_other_scores(teacher, [-1.0, -2.05], [-1.0, -2.0], 0.1)
    with pytest.raises(TeacherError, match=r"the teacher math scores a sequence 1 nats away .*\(tolerated 0.1\)"):
        refuse_other_scores(math, [-1.0, -3.0], [-1.0, -2.0], 0.1)
    with pytest.raises(TeacherError, match="another model"):
        refuse_other_scores(teacher, [-1.0], [-1.0, -2.0], 0.1)


def test_the_commit_of_a_hub_model_is_settled_at_the_start_and_known_in_its_identity(tmp_path):
    """A hub cache made by hand: two commits, `main` being the second."""
    for commit in ("a" * 40, "b" * 40):
        snapshot = tmp_path / "hub" / "models--org--teacher" / "snapshots" / commit
        shutil.copytree("examples/tiny/teacher", snapshot)
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("b" * 40)
    code = """
import sys
from scope_openrlhf.run.plan import make_plan
from scope_openrlhf.settings.config import Config
from scope_openrlhf.teacher.identity import identities
for revision in ("", "a" * 40):
    here = [f"runs={sys.argv[1]}", f"name=r{revision[:1]}"]
    teacher = ["teacher.path=org/teacher", f"teacher.revision={revision}"]
    teachers = make_plan(Config.load("examples/cpu_tiny.yaml", here + teacher)).run.teachers
    print("RESULT", teachers[""].revision, identities(teachers)["revision"])
"""
    (tmp_path / "r").mkdir()
    (tmp_path / "ra").mkdir()
    env = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=env)
    said = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert said == [["b" * 40] * 2, ["a" * 40] * 2], done.stderr[-2000:]


def test_a_checkpoint_of_another_teacher_is_refused_by_name():
    with pytest.raises(TeacherError, match="was trained without a teacher, and this run has one"):
        refuse_another_teacher(None, {"path": "a"})
    refuse_another_teacher({"path": "a"}, {"path": "a"})
    with pytest.raises(TeacherError, match=r"differs in files \(1 then, 2 now\)"):
        refuse_another_teacher({"path": "a", "files": "1"}, {"path": "a", "files": "2"})


def test_a_served_teacher_may_move_to_another_address_but_not_become_a_folder():
    then = {"path": "", "urls": "http://a:1"}
    refuse_another_teacher(then, {"path": "", "urls": "http://b:2"})
    with pytest.raises(TeacherError, match="it differs in urls"):
        refuse_another_teacher(then, {"path": "", "urls": ""})
