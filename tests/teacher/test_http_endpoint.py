"""What a `vllm serve` answers, as it is read."""

import numpy as np
import pytest

from scope_openrlhf.teacher.contract import TeacherError
from scope_openrlhf.teacher.http_endpoint import parse_positions


def test_an_answer_over_http_is_read_by_token_id_and_rank():
    positions = [
        {"7": {"logprob": -2.0, "rank": 3}, "4": {"logprob": -0.1, "rank": 1}, "9": {"logprob": -1.0, "rank": 2}},
        {"9": {"logprob": None, "rank": 1}, "4": {"logprob": -3.0, "rank": 2}},
    ]
    score = parse_positions([5, 7, 9], positions, 2, "url")
    assert score.token_ids.tolist() == [7, 9] and score.topk_ids.tolist() == [[4, 9], [9, 4]]
    assert score.logprobs[0] == -2.0 and np.isnan(score.logprobs[1])  # which the client's check refuses
    with pytest.raises(TeacherError, match="position 1 holds no log-prob of token 8"):
        parse_positions([5, 8, 9], positions, 2, "url")
    with pytest.raises(TeacherError, match="position 2 lacks some of the 3 likeliest"):
        parse_positions([5, 7, 9], positions, 3, "url")
