"""lm-eval's process_results for all tasks here: every sample graded by the one verifier. Named in the YAML as `!function`."""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from scope_openrlhf.verifier import Grader, verify


class Response(str):
    """A response that knows how it ended. lm-eval carries nothing but text from the model to the grader."""

    finish_reason: str | None
    """As vLLM says: "stop", or "length" for a truncated one. None: the backend does not tell."""

    def __new__(cls, text: str, finish_reason: str | None = None):
        self = super().__new__(cls, text)
        self.finish_reason = finish_reason
        return self


@dataclass(frozen=True, slots=True)
class Grade:
    """Example: Grade("wrong", answer="41", reason="different", answer_class=1)."""

    verdict: str
    """The verifier's: right, wrong or failed, whether the response was truncated or not."""
    answer: str | None
    reason: str
    answer_class: int | None
    """The same for equivalent answers to one problem; 0 for right ones, None for no answer."""


def grade(gold: str, responses: Sequence[str], significant: bool = False, grader: Grader | None = None) -> list[Grade]:
    """One for each response to one problem. grader: whose limits and workers to use; by default the verifier's own."""
    check = functools.partial(grader.verify if grader else verify, significant=significant)
    if len(responses) > 1:  # what needs algebra waits for worker processes: several at a time
        verdicts = list(_THREADS.map(functools.partial(check, gold), responses))
    else:
        verdicts = [check(gold, response) for response in responses]
    classes = answer_classes([(v.verdict, v.extracted) for v in verdicts], check)
    return [Grade(v.verdict, v.extracted, v.reason, c) for v, c in zip(verdicts, classes, strict=True)]


MOST_BY_ALGEBRA = 64
"""For one problem: hostile answers may take seconds a pair."""
_THREADS = ThreadPoolExecutor(2 * (os.cpu_count() or 1), thread_name_prefix="grade")


def answer_classes(graded: Sequence[tuple[str, str | None]], check: Callable = verify) -> list[int | None]:
    """For each (verdict, answer) its class: 0 if right, else that of the first wrong answer that it equals; None without an answer.

    A failed answer took the grader too long once, so it is compared by its spelling alone; so are all after the first pair of wrong answers
    that cannot be decided, or after MOST_BY_ALGEBRA pairs that only algebra could.
    """
    patience = MOST_BY_ALGEBRA

    def same(leader: str, answer: str) -> bool:
        nonlocal patience
        if patience <= 0:
            return leader == answer
        found = check(leader, rf"\boxed{{{answer}}}")
        patience -= found.reason.endswith("by algebra")
        if found.verdict == "failed":
            patience = 0
        return found.verdict == "right"

    leaders: list[tuple[str, str]] = []
    known: dict[tuple[str, str], int] = {}
    classes: list[int | None] = []
    for verdict, answer in graded:
        if verdict == "right" or answer is None:
            classes.append(0 if verdict == "right" else None)
            continue
        key = (verdict, answer)
        if key not in known:
            equals = (
                i for i, (kind, leader) in enumerate(leaders, 1) if kind == verdict == "wrong" and same(leader, answer)
            )
            known[key] = next(equals, len(leaders) + 1)
            if known[key] > len(leaders):
                leaders.append(key)
        classes.append(known[key])
    return classes


def counts_as_right(verdict: str, finish_reason: str | None) -> bool:
    """The named default: what was truncated never ended, so it is not right, whatever stands in it."""
    return verdict == "right" and finish_reason != "length"


def process_results(doc: dict, results: list, significant: bool = False) -> dict:
    """Share of right samples, whether any is right, and the grade of each. `results` is [[text, ...]]: the filter keeps all."""
    (texts,) = results
    grades = grade(str(doc["answer"]), texts, significant)
    right = [
        counts_as_right(g.verdict, getattr(text, "finish_reason", None)) for g, text in zip(grades, texts, strict=True)
    ]
    return {"avg": sum(right) / len(right), "pass": float(any(right)), "grades": [asdict(g) for g in grades]}


def process_results_to_significant_figures(doc: dict, results: list) -> dict:
    """For golds that state significant figures (Minerva): see verifier.Rules."""
    return process_results(doc, results, significant=True)


def failed_share(grades: list[list[dict]]) -> float:
    """lm-eval's aggregation of `grades`: the share of samples that the grader could not decide."""
    verdicts = [g["verdict"] for problem in grades for g in problem]
    return verdicts.count("failed") / len(verdicts)
