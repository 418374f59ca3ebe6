"""From rollouts to weights, without any engine: what is dropped trains nothing and leaves its group."""

import asyncio
import math
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.data.problems import with_hint
from scope_openrlhf.equations.batch import Attempt, Rollouts
from scope_openrlhf.host import experience
from scope_openrlhf.host.experience import (
    ScopeExperienceMaker,
    collect_rollouts,
    padded,
    prompt_ids,
    topk_of_response,
    weigh_kept,
)
from scope_openrlhf.settings.sections import TeacherConfig
from scope_openrlhf.teacher.client import Score, Scored, TeacherError


def group(*ppl_T: float) -> Rollouts:
    """One group of wrong rollouts of one token with these teacher perplexities, NaN where the teacher was not asked."""
    num = len(ppl_T)
    teacher = -torch.tensor([[math.log(p)] for p in ppl_T])
    nobody = torch.zeros(num, dtype=torch.bool)
    mask, student = torch.ones(num, 1, dtype=torch.bool), -torch.ones(num, 1)
    return Rollouts(
        student,
        teacher,
        mask,
        nobody,
        nobody.clone(),
        torch.zeros(num).long(),
        context_logp={context: student for name in algorithms.known() for context in algorithms.load(name).contexts},
    )


def test_a_dropped_rollout_is_on_no_path_and_leaves_its_groups_normalisation():
    signal, metrics = weigh_kept(algorithms.load("scope"), group(2.0, math.nan, 4.0), torch.tensor([True, False, True]))
    assert signal.path_N.tolist() == [1, -1, 1]
    # 1/2 and 1/4 over their sum, times 2: as if the dropped one had never been
    assert torch.allclose(signal.weight_N, torch.tensor([4 / 3, 0, 2 / 3], dtype=torch.float64))
    assert (metrics["rollouts"], metrics["dropped"], metrics["wrong"]) == (3, 1, 2)


@pytest.mark.parametrize("name", algorithms.known())
def test_every_algorithm_is_weighed_when_drops_leave_one_of_a_group(name):
    r = group(2.0, 3.0, 4.0)
    signal, metrics = weigh_kept(algorithms.load(name), r, torch.tensor([False, True, False]))
    assert signal.path_N[1] >= 0 and signal.weight_N.isfinite().all() and signal.advantage_NT.isfinite().all()
    assert metrics["dropped"] == 2


def test_a_step_whose_rollouts_are_all_dropped_is_an_error_that_says_what_to_do():
    with pytest.raises(
        ValueError,
        match=r"all 2 rollouts of a step were dropped \(0 of them truncated\).*set algorithm.truncated=wrong",
    ):
        weigh_kept(algorithms.load("scope"), group(math.nan, math.nan), torch.zeros(2, dtype=torch.bool))


@pytest.mark.parametrize("name", algorithms.known())
def test_no_algorithm_trains_on_a_student_log_prob_that_is_not_finite(name):
    r = group(2.0, 3.0)
    broken = replace(r, student_logp_NT=torch.tensor([[-1.0], [math.inf]]))
    with pytest.raises(ValueError, match=r"rows \[1\] hold a log-prob"):
        weigh_kept(algorithms.load(name), broken, torch.ones(2, dtype=torch.bool))


def test_a_hint_stands_at_the_end_of_the_problem_and_the_response_is_the_same():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("examples/tiny/student")
    response = [
        tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"][0] for text in ("1+1=2", "7")
    ]
    chat = [{"role": "user", "content": "1+1?"}]
    prompts = [prompt_ids(tokenizer, with_hint(chat, "2")), prompt_ids(tokenizer, with_hint("3+4?", ""))]
    sequences, action, attention = padded(list(zip(prompts, response, strict=True)), tokenizer.pad_token_id)
    assert [tokenizer.decode(ids[keep.bool()]) for ids, keep in zip(sequences, attention, strict=True)] == [
        "<|user|>1+1?2<|assistant|>1+1=2", "<|user|>3+4?<|assistant|>7"]  # fmt: skip
    assert [ids[1:][mask.bool()].tolist() for ids, mask in zip(sequences, action, strict=True)] == [
        r.tolist() for r in response
    ]


def test_a_prompt_without_a_hint_has_the_tokens_that_openrlhf_gives_its_rollout():
    from openrlhf.datasets.prompts_dataset import preprocess_data
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("examples/tiny/student")
    for prompt in (
        "12+7?",
        [
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "9-4?"},
        ],
    ):
        text, _ = preprocess_data(
            {"prompt": prompt}, input_key="prompt", apply_chat_template=tokenizer.apply_chat_template
        )
        assert prompt_ids(tokenizer, prompt).tolist() == tokenizer(text=text, add_special_tokens=False)["input_ids"]


def test_the_top_k_of_a_response_lies_at_its_places_in_the_rollout_whatever_stood_before_it():
    # five tokens after a longer prompt, of which the last two are the response; in the rollout it stands at positions 1 and 2
    ids, logp = np.arange(10, dtype=np.int32).reshape(5, 2), -np.arange(10, dtype=np.float32).reshape(5, 2)
    at, of = topk_of_response(Score(np.zeros(5), np.zeros(5), ids, logp), torch.tensor([0, 1, 1, 0]))
    assert at.tolist() == [[0, 0], [6, 7], [8, 9]] and of[1:].tolist() == [
        [-6, -7],
        [-8, -9],
    ]  # and no further than the response
    assert of[0].isnan().all()


class EmptyHint(algorithms.Algorithm):
    """Shows nothing more; and nothing at all where a rollout was wrong."""

    contexts = ("nothing",)
    hints = {"right": "", "wrong": None, "drop": ""}

    def hint(self, context, i, group):
        return self.hints[group[i].route]

    weigh = loss = None


@pytest.fixture
def step():
    """Four rollouts of two prompts in two micro-batches, and a maker that scores them through the OpenRLHF actor of a run; only Ray is left out."""
    from openrlhf.models import Actor
    from openrlhf.trainer.ppo_utils.experience import Experience
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("examples/tiny/student")
    actor = Actor("examples/tiny/student", attn_implementation="sdpa", temperature=0.6).eval()
    problems, answers = ["12+7?", "1+1?", "9-4?", "30-2?"], ["12+7=19;\\boxed{19}", "2", "9-4=5;\\boxed{5}", "28"]
    experiences = []
    for first in (0, 2):
        rows = [(problems[i], answers[i]) for i in (first, first + 1)]
        tokens = [
            (prompt_ids(tokenizer, p), tokenizer(a, add_special_tokens=False, return_tensors="pt")["input_ids"][0])
            for p, a in rows
        ]
        sequences, action, keep = padded(tokens, tokenizer.pad_token_id)
        e = Experience(
            sequences=sequences,
            attention_mask=keep,
            action_mask=action,
            rewards=torch.ones(2),
            truncated=torch.zeros(2),
        )
        e.index = [first, first + 1]
        with torch.no_grad():
            e.action_log_probs = actor(sequences, action, keep)
        unscored = [torch.full((action.shape[1],), math.nan)] * 2
        scored = [
            Scored(Attempt(p, a, a, a, "wrong" if i == 1 else "right"), None, 0.0, 0.0)
            for i, (p, a) in enumerate(rows, first)
        ]
        e.info = {"teacher_log_probs": unscored, "dropped": torch.zeros(2), "scored": scored}
        experiences.append(e)
    maker = ScopeExperienceMaker.__new__(ScopeExperienceMaker)
    args = {"actor.model_name_or_path": "examples/tiny/student", "rollout.n_samples_per_prompt": 2, "train.colocate_all": False,
            "ds.ring_attn_size": 1, "ds.tensor_parallel_size": 1}  # fmt: skip
    maker.args = SimpleNamespace(**{section: SimpleNamespace(**{k.split(".")[1]: v for k, v in args.items() if k.startswith(section)})
                                    for section in ("actor", "rollout", "train", "ds")})  # fmt: skip
    maker.algorithm, maker.tokenizer, maker.actor_model_group, maker.teachers = EmptyHint(None), tokenizer, None, {}
    maker._context_positions, maker.goes_on = 128, lambda: None
    maker._dispatch_forward = lambda group, sync, **batches: batches
    maker._flatten_results = lambda b, copies: [
        actor(*row).detach() for row in zip(b["sequences"], b["action_mask"], b["attention_mask"], strict=True)
    ]
    return maker, experiences, collect_rollouts(experiences, samples_per_prompt=2)[0]


EVERY = torch.ones(4, dtype=torch.bool)


def test_an_empty_hint_scores_what_the_student_said_and_no_hint_scores_nothing(step):
    maker, experiences, rollouts = step
    scored, failures, counts = maker._score_under("nothing", experiences, rollouts, EVERY)
    asked = torch.tensor([True, False, True, True])
    assert torch.allclose(
        scored[asked][rollouts.mask_NT[asked]], rollouts.student_logp_NT[asked][rollouts.mask_NT[asked]], atol=1e-5
    )
    assert scored[1].isnan().all() and not failures
    tokens = sum(int(e.attention_mask[row].sum()) for e in experiences for row, i in enumerate(e.index) if i != 1)
    assert counts == {"context_scored": 3, "context_too_long": 0, "context_tokens": tokens}


def test_a_dropped_rollout_is_not_scored_and_one_too_long_for_the_model_is_counted(step):
    maker, experiences, rollouts = step
    maker.algorithm.hints = {"right": "", "wrong": "1" * 200, "drop": ""}
    scored, _, counts = maker._score_under("nothing", experiences, rollouts, torch.tensor([True, True, False, True]))
    assert scored.isfinite().any(dim=1).tolist() == [True, False, False, True]
    assert (counts["context_scored"], counts["context_too_long"]) == (2, 1)


def test_a_context_score_that_is_not_finite_stops_the_run(step):
    maker, experiences, rollouts = step
    maker._flatten_results = lambda b, copies: [torch.full(mask.shape, math.nan) for mask in b["action_mask"]]
    with pytest.raises(ValueError, match="rollout 0 has a log-prob under the context nothing that is not finite"):
        maker._score_under("nothing", experiences, rollouts, EVERY)


class ByTeacher(EmptyHint):
    teacher_scores_contexts, top_k = True, 2


def answer_of(ids: list[int]) -> Score:
    """Each token of the request scored with minus its place."""
    num = len(ids) - 1
    logp = -np.arange(1, num + 1, dtype=np.float32)
    return Score(
        np.array(ids[1:]), logp, np.tile(np.arange(2, dtype=np.int32), (num, 1)), np.stack([logp, logp - 1], axis=1)
    )


@pytest.mark.parametrize("budget", [0, 1])
def test_the_teacher_is_asked_with_the_hint_and_what_it_fails_on_is_dropped_up_to_the_budget(step, monkeypatch, budget):
    maker, experiences, rollouts = step
    asked = []

    def instead(name, teacher, requests, top_k, goes_on):
        asked.extend(maker.tokenizer.decode(ids) for ids in requests)
        return [TeacherError("silent"), *map(answer_of, requests[1:])]

    monkeypatch.setattr(experience, "score_all", instead)
    maker.algorithm, maker.step = ByTeacher(None), 0
    maker.algorithm.hints = {"right": "7", "wrong": None, "drop": ""}
    maker.teachers = {"": TeacherConfig(path="t", drop_budget=budget, max_model_len=129)}
    if not budget:
        with pytest.raises(
            TeacherError, match="1 rollouts of a step could not be scored, teacher.drop_budget is 0. The first: silent"
        ):
            maker._score_contexts(experiences, rollouts, ~EVERY)
        return
    rollouts, dropped, counts = maker._score_contexts(experiences, rollouts, ~EVERY)
    scored = rollouts.context_logp["nothing"]
    assert asked[1:] == ["<|user|>9-4?7<|assistant|>9-4=5;\\boxed{5}", "<|user|>30-2?7<|assistant|>28"]
    assert dropped.tolist() == [True, False, False, False] and (counts["context_scored"], counts["context_failed"]) == (
        2,
        1,
    )
    assert scored[3][rollouts.mask_NT[3]].tolist() == [-8, -9]  # the last two of ten tokens
    ids, logp = experiences[1].info["teacher_topk"][1]
    assert logp[rollouts.mask_NT[3, : len(logp)]].tolist() == [[-8, -9], [-9, -10]] and ids[-1].tolist() == [0, 1]
    assert [len(logp) for _, logp in experiences[0].info["teacher_topk"]] == [0, 0]


def test_the_top_k_of_a_context_goes_through_openrlhfs_buffer_into_micro_batches_of_another_width(step, monkeypatch):
    from openrlhf.trainer.ppo_utils import replay_buffer

    from scope_openrlhf.host.update import pad_topk

    maker, experiences, rollouts = step
    monkeypatch.setattr(
        experience, "score_all", lambda name, teacher, requests, top_k, goes_on: [answer_of(ids) for ids in requests]
    )
    maker.algorithm, maker.step = ByTeacher(None), 0
    maker.algorithm.hints = {"right": "7", "wrong": None, "drop": ""}
    maker.teachers = {"": TeacherConfig(path="t", max_model_len=129)}
    maker._score_contexts(experiences, rollouts, ~EVERY)
    e = experiences[1]  # 9-4=5;\\boxed{5} and 28, which is shorter by six tokens
    e.info = {"teacher_topk": e.info["teacher_topk"]}
    items = replay_buffer.remove_padding_in_sequences(replay_buffer.split_experience_batch(e))
    for row, item in zip((2, 3), items, strict=True):
        alone = replay_buffer.make_experience_batch([item], packing_samples=False)
        _, logp = pad_topk(alone.info["teacher_topk"], alone.action_mask.shape[1], 2, "cpu")
        mask = alone.action_mask[0].bool()
        num = int(mask.sum())
        first = 7 if row == 2 else 8  # tokens of problem, hint and roles but one
        assert num == int(rollouts.mask_NT[row].sum()) and logp[0][mask][:, 0].tolist() == [
            -float(first + t) for t in range(num)
        ]
        assert logp[0][~mask].isnan().all()


class Slow:
    """A replica that answers one request at a time, and refuses those that begin with 9."""

    name = "slow"

    def __init__(self) -> None:
        self.lock, self.scored, self.closed = asyncio.Lock(), [], False

    async def score(self, token_ids, top_k):
        async with self.lock:
            await asyncio.sleep(0.01)
        if token_ids[0] == 9:
            raise TeacherError("no nines")
        self.scored.append(tuple(token_ids))
        return replace(
            answer_of(token_ids),
            topk_ids=np.zeros((len(token_ids) - 1, 0)),
            topk_logprobs=np.zeros((len(token_ids) - 1, 0)),
        )

    async def close(self):
        self.closed = True


def test_many_scores_come_in_order_each_asked_once_and_wait_outside_their_deadline(monkeypatch):
    replica = Slow()
    monkeypatch.setattr(experience, "connect", lambda name, teacher: [replica])
    monkeypatch.setattr(experience, "AT_ONCE", 4)
    requests = [[i % 100, i % 7, 3] for i in range(150) if i % 100 != 9]

    async def inside_a_loop():
        return experience.score_all(
            "", TeacherConfig(path="t", deadline_seconds=0.5), requests, 0, lambda: moved.append(1)
        )

    moved = []
    scores = asyncio.run(inside_a_loop())  # all of them take a second and a half, each its turn among four
    assert [s.token_ids.tolist() for s in scores] == [ids[1:] for ids in requests] and replica.closed
    assert len(replica.scored) == len(set(map(tuple, requests))) == len(moved)


def test_a_teacher_that_answers_nobody_costs_one_deadline_and_not_one_for_each_that_waits(monkeypatch):
    monkeypatch.setattr(experience, "connect", lambda name, teacher: [Slow()])
    monkeypatch.setattr(experience, "AT_ONCE", 2)
    start = time.monotonic()
    answers = experience.score_all(
        "", TeacherConfig(path="t", deadline_seconds=0.3), [[9, 1, i] for i in range(20)], 0, lambda: None
    )
    assert all(isinstance(a, TeacherError) and "no nines" in str(a) for a in answers) and time.monotonic() - start < 2
