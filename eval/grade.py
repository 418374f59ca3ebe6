"""Responses -> grades, by the one verifier: for the samples of a store, and as lm-eval's process_results.

The task files name process_results and failed_share as `!function`, so plain lm-eval grades with the same verifier.
"""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TextIO

from tqdm import tqdm

from scope_eval.store import Grade, Store
from scope_openrlhf.verifier import Grader, verify

PROBLEMS_AT_ONCE = 8
"""Problems that are graded side by side: an answer which keeps a grader's worker busy for seconds then holds up its own
problem alone."""
MOST_BY_ALGEBRA = 64
"""Pairs of wrong answers to one problem that may be compared by algebra: hostile ones may take seconds each."""
_THREADS = ThreadPoolExecutor(2 * (os.cpu_count() or 1), thread_name_prefix="grade")


class ResponseText(str):
    """A response that knows how it ended and what the grader says of it.

    lm-eval carries nothing but text from the model to process_results.
    """

    finish_reason: str | None
    """As vLLM says: "stop", or "length" for a truncated one. None: the backend does not tell."""
    grade: Grade | None
    """None: it is not graded yet."""

    def __new__(cls, text: str, finish_reason: str | None = None, grade: Grade | None = None) -> "ResponseText":
        self = super().__new__(cls, text)
        self.finish_reason, self.grade = finish_reason, grade
        return self


def grade_samples(
    store: Store, benchmark: dict[str, Any], problems: int, samples: int, progress_to: TextIO
) -> dict[str, list[Grade]]:
    """Grade the first samples of the first problems of a benchmark and keep the grades in the store.

    benchmark: one of store.benchmarks(). All that scope-eval grades is graded here, right after sampling or again
    later. Returns the grades of each item. Raises GraderError if no grader can be started.
    """

    def grade_problem(problem: dict) -> tuple[str, list[Grade]]:
        texts = store.texts(benchmark["id"], problem["id"], samples)
        return problem["id"], grade(problem["answer"], texts, benchmark["about"]["significant"])

    asked = store.problems(benchmark["id"], problems)
    bar = functools.partial(tqdm, desc=benchmark["name"], unit="problem", mininterval=1.0, file=progress_to)
    with ThreadPoolExecutor(PROBLEMS_AT_ONCE) as threads:
        graded = dict(bar(threads.map(grade_problem, asked), total=len(asked)))
    store.put_grades(benchmark["id"], graded)  # at the end: whoever is stopped before grades anew
    return graded


def grade(gold: str, responses: Sequence[str], significant: bool = False, grader: Grader | None = None) -> list[Grade]:
    """The grade of each response to one problem.

    significant: the gold states significant figures, see verifier.Rules.
    grader: whose limits and workers to use; by default the verifier's own.
    """
    check = functools.partial(grader.verify if grader else verify, significant=significant)
    if len(responses) > 1:  # what needs algebra waits for worker processes: several at a time
        verdicts = list(_THREADS.map(functools.partial(check, gold), responses))
    else:
        verdicts = [check(gold, response) for response in responses]
    classes = answer_classes([(v.verdict, v.extracted) for v in verdicts], check)
    return [Grade(v.verdict, v.extracted, v.reason, c) for v, c in zip(verdicts, classes, strict=True)]


def answer_classes(graded: Sequence[tuple[str, str | None]], check: Callable = verify) -> list[int | None]:
    """The class of each (verdict, answer): 0 if right, else that of the first wrong answer that it equals.

    None without an answer. A failed answer took the grader too long once, so it is compared by its spelling alone; so
    are all after the first pair of wrong answers that cannot be decided, or after MOST_BY_ALGEBRA pairs that only
    algebra could.
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
    """Whether a sample is right. One that was truncated never ended, so it is not, whatever stands in it."""
    return verdict == "right" and finish_reason != "length"


def process_results(doc: dict, results: list, significant: bool = False) -> dict:
    """Share of right samples of one problem, whether any is right, and the grade of each, as lm-eval asks for them.

    results: [[text, ...]], because the tasks' filter keeps all. Texts of a store carry the grades that grade_samples
    made; those of plain lm-eval are graded here.
    """
    (texts,) = results
    grades = [text.grade for text in texts if isinstance(text, ResponseText) and text.grade]
    if len(grades) < len(texts):
        grades = grade(str(doc["answer"]), texts, significant)
    right = [
        counts_as_right(g.verdict, getattr(text, "finish_reason", None)) for g, text in zip(grades, texts, strict=True)
    ]
    return {"avg": sum(right) / len(right), "pass": float(any(right)), "grades": [asdict(g) for g in grades]}


def process_results_to_significant_figures(doc: dict, results: list) -> dict:
    """process_results for golds that state significant figures (Minerva), see verifier.Rules."""
    return process_results(doc, results, significant=True)


def failed_share(grades: list[list[dict]]) -> float:
    """Share of samples that the grader could not decide: lm-eval's aggregation of `grades`."""
    verdicts = [g["verdict"] for problem in grades for g in problem]
    return verdicts.count("failed") / len(verdicts)
