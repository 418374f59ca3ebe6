import asyncio
import math

import numpy as np
import pytest

from scope_openrlhf.teacher import Score, TeacherClient, TeacherError, check_score


def test_scores_equal_a_hugging_face_forward_at_the_same_temperature(teacher):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("examples/tiny/teacher")
    model = AutoModelForCausalLM.from_pretrained("examples/tiny/teacher", dtype=torch.float32)
    client = TeacherClient(replicas=1, deadline_seconds=60)
    texts = [rf"<|user|>{a}+7-5?<|assistant|>{a}+7={a + 7};{a + 7}-5={a + 2};\boxed{{{a + 2}}}<|end|>" for a in range(20, 60)]
    sequences = [tokenizer(t)["input_ids"] for t in texts]
    sequences.append((sequences[0] * 6)[:127])  # the longest request that max_model_len 128 takes

    async def score_all():
        return await asyncio.gather(*(client.score(s, top_k=3) for s in sequences))

    for sequence, score in zip(sequences, asyncio.run(score_all()), strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([sequence])).logits[0, :-1] / 0.6
        logp = torch.log_softmax(logits, dim=-1)
        expected = logp.gather(1, torch.tensor(sequence[1:])[:, None])[:, 0]
        # float32 on both sides; log-probs go down to -30, where a relative error of 1e-4 is 3e-3
        assert torch.allclose(torch.tensor(score.logprobs), expected, rtol=1e-4, atol=1e-4)
        assert torch.allclose(torch.tensor(score.topk_logprobs), logp.topk(3).values, rtol=1e-4, atol=1e-4)
        assert torch.allclose(logp.gather(1, torch.tensor(score.topk_ids).long()), logp.topk(3).values, rtol=1e-4, atol=1e-4)


def test_the_replica_counts_what_it_scored_and_how_long_it_was_busy(teacher, ray_session):
    ray_session.get(teacher[0].take_stats.remote())
    client = TeacherClient(replicas=1, deadline_seconds=60)
    asyncio.run(client.score([3, 5, 6, 7]))
    stats = ray_session.get(teacher[0].take_stats.remote())
    assert stats["scored"] == 1 and stats["seconds"] > 0


def test_a_late_answer_is_an_error_that_says_what_to_do(teacher):
    client = TeacherClient(replicas=1, deadline_seconds=1e-4)
    with pytest.raises(TeacherError, match="raise teacher.deadline_seconds"):
        asyncio.run(client.score([3, 5, 6, 7]))


def answer(ids, logprobs, topk=None) -> Score:
    topk = np.array(topk or [[]] * len(logprobs), dtype=np.float32)
    return Score(np.array(ids), np.array(logprobs, dtype=np.float32), np.zeros(topk.shape, dtype=np.int32), topk)


@pytest.mark.parametrize(
    "ids, logprobs, message",
    [
        ([6, 7], [-1.0], "1 log-probs came back, 2 were due"),
        ([6, 8], [-1.0, -2.0], "position 2 was scored as token 8, sent was 7"),
        ([6, 7], [-1.0, math.nan], "log-prob nan at position 2"),
        ([6, 7], [-math.inf, -1.0], "log-prob -inf at position 1"),
        ([6, 7], [-1.0, 0.5], "log-prob 0.5 at position 2"),
        ([6, 7], [0.0, 0.0], "every log-prob is exactly 0"),
    ],
)
def test_a_broken_answer_never_becomes_a_number(ids, logprobs, message):
    with pytest.raises(TeacherError, match=message):
        check_score([5, 6, 7], answer(ids, logprobs), 0, "scope-teacher-0")


def test_a_sound_answer_passes_and_a_broken_top_k_does_not():
    check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0]), 0, "scope-teacher-0")
    check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0], [[-0.5], [0.0]]), 1, "scope-teacher-0")
    with pytest.raises(TeacherError, match=r"its top-k has the shapes \(2, 0\), \(2, 0\), due was \(2, 1\)"):
        check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0]), 1, "scope-teacher-0")
    with pytest.raises(TeacherError, match="log-prob nan at position 2"):
        check_score([5, 6, 7], answer([6, 7], [-0.5, 0.0], [[-0.5], [math.nan]]), 1, "scope-teacher-0")
