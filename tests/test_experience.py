"""From rollouts to weights, without any engine: what is dropped trains nothing and leaves its group."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.batch import Attempt, Rollouts
from scope_openrlhf.experience import ScopeExperienceMaker, collect_rollouts, hinted_batch, weigh_kept
from scope_openrlhf.teacher import Scored


def group(*ppl_T: float) -> Rollouts:
    """One group of wrong rollouts of one token with these teacher perplexities, NaN where the teacher was not asked."""
    num = len(ppl_T)
    teacher = -torch.tensor([[math.log(p)] for p in ppl_T])
    nobody = torch.zeros(num, dtype=torch.bool)
    mask, student = torch.ones(num, 1, dtype=torch.bool), -torch.ones(num, 1)
    return Rollouts(student, teacher, mask, nobody, nobody.clone(), torch.zeros(num).long(), context_logp={"with_answer": student})


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
    with pytest.raises(ValueError, match=r"all 2 rollouts of a step were dropped \(0 of them truncated\).*set algorithm.truncated=wrong"):
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
    response = [tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"][0] for text in ("1+1=2", "7")]
    chat = [{"role": "user", "content": "1+1?"}]
    sequences, action, attention = hinted_batch(tokenizer, [(chat, "2"), ("3+4?", "")], response, max_positions=128)
    assert [tokenizer.decode(ids[keep.bool()]) for ids, keep in zip(sequences, attention, strict=True)] == [
        "<|user|>1+1?2<|assistant|>1+1=2", "<|user|>3+4?<|assistant|>7"]  # fmt: skip
    assert [ids[1:][mask.bool()].tolist() for ids, mask in zip(sequences, action, strict=True)] == [r.tolist() for r in response]
    with pytest.raises(ValueError, match="has 12 tokens, the student has 8 positions"):
        hinted_batch(tokenizer, [(chat, "2")], response[:1], max_positions=8)


class EmptyHint(algorithms.Algorithm):
    contexts = ("nothing",)

    def hint(self, context, i, group):
        return "" if group[i].route == "right" else None

    weigh = loss = None


def test_an_empty_hint_scores_what_the_student_said_and_no_hint_scores_nothing():
    """Through the same OpenRLHF actor that makes a run's log-probs; only Ray's transport is left out."""
    from openrlhf.models import Actor
    from openrlhf.trainer.ppo_utils.experience import Experience
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("examples/tiny/student")
    actor = Actor("examples/tiny/student", attn_implementation="sdpa", temperature=0.6).eval()
    problems, answers = ["12+7?", "1+1?", "9-4?", "30-2?"], ["12+7=19;\\boxed{19}", "2", "9-4=5;\\boxed{5}", "28"]
    experiences = []
    for first in (0, 2):
        rows = [(problems[i], answers[i]) for i in (first, first + 1)]
        ids = [[tokenizer(t, add_special_tokens=False)["input_ids"] for t in (f"<|user|>{p}<|assistant|>", a)] for p, a in rows]
        width = max(len(p) + len(a) for p, a in ids)
        sequences, mask = torch.zeros(2, width, dtype=torch.long), torch.zeros(2, width, dtype=torch.long)
        for row, (p, a) in enumerate(ids):
            sequences[row, : len(p) + len(a)] = torch.tensor(p + a)
            mask[row, len(p) : len(p) + len(a)] = 1
        keep = (sequences > 0).long()
        e = Experience(sequences=sequences, attention_mask=keep, action_mask=mask[:, 1:], rewards=torch.ones(2), truncated=torch.zeros(2))
        e.index = [first, first + 1]
        with torch.no_grad():
            e.action_log_probs = actor(sequences, e.action_mask, keep)
        unscored = [torch.full((width - 1,), math.nan)] * 2
        scored = [Scored(Attempt(p, a, a, a, "drop" if i == 1 else "right"), None, 0.0, 0.0) for i, (p, a) in enumerate(rows, first)]
        e.info = {"teacher_log_probs": unscored, "dropped": torch.zeros(2), "scored": scored}
        experiences.append(e)

    maker = ScopeExperienceMaker.__new__(ScopeExperienceMaker)
    args = {"actor.model_name_or_path": "examples/tiny/student", "rollout.n_samples_per_prompt": 2, "train.colocate_all": False,
            "ds.ring_attn_size": 1, "ds.tensor_parallel_size": 1}  # fmt: skip
    maker.args = SimpleNamespace(**{section: SimpleNamespace(**{k.split(".")[1]: v for k, v in args.items() if k.startswith(section)})
                                    for section in ("actor", "rollout", "train", "ds")})  # fmt: skip
    maker.algorithm, maker.tokenizer, maker.actor_model_group = EmptyHint(None), tokenizer, None
    maker._dispatch_forward = lambda group, sync, **batches: batches
    maker._flatten_results = lambda b, copies: [
        actor(*row).detach() for row in zip(b["sequences"], b["action_mask"], b["attention_mask"], strict=True)
    ]
    rollouts, _ = collect_rollouts(experiences, samples_per_prompt=2)
    scored = maker._score_under("nothing", experiences, rollouts)
    asked = torch.tensor([True, False, True, True])
    assert torch.allclose(scored[asked][rollouts.mask_NT[asked]], rollouts.student_logp_NT[asked][rollouts.mask_NT[asked]], atol=1e-5)
    assert scored[1].isnan().all()
