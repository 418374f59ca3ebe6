"""Rollouts scored again under a context, by the student through OpenRLHF's actor or by a teacher.

Only Ray is left out.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from resolved import teacher

from scope_openrlhf.algorithms.base.contract import Algorithm, Asks
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.prompts import as_text, with_hint
from scope_openrlhf.equations.batch import Attempt
from scope_openrlhf.host import contexts, luggage
from scope_openrlhf.host.contexts import ContextScorer, padded, prompt_ids, topk_of_response
from scope_openrlhf.host.experience import collect_rollouts
from scope_openrlhf.host.luggage import Scored
from scope_openrlhf.settings.resolved import Run
from scope_openrlhf.settings.sections import StudentConfig
from scope_openrlhf.teacher.contract import Score, TeacherError

STUDENT = StudentConfig(path="examples/tiny/student")


def test_a_hint_stands_at_the_end_of_the_problem_and_the_response_is_the_same():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("examples/tiny/student")
    response = [torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in ("1+1=2", "7")]
    chat = [{"role": "user", "content": "1+1?"}]
    prompts = [prompt_ids(tokenizer, with_hint(p, hint), STUDENT) for p, hint in ((chat, "2"), ("3+4?", ""))]
    sequences, action, attention = padded(list(zip(prompts, response, strict=True)), tokenizer.pad_token_id)
    read = [tokenizer.decode(ids[keep.bool()]) for ids, keep in zip(sequences, attention, strict=True)]
    assert read == ["<|user|>1+1?2<|assistant|>1+1=2", "<|user|>3+4?<|assistant|>7"]
    trained = [ids[1:][mask.bool()].tolist() for ids, mask in zip(sequences, action, strict=True)]
    assert trained == [ids.tolist() for ids in response]


def test_a_prompt_without_a_hint_has_the_tokens_that_openrlhf_gives_its_rollout():
    from openrlhf.datasets.prompts_dataset import preprocess_data
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("examples/tiny/student")
    turns = (("user", "1+1?"), ("assistant", "2"), ("user", "9-4?"))
    for prompt in ("12+7?", [{"role": role, "content": said} for role, said in turns]):
        asked = Problem(id="0", prompt=prompt, answer="5"), as_text(tokenizer, prompt, STUDENT)
        row = json.loads(luggage.prompt_lines([asked]))
        text, _ = preprocess_data(row, None, luggage.PROMPT_COLUMN, luggage.LABEL_COLUMN, apply_chat_template=False)
        ids = tokenizer(text=text, add_special_tokens=False)["input_ids"]
        assert prompt_ids(tokenizer, prompt, STUDENT).tolist() == ids
        theirs, _ = preprocess_data({"prompt": prompt}, None, "prompt", None, tokenizer.apply_chat_template)
        assert text == theirs  # where the template is given nothing more


def test_the_top_k_of_a_response_lies_at_its_places_in_the_rollout_whatever_stood_before_it():
    # five tokens after a longer prompt, the last two are the response; in the rollout it stands at positions 1 and 2
    ids, logp = np.arange(10, dtype=np.int32).reshape(5, 2), -np.arange(10, dtype=np.float32).reshape(5, 2)
    at, of = topk_of_response(Score(np.zeros(5), np.zeros(5), ids, logp), torch.tensor([0, 1, 1, 0]))
    # and no further than the response
    assert at.tolist() == [[0, 0], [6, 7], [8, 9]] and of[1:].tolist() == [[-6, -7], [-8, -9]]
    assert of[0].isnan().all()


class EmptyHint(Algorithm):
    """Algorithm whose context shows nothing more, and that has no context where a rollout was wrong."""

    asks = Asks(contexts=("nothing",))
    hints = {"right": "", "wrong": None, "drop": ""}

    def hint(self, context, i, group):
        return self.hints[group[i].route]

    weigh = loss = None


@pytest.fixture
def step():
    """A scorer that asks OpenRLHF's actor, and four rollouts of two prompts in two micro-batches."""
    from openrlhf.models import Actor
    from openrlhf.trainer.ppo_utils.experience import Experience
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("examples/tiny/student")
    actor = Actor("examples/tiny/student", attn_implementation="sdpa", temperature=0.6).eval()
    asked, answers = ["12+7?", "1+1?", "9-4?", "30-2?"], ["12+7=19;\\boxed{19}", "2", "9-4=5;\\boxed{5}", "28"]
    experiences = []
    for first in (0, 2):
        rows = [(asked[i], answers[i]) for i in (first, first + 1)]
        said = [torch.tensor(tokenizer(answer, add_special_tokens=False)["input_ids"]) for _, answer in rows]
        tokens = [(prompt_ids(tokenizer, prompt, STUDENT), ids) for (prompt, _), ids in zip(rows, said, strict=True)]
        sequences, action, keep = padded(tokens, tokenizer.pad_token_id)
        e = Experience(sequences=sequences, attention_mask=keep, action_mask=action)
        e.rewards, e.truncated = torch.ones(2), torch.zeros(2)
        e.index = [first, first + 1]
        with torch.no_grad():
            e.action_log_probs = actor(sequences, action, keep)
        unscored = [torch.full((action.shape[1],), math.nan)] * 2
        problems = [Problem(id=str(i), prompt=p, answer=a) for i, (p, a) in enumerate(rows, first)]
        attempts = [Attempt(p, p.answer, p.answer, "wrong" if p.id == "1" else "right") for p in problems]
        scored = [Scored(attempt, None, 0.0, 0.0, "") for attempt in attempts]
        e.info = {"teacher_log_probs": unscored, "dropped": torch.zeros(2), "scored": scored}
        experiences.append(e)
    run = Run(name="r", folder="r", seed=1, student=STUDENT, algorithm={"name": "none"}, teachers={})
    forward = lambda batches: [actor(*b).detach() for b in batches]  # noqa: E731
    scorer = ContextScorer(EmptyHint(None), run, tokenizer, 2, forward, lambda: None)
    return scorer, experiences, collect_rollouts(experiences, samples_per_prompt=2)[0]


EVERY = torch.ones(4, dtype=torch.bool)


def test_an_empty_hint_scores_what_the_student_said_and_no_hint_scores_nothing(step):
    scorer, experiences, rollouts = step
    scored, failures, counts = scorer.score_under("nothing", experiences, rollouts, EVERY)
    asked = torch.tensor([True, False, True, True])
    said = rollouts.mask_NT & asked[:, None]
    assert torch.allclose(scored[said], rollouts.student_logp_NT[said], atol=1e-5)
    assert scored[1].isnan().all() and not failures
    tokens = sum(int(e.attention_mask[row].sum()) for e in experiences for row, i in enumerate(e.index) if i != 1)
    assert counts == {"context_scored": 3, "context_failed": 0, "context_too_long": 0, "context_tokens": tokens}


def test_a_dropped_rollout_is_not_scored_and_one_too_long_for_the_model_is_counted(step):
    scorer, experiences, rollouts = step
    scorer.algorithm.hints = {"right": "", "wrong": "1" * 200, "drop": ""}
    scored, _, counts = scorer.score_under("nothing", experiences, rollouts, torch.tensor([True, True, False, True]))
    assert scored.isfinite().any(dim=1).tolist() == [True, False, False, True]
    assert (counts["context_scored"], counts["context_too_long"]) == (2, 1)


def test_a_context_score_that_is_not_finite_stops_the_run(step):
    scorer, experiences, rollouts = step
    scorer.forward = lambda batches: [torch.full(mask.shape, math.nan) for _, mask, _ in batches]
    with pytest.raises(ValueError, match="rollout 0 has a log-prob under the context nothing that is not finite"):
        scorer.score_under("nothing", experiences, rollouts, EVERY)


class ByTeacher(EmptyHint):
    asks = Asks(contexts=("nothing",), context_scorer="teacher", top_k=2)


def answer_of(ids: list[int]) -> Score:
    """Scores of a request: minus its place for each token."""
    num = len(ids) - 1
    logp = -np.arange(1, num + 1, dtype=np.float32)
    topk_ids = np.tile(np.arange(2, dtype=np.int32), (num, 1))
    return Score(np.array(ids[1:]), logp, topk_ids, np.stack([logp, logp - 1], axis=1))


@pytest.mark.parametrize("budget", [0, 1])
def test_the_teacher_is_asked_with_the_hint_and_what_it_fails_on_is_dropped_up_to_the_budget(step, monkeypatch, budget):
    scorer, experiences, rollouts = step
    asked = []

    def instead(teacher, requests, top_k, goes_on):
        asked.extend(scorer.tokenizer.decode(ids) for ids in requests)
        return [TeacherError("silent"), *map(answer_of, requests[1:])]

    monkeypatch.setattr(contexts, "score_all", instead)
    scorer.algorithm = ByTeacher(None)
    scorer.algorithm.hints = {"right": "7", "wrong": None, "drop": ""}
    scorer.run = replace(scorer.run, teachers={"": teacher(path="t", drop_budget=budget, max_model_len=129)})
    if not budget:
        message = "1 rollouts of a step could not be scored, teacher.drop_budget is 0. The first: silent"
        with pytest.raises(TeacherError, match=message):
            scorer.score(experiences, rollouts, ~EVERY, 0)
        return
    of_step = scorer.score(experiences, rollouts, ~EVERY, 0)
    rollouts, dropped, counts = of_step.rollouts, of_step.dropped_N, of_step.metrics
    scored = rollouts.context_logp["nothing"]
    assert asked[1:] == ["<|user|>9-4?7<|assistant|>9-4=5;\\boxed{5}", "<|user|>30-2?7<|assistant|>28"]
    assert dropped.tolist() == [True, False, False, False]
    assert (counts["context_scored"], counts["context_failed"]) == (2, 1)
    assert scored[3][rollouts.mask_NT[3]].tolist() == [-8, -9]  # the last two of ten tokens
    ids, logp = experiences[1].info["teacher_topk"][1]
    assert logp[rollouts.mask_NT[3, : len(logp)]].tolist() == [[-8, -9], [-9, -10]] and ids[-1].tolist() == [0, 1]
    assert [len(logp) for _, logp in experiences[0].info["teacher_topk"]] == [0, 0]


def test_the_top_k_of_a_context_goes_through_openrlhfs_buffer_into_micro_batches_of_another_width(step, monkeypatch):
    from openrlhf.trainer.ppo_utils import replay_buffer

    from scope_openrlhf.host.path_loss import pad_topk

    scorer, experiences, rollouts = step
    monkeypatch.setattr(contexts, "score_all", lambda _, requests, *__: [answer_of(ids) for ids in requests])
    scorer.algorithm = ByTeacher(None)
    scorer.algorithm.hints = {"right": "7", "wrong": None, "drop": ""}
    scorer.run = replace(scorer.run, teachers={"": teacher(path="t", max_model_len=129)})
    scorer.score(experiences, rollouts, ~EVERY, 0)
    e = experiences[1]  # 9-4=5;\\boxed{5} and 28, which is shorter by six tokens
    e.info = {"teacher_topk": e.info["teacher_topk"]}
    items = replay_buffer.remove_padding_in_sequences(replay_buffer.split_experience_batch(e))
    for row, item in zip((2, 3), items, strict=True):
        alone = replay_buffer.make_experience_batch([item], packing_samples=False)
        _, logp = pad_topk(alone.info["teacher_topk"], alone.action_mask.shape[1], 2, "cpu")
        mask = alone.action_mask[0].bool()
        num = int(mask.sum())
        first = 7 if row == 2 else 8  # tokens of problem, hint and roles but one
        assert num == int(rollouts.mask_NT[row].sum())
        assert logp[0][mask][:, 0].tolist() == [-float(first + t) for t in range(num)]
        assert logp[0][~mask].isnan().all()
