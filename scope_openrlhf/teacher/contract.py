"""Requests to a teacher and what comes back, whoever answers: scores, completions, and the check of every score."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scope_openrlhf.models.replies import ROUNDING, SENTINEL


class TeacherError(RuntimeError):
    """No usable answer from the teacher. The message says which replica, which request and what to do."""


class OtherTeacher(TeacherError):
    """A replica that would give sound numbers of another model: nothing later would notice it."""


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probs in nats that a teacher gives tokens 1 to L - 1 of a request of L tokens, each given those before it.

    Example, L = 3, top_k = 2:
        Score(token_ids=[7, 9], logprobs=[-0.1, -2.3],
              topk_ids=[[7, 4], [5, 9]], topk_logprobs=[[-0.1, -3.0], [-0.2, -2.3]])
    """

    token_ids: np.ndarray
    """(L - 1,) int, the tokens scored, as the engine names them."""
    logprobs: np.ndarray
    """(L - 1,) float32."""
    topk_ids: np.ndarray
    """(L - 1, K) int32, the likeliest tokens at each position; K = 0 where none were asked for."""
    topk_logprobs: np.ndarray
    """(L - 1, K) float32."""


@dataclass(frozen=True, slots=True)
class Completion:
    """Tokens that a teacher wrote after a prompt. Example: Completion(token_ids=[7, 9, 1], truncated=False)."""

    token_ids: list[int]
    truncated: bool
    """Cut off by its length, rather than ended by the teacher itself."""


class Endpoint(Protocol):
    """One replica, however it is reached: `ray_endpoint.RayEndpoint` or `http_endpoint.HttpEndpoint`."""

    name: str

    async def score(self, token_ids: list[int], top_k: int) -> Score:
        """Score a request, unchecked. Raises TeacherError if the replica gives no answer; it may be asked again."""
        ...

    async def generate(self, prompt_ids: list[int], max_tokens: int, seed: int) -> Completion:
        """Sample at the teacher's temperature. Raises TeacherError as `score` does."""
        ...

    async def open(self, text: str, token_ids: list[int], max_len: int) -> None:
        """Check that the replica suits the run, before its first request.

        token_ids: of text, by the student's tokenizer. max_len: tokens of the longest request. Raises TeacherError if
        the replica reads text as other tokens, or takes no request of max_len tokens.
        """
        ...

    async def close(self) -> None:
        """End the connection. The replica itself lives on."""
        ...


def check_score(token_ids: list[int], score: Score, top_k: int, replica: str) -> None:
    """Raise TeacherError unless a score is a sound answer to the request: it must never become a number of a weight.

    Sound: one log-prob of each of token_ids[1:], not all of them zero, and as many top-k ones as asked for; all of them
    finite, above vLLM's sentinel, and at most 0 but for rounding.
    """
    wanted = f"{replica}, request of {len(token_ids)} tokens"
    due = len(token_ids) - 1
    if score.logprobs.shape != (due,):
        raise TeacherError(f"{wanted}: {score.logprobs.size} log-probs came back, {due} were due")
    if score.token_ids.shape != (due,):
        raise TeacherError(f"{wanted}: {score.token_ids.size} token ids came back, {due} were due")
    other = np.flatnonzero(score.token_ids != np.array(token_ids[1:]))
    if len(other):
        at = other[0]
        raise TeacherError(
            f"{wanted}: position {at + 1} was scored as token {score.token_ids[at]}, sent was {token_ids[at + 1]}"
        )
    if score.topk_ids.shape != (due, top_k) or score.topk_logprobs.shape != (due, top_k):
        raise TeacherError(
            f"{wanted}: its top-k has the shapes {score.topk_ids.shape}, {score.topk_logprobs.shape}, "
            f"due was {(due, top_k)}"
        )
    for logprobs in (score.logprobs, *score.topk_logprobs.T):
        # NaN compares as false
        bad = np.flatnonzero(~((logprobs > SENTINEL) & (logprobs <= ROUNDING)))
        if len(bad):
            raise TeacherError(
                f"{wanted}: log-prob {logprobs[bad[0]]} at position {bad[0] + 1} is not a number above {SENTINEL:g} "
                "and at most 0"
            )
    if due > 1 and not score.logprobs.any():
        raise TeacherError(f"{wanted}: every log-prob is exactly 0, which no model says of a whole sequence")


def check_completion(completion: Completion, max_tokens: int, replica: str) -> None:
    """Raise TeacherError if a completion is longer than it may be."""
    if len(completion.token_ids) > max_tokens:
        raise TeacherError(f"{replica} wrote {len(completion.token_ids)} tokens where {max_tokens} were asked for")
