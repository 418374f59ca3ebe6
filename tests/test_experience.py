"""From rollouts to weights, without any engine: what is dropped trains nothing and leaves its group."""

import math

import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.batch import Rollouts
from scope_openrlhf.experience import hinted_batch, weigh_kept


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


def test_a_step_whose_rollouts_are_all_dropped_trains_nothing_and_says_so():
    signal, metrics = weigh_kept(algorithms.load("scope"), group(math.nan, math.nan), torch.zeros(2, dtype=torch.bool))
    assert signal.path_N.tolist() == [-1, -1] and metrics["dropped"] == 2 and not signal.advantage_NT.any()


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
