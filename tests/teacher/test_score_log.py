import asyncio
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from scope_openrlhf.settings.sections import TeacherConfig
from scope_openrlhf.teacher.client import Score, TeacherClient, TeacherError
from scope_openrlhf.teacher.score_log import ScoreLog, teacher_identity

SCORE = Score(
    np.array([6, 7], np.int32),
    np.array([-1.0, -0.25], np.float32),
    np.array([[6], [9]], np.int32),
    np.array([[-1.0], [-0.1]], np.float32),
)


class Counting:
    name = "counting"
    asked = 0

    async def score(self, token_ids, top_k):
        self.asked += 1
        return SCORE


def equal(a: Score, b: Score) -> bool:
    return all(
        np.array_equal(getattr(a, f), getattr(b, f)) for f in ("token_ids", "logprobs", "topk_ids", "topk_logprobs")
    )


def test_a_score_is_asked_for_once_and_then_read_from_the_file(tmp_path):
    teacher = Counting()
    client = TeacherClient([teacher], 5.0, log=ScoreLog(tmp_path / "scores", {"path": "t"}))
    assert equal(asyncio.run(client.score([5, 6, 7], 1)), SCORE) and equal(
        asyncio.run(client.score([5, 6, 7], 1)), SCORE
    )
    assert teacher.asked == 1


def test_a_replay_needs_no_teacher_and_refuses_what_is_not_there(tmp_path):
    ScoreLog(tmp_path / "scores", {"path": "t"}).put([5, 6, 7], 1, SCORE)
    replay = TeacherClient([], 5.0, log=ScoreLog(tmp_path / "scores", {"path": "t"}))
    assert equal(asyncio.run(replay.score([5, 6, 7], 1)), SCORE)
    for tokens, top_k in (([5, 6, 8], 1), ([5, 6, 7], 0)):
        with pytest.raises(TeacherError, match="holds no score of a request of 3 tokens by this teacher"):
            asyncio.run(replay.score(tokens, top_k))


def test_another_teacher_has_other_scores(tmp_path):
    ScoreLog(tmp_path / "scores", {"path": "t"}).put([5, 6, 7], 1, SCORE)
    assert ScoreLog(tmp_path / "scores", {"path": "u"}).get([5, 6, 7], 1) is None


def test_a_teacher_is_known_by_its_files_dtype_and_temperature(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"0" * 100)
    same = teacher_identity(TeacherConfig(path=str(tmp_path), temperature=0.6))
    assert same == teacher_identity(TeacherConfig(path=str(tmp_path), temperature=0.6, replicas=3))
    assert same != teacher_identity(TeacherConfig(path=str(tmp_path), temperature=1.0))
    (tmp_path / "model.safetensors").write_bytes(b"1" * 100)
    assert same["files"] != teacher_identity(TeacherConfig(path=str(tmp_path), temperature=0.6))["files"]


def test_a_teacher_that_scores_otherwise_than_at_the_checkpoint_is_refused():
    from scope_openrlhf.host.trainer import refuse_other_scores

    refuse_other_scores("", None, [-1.0, -2.0], 0.1)
    refuse_other_scores("", [-1.0, -2.05], [-1.0, -2.0], 0.1)
    with pytest.raises(TeacherError, match=r"the teacher math scores a sequence 1 nats away .*\(tolerated 0.1\)"):
        refuse_other_scores("math", [-1.0, -3.0], [-1.0, -2.0], 0.1)
    with pytest.raises(TeacherError, match="another model"):
        refuse_other_scores("", [-1.0], [-1.0, -2.0], 0.1)


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
from scope_openrlhf.run import train
from scope_openrlhf.settings.config import Config
from scope_openrlhf.teacher.score_log import identities
for revision in ("", "a" * 40):
    overrides = [f"runs={sys.argv[1]}", f"name=r{revision[:1]}", "teacher.path=org/teacher", f"teacher.revision={revision}"]
    plan = train.make_plan(Config.load("examples/cpu_tiny.yaml", overrides))
    print("RESULT", plan.config.teacher.revision, identities(plan.config)["revision"])
"""
    (tmp_path / "r").mkdir()
    (tmp_path / "ra").mkdir()
    env = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=env)
    said = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert said == [["b" * 40] * 2, ["a" * 40] * 2], done.stderr[-2000:]


def test_a_checkpoint_of_another_teacher_is_refused_by_name():
    from scope_openrlhf.host.trainer import refuse_another_teacher

    with pytest.raises(TeacherError, match="was trained without a teacher, and this run has one"):
        refuse_another_teacher(None, {"path": "a"})
    refuse_another_teacher({"path": "a"}, {"path": "a"})
    with pytest.raises(TeacherError, match=r"differs in files \(1 then, 2 now\)"):
        refuse_another_teacher({"path": "a", "files": "1"}, {"path": "a", "files": "2"})
