"""What rides along in OpenRLHF's containers comes out as it was put in."""

import json
from types import SimpleNamespace

import numpy as np
import torch

from scope_openrlhf.data.problem import Problem
from scope_openrlhf.equations.batch import Attempt
from scope_openrlhf.host import luggage
from scope_openrlhf.teacher.contract import Score, TeacherError

PROBLEM = Problem(id="a", prompt="1+1?", answer="2")


def test_the_label_carries_the_problem_and_its_place():
    row = json.loads(luggage.prompt_lines([(PROBLEM, "<|user|>1+1?")]))
    assert row["prompt"] == "<|user|>1+1?"
    assert json.loads(row["label"]) == {"id": "a", "prompt": "1+1?", "answer": "2", "order": 0}
    assert luggage.unpack_label(row["label"]) == (PROBLEM, 0)


def test_the_problems_of_a_run_are_read_again_in_their_order(tmp_path):
    chat = [{"role": "user", "content": "2+2?"}]
    full = Problem(id="b", prompt=chat, answer="4", teacher="", trace="2+2=4", hinted=True, leaks=False)
    (tmp_path / "prompts.jsonl").write_text(luggage.prompt_lines([(full, "a"), (PROBLEM, "b"), (full, "a")]))
    assert luggage.read_prompts(tmp_path / "prompts.jsonl") == [full, PROBLEM, full]


def experience(positions: int):
    return SimpleNamespace(info={}, action_mask=torch.ones(1, positions), rewards=torch.ones(1))


def response(score, route="wrong"):
    packed: dict = {}
    attempt = Attempt(PROBLEM, "\\boxed{3}", "3", route)
    luggage.pack_response(packed, attempt, score, asked=5.0)
    return packed


def test_a_rollout_is_rewarded_and_dropped_by_its_route_alone():
    responses = [response(None, route) for route in ("right", "wrong", "drop")]
    assert [(r["reward"], r["extra_logs"]["dropped"]) for r in responses] == [(1.0, 0.0), (0.0, 0.0), (0.0, 1.0)]


def test_a_score_is_cut_to_the_rollouts_positions_and_a_missing_one_has_none():
    ids, logp = np.arange(8, dtype=np.int32).reshape(4, 2), -np.arange(8, dtype=np.float32).reshape(4, 2)
    score = Score(np.array([7, 8, 9, 1]), np.array([-1, -2, -3, -4], np.float32), ids, logp)
    e = experience(3)  # OpenRLHF cut the last token
    luggage.pack_scores(e, response(score)["scored"], top_k=2)
    (row,) = luggage.teacher_logp_of(e)
    assert row.tolist() == [-1, -2, -3] and luggage.scored_of(e)[0].attempt.problem == PROBLEM
    ((of_ids, of_logp),) = e.info["teacher_topk"]
    assert of_ids.tolist() == [[0, 1], [2, 3], [4, 5]] and of_logp[2].tolist() == [-4, -5]
    for nothing in (None, TeacherError("silent")):
        e = experience(3)
        luggage.pack_scores(e, response(nothing)["scored"], top_k=0)
        assert luggage.teacher_logp_of(e)[0].shape == (0,) and "teacher_topk" not in e.info


def test_what_the_loss_needs_takes_the_place_of_what_the_driver_needed_and_leaves_with_it():
    e = experience(3)
    luggage.pack_scores(e, response(None)["scored"], top_k=2)
    luggage.pack_signal(e, torch.tensor([0.5], dtype=torch.float64), torch.tensor([1]), health=True)
    assert set(e.info) == {"teacher_topk", "weight", "path", "health", "return"} and e.info["return"].tolist() == [1.0]
    e.info["path"] = [1]  # as OpenRLHF hands it to a micro-batch
    assert luggage.path_of(e).tolist() == [1]
    found = luggage.unpack_signal(e, torch.device("cpu"))
    assert (found.weight_N.tolist(), found.path_N.tolist(), len(found.topk)) == ([0.5], [1], 1)
    assert found.health and set(e.info) == {"return"}
