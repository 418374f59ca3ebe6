"""Rollouts scored again under the contexts of an algorithm: shown a hint after the problem, by student or teacher."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Algorithm
from scope_openrlhf.data.prompts import Prompt, as_text, with_hint
from scope_openrlhf.equations.batch import Rollouts
from scope_openrlhf.host import luggage
from scope_openrlhf.models.loading import positions
from scope_openrlhf.settings.resolved import Run
from scope_openrlhf.settings.sections import StudentConfig
from scope_openrlhf.teacher.client import score_all
from scope_openrlhf.teacher.contract import Score, TeacherError

Forward = Callable[[list[tuple[Tensor, Tensor, Tensor]]], list[Tensor]]
"""(sequences, action mask, attention mask) of each micro-batch -> (rows, S - 1) log-probs of each, by the student."""
Answers = dict[int, Tensor | TeacherError]
"""For each rollout asked about: the log-probs of its response's tokens, or why there are none."""


@dataclass(slots=True)
class ContextScores:
    """What the contexts of a step gave."""

    rollouts: Rollouts
    """With `context_logp`."""
    dropped_N: Tensor
    """(N,) bool: dropped before, or by a failing teacher now."""
    metrics: dict[str, float]
    seconds: float


class ContextScorer:
    """Asks whoever scores the contexts of the run's algorithm."""

    def __init__(self, algorithm: Algorithm, run: Run, tokenizer: Any, samples_per_prompt: int, forward: Forward,
                 goes_on: Callable[[], None]) -> None:  # fmt: skip
        """forward: of the student's training engine. goes_on: called as the teacher answers: something moves."""
        self.algorithm, self.run, self.tokenizer = algorithm, run, tokenizer
        self.samples_per_prompt, self.forward, self.goes_on = samples_per_prompt, forward, goes_on

    def score(self, experiences: list, rollouts: Rollouts, dropped_N: Tensor, step: int) -> ContextScores:
        """The step's rollouts under each context that the algorithm reads at this step.

        Raises TeacherError if the teacher failed on more of them than teacher.drop_budget.
        """
        found: dict[str, Tensor] = {}
        failures: dict[int, TeacherError] = {}
        dropped_N = dropped_N.clone()
        metrics = dict.fromkeys(("context_scored", "context_failed", "context_too_long", "context_tokens"), 0.0)
        start = time.monotonic()
        for context in self.algorithm.contexts_at(step):
            found[context], failed, counts = self.score_under(context, experiences, rollouts, ~dropped_N)
            failures |= failed
            dropped_N[list(failed)] = True
            for name, count in counts.items():
                metrics[name] += count
        seconds = time.monotonic() - start
        if failures and len(failures) > self.run.drop_budget:
            raise TeacherError(
                f"{len(failures)} rollouts of a step could not be scored, teacher.drop_budget is "
                f"{self.run.drop_budget}. The first: {next(iter(failures.values()))}"
            )
        return ContextScores(replace(rollouts, step=step, context_logp=found), dropped_N, metrics, seconds)

    def score_under(
        self, context: str, experiences: list, rollouts: Rollouts, keep_N: Tensor
    ) -> tuple[Tensor, dict[int, TeacherError], dict[str, float]]:
        """One context: log p of each response token, (N, T), NaN rows where nothing is to be scored.

        Also why the teacher failed, by rollout, and counts for the metrics.
        """
        said = {i: row for e in experiences for i, row in zip(e.index, responses(e), strict=True)}
        prompts, too_long = self._hinted_prompts(context, experiences, said, keep_N)
        ask = self._ask_teacher if self.algorithm.asks.contexts_by_teacher else self._ask_student
        failures: dict[int, TeacherError] = {}
        logp_NT = torch.full_like(rollouts.student_logp_NT, torch.nan)
        for i, answer in (ask(experiences, prompts, said) if prompts else {}).items():
            if isinstance(answer, TeacherError):
                failures[i] = answer
            elif answer.isfinite().all():
                logp_NT[i, rollouts.mask_NT[i]] = answer.to(logp_NT)
            else:
                raise ValueError(f"rollout {i} has a log-prob under the context {context} that is not finite")
        return logp_NT, failures, {
            "context_scored": len(prompts) - len(failures),
            "context_failed": len(failures),
            "context_too_long": too_long,
            "context_tokens": sum(len(prompts[i]) + len(said[i]) for i in prompts.keys() - failures.keys()),
        }  # fmt: skip

    def _hinted_prompts(
        self, context: str, experiences: list, said: dict[int, Tensor], keep_N: Tensor
    ) -> tuple[dict[int, Tensor], int]:
        """Tokens of problem and hint of each rollout that is to be scored, and how many are too long for who scores."""
        n = self.samples_per_prompt
        attempts = {i: s.attempt for e in experiences for i, s in zip(e.index, luggage.scored_of(e), strict=True)}
        prompts: dict[int, Tensor] = {}
        too_long = 0
        for i in sorted(attempts):
            group = [attempts[j] for j in range(i - i % n, i - i % n + n)]
            hint = self.algorithm.hint(context, i % n, group) if keep_N[i] else None
            if hint is not None:
                ids = prompt_ids(self.tokenizer, with_hint(attempts[i].problem.prompt, hint), self.run.student)
                # how long a response is that the hint shows, nobody knows beforehand
                if len(ids) + len(said[i]) > self.positions:
                    too_long += 1
                else:
                    prompts[i] = ids
        return prompts, too_long

    def _ask_student(self, experiences: list, prompts: dict[int, Tensor], said: dict[int, Tensor]) -> Answers:
        """One forward over the same micro-batches as the student's own log-probs, so at the same temperature.

        The ranks must stay in step, so a rollout that is not to be scored goes along as two tokens.
        """
        pad = self.tokenizer.pad_token_id
        nothing = torch.tensor([pad]), torch.tensor([pad])
        batches = [
            padded([(prompts[i], said[i]) if i in prompts else nothing for i in e.index], pad) for e in experiences
        ]
        return {
            i: logp[row][mask[row].bool()]
            for e, (_, mask, _), logp in zip(experiences, batches, self.forward(batches), strict=True)
            for row, i in enumerate(e.index)
            if i in prompts
        }

    def _ask_teacher(self, experiences: list, prompts: dict[int, Tensor], said: dict[int, Tensor]) -> Answers:
        """The teacher group, at its temperature."""
        (teacher,) = self.run.teachers.values()
        top_k = self.algorithm.asks.top_k
        requests = [torch.cat([ids, said[i]]).tolist() for i, ids in prompts.items()]
        scores = dict(zip(prompts, score_all(teacher, requests, top_k, self.goes_on), strict=True))
        if top_k:
            for e in experiences:
                rows = zip(e.index, e.action_mask, strict=True)
                luggage.pack_topk(e, [_topk_at(scores.get(i), mask_T, top_k) for i, mask_T in rows])
        return {
            i: torch.from_numpy(score.logprobs[-len(said[i]) :]) if isinstance(score, Score) else score
            for i, score in scores.items()
        }

    @functools.cached_property
    def positions(self) -> int:
        """Number of tokens of the longest sequence that whoever scores contexts takes."""
        if self.algorithm.asks.contexts_by_teacher:
            return next(t.max_model_len for t in self.run.teachers.values()) - 1
        student = self.run.student
        trust = student.trust_remote_code
        return positions(transformers.AutoConfig.from_pretrained(student.path, trust_remote_code=trust))


def _topk_at(score: Score | TeacherError | None, mask_T: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    return topk_of_response(score, mask_T) if isinstance(score, Score) else luggage.no_topk(top_k)


def responses(experience: Any) -> list[Tensor]:
    """The response tokens of each row of a micro-batch."""
    rows = zip(experience.sequences, experience.action_mask, strict=True)
    return [ids[1:][mask.bool()] for ids, mask in rows]


def prompt_ids(tokenizer: Any, prompt: Prompt, student: StudentConfig) -> Tensor:
    """The tokens of a prompt of the data as the model gets it: (L,)."""
    text = as_text(tokenizer, prompt, student)
    return tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"][0]


def padded(rows: list[tuple[Tensor, Tensor]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """A micro-batch of N rows of (prompt tokens, response tokens), padded right with `pad` to S tokens.

    Returns sequences (N, S), action mask (N, S - 1) and attention mask (N, S).
    """
    width = max(len(p) + len(r) for p, r in rows)
    sequences = torch.full((len(rows), width), pad)
    action, attention = torch.zeros_like(sequences), torch.zeros_like(sequences)
    for i, (p, r) in enumerate(rows):
        sequences[i, : len(p) + len(r)] = torch.cat([p, r])
        attention[i, : len(p) + len(r)] = 1
        action[i, len(p) : len(p) + len(r)] = 1
    return sequences, action[:, 1:], attention


def topk_of_response(score: Score, mask_T: Tensor) -> tuple[Tensor, Tensor]:
    """The top-k of a response that was scored after another prompt, at its places in the rollout.

    Returns ids (T, K), and log-probs (T, K), NaN off the response. T ends with the response: OpenRLHF trims padding off
    a rollout's tensors before it batches them anew, but not off what lies in `info`.
    """
    mask_T = mask_T[: int(mask_T.nonzero()[-1]) + 1].bool()
    num, top_k = int(mask_T.sum()), score.topk_ids.shape[1]
    ids = torch.zeros(len(mask_T), top_k, dtype=torch.int32)
    logp = torch.full((len(mask_T), top_k), torch.nan)
    ids[mask_T] = torch.from_numpy(score.topk_ids[-num:])
    logp[mask_T] = torch.from_numpy(score.topk_logprobs[-num:])
    return ids, logp
