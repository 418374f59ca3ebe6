"""(gold, response) -> right | wrong | failed. The one grader, of training and of evaluation."""

import logging
from dataclasses import dataclass
from typing import Literal

MAX_RESPONSE_CHARS = 1_000_000
MAX_ANSWER_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Example: Verdict("right", extracted="42", reason="same text")."""

    verdict: Literal["right", "wrong", "failed"]
    extracted: str | None
    reason: str

    @property
    def right(self) -> bool:
        return self.verdict == "right"


def verify(gold: str, response: str) -> Verdict:
    """Grade a response (without its prompt) against the gold answer.

    The answer is the last complete \\boxed{} after the last closed think tag; no box is wrong. Equal text is right; otherwise
    math-verify decides whether the two are the same mathematics. An error inside it says `failed`, never right or wrong.
    """
    answer = extract_boxed(response[-MAX_RESPONSE_CHARS:])
    if answer is None:
        return Verdict("wrong", None, "no complete \\boxed{}")
    if _plain(answer) == _plain(gold):
        return Verdict("right", answer, "same text")
    if len(answer) > MAX_ANSWER_CHARS:
        return Verdict("wrong", answer[:100], f"answer longer than {MAX_ANSWER_CHARS} characters")
    if _is_integer(answer) and _is_integer(gold):
        same = int(answer) == int(gold)
        return Verdict("right" if same else "wrong", answer, "same integer" if same else "another integer")
    return _by_math_verify(gold, answer)


def extract_boxed(response: str) -> str | None:
    """Content of the last complete \\boxed{...} after the last </think>, braces balanced; None if there is none."""
    text = response.rpartition("</think>")[2]
    start = text.rfind("\\boxed{")
    while start != -1:
        depth = 0
        for i in range(start + len("\\boxed"), len(text)):
            depth += {"{": 1, "}": -1}.get(text[i], 0)
            if depth == 0:
                return text[start + len("\\boxed{") : i].strip()
        start = text.rfind("\\boxed{", 0, start)
    return None


def _by_math_verify(gold: str, answer: str) -> Verdict:
    from math_verify import parse
    from math_verify import verify as same_mathematics

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns on every call that no time limit is set
    try:  # the library's own time limits need the main thread's SIGALRM; a rollout is graded in any thread
        parsed_gold, parsed = (parse(f"\\boxed{{{a}}}", parsing_timeout=None, raise_on_error=True) for a in (gold, answer))
        if not parsed_gold:
            return Verdict("failed", answer, f"the gold answer {gold[:50]!r} cannot be read as mathematics")
        same = same_mathematics(parsed_gold, parsed, timeout_seconds=None, raise_on_error=True)
    except Exception as error:  # border to a parser that reads untrusted text: an undecided answer is data, not a crash
        return Verdict("failed", answer, f"math-verify: {type(error).__name__}: {error}"[:200])
    return Verdict("right" if same else "wrong", answer, "same by math-verify" if same else "different by math-verify")


def _plain(answer: str) -> str:
    return " ".join(answer.split()).removesuffix(".")


def _is_integer(text: str) -> bool:
    digits = text.strip().removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 100
