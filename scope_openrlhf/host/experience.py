"""The driver's stage between rollouts and update: OpenRLHF's experience maker, with the algorithm's weights in it. [host]"""

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
import transformers
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from torch import Tensor

from scope_openrlhf.algorithms.base import Algorithm
from scope_openrlhf.data.problems import as_text, with_hint
from scope_openrlhf.equations.batch import Rollouts, Signal
from scope_openrlhf.equations.health import step_health
from scope_openrlhf.equations.routing import mask_tails
from scope_openrlhf.equations.weights import require_finite
from scope_openrlhf.models.loading import positions
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.sections import TeacherConfig
from scope_openrlhf.teacher.client import AT_ONCE, Score, TeacherClient, TeacherError
from scope_openrlhf.teacher.group import connect
from scope_openrlhf.teacher.score_log import ScoreLog, teacher_identity


class ScopeExperienceMaker(RemoteExperienceMaker):
    """Rollouts with the student's log-probs (OpenRLHF's forward) and the teacher's -> advantages, weights and paths."""

    def __init__(self, algorithm: Algorithm, teachers: dict[str, TeacherConfig], *args, **kwargs) -> None:
        """teachers: of the run, by name; the only one of them scores contexts where the algorithm wants the teacher to."""
        super().__init__(*args, **kwargs)
        self.algorithm, self.teachers = algorithm, teachers
        self.metrics: dict[str, float] = {}
        self.context_seconds = 0.0
        self.goes_on: Callable[[], None] = lambda: None
        """Called as the teacher answers, so that whoever waits knows that something moves; the trainer sets it."""
        self.step = 0
        """Rollout batches trained on so far; the trainer sets it."""

    @torch.no_grad()
    def compute_advantages_and_returns(self, experiences):
        """Replaces OpenRLHF's reward shaping and advantage estimators by `Algorithm.weigh` over the whole step."""
        knobs = self.algorithm.config
        rollouts, dropped_N = collect_rollouts(experiences, self.args.rollout.n_samples_per_prompt)
        rollouts, dropped_N, counts = self._score_contexts(experiences, rollouts, dropped_N)
        if knobs.truncated == "mask_tail":
            rollouts = replace(rollouts, mask_NT=mask_tails(rollouts.mask_NT, rollouts.truncated_N, knobs.masked_tail))
        signal, metrics = weigh_kept(self.algorithm, rollouts, ~dropped_N)
        self.metrics = metrics | counts
        for e in experiences:
            rows, width = torch.tensor(e.index), e.action_mask.shape[1]
            e.action_mask = rollouts.mask_NT[rows, :width].to(e.action_mask.dtype)
            e.advantages = signal.advantage_NT[rows, :width].float()
            e.returns = e.advantages
            e.info["weight"] = signal.weight_N[rows].float()
            e.info["path"] = signal.path_N[rows]
            e.info["return"] = e.rewards.float()
            del (
                e.info["teacher_log_probs"],
                e.info["scored"],
            )  # the loss needs none of it: its part is in the advantages
            e.kl = None
        return experiences

    def _score_contexts(
        self, experiences, rollouts: Rollouts, dropped_N: Tensor
    ) -> tuple[Rollouts, Tensor, dict[str, float]]:
        """The rollouts with their scores under the algorithm's contexts; which are dropped now, (N,) bool; counts for the metrics.

        Raises TeacherError if the teacher failed on more of them than its budget.
        """
        dropped_N, found = dropped_N.clone(), {}
        failures: dict[int, TeacherError] = {}
        counts = dict.fromkeys(("context_scored", "context_failed", "context_too_long", "context_tokens"), 0.0)
        start = time.monotonic()
        for context in self.algorithm.contexts_at(self.step):
            found[context], failed, asked = self._score_under(context, experiences, rollouts, ~dropped_N)
            failures |= failed
            dropped_N[list(failed)] = True
            for name, count in (asked | {"context_failed": len(failed)}).items():
                counts[name] += count
        self.context_seconds = time.monotonic() - start
        if failures and len(failures) > (budget := next(iter(self.teachers.values())).drop_budget):
            raise TeacherError(
                f"{len(failures)} rollouts of a step could not be scored, teacher.drop_budget is {budget}. The first: {next(iter(failures.values()))}"
            )
        return replace(rollouts, step=self.step, context_logp=found), dropped_N, counts

    def _score_under(
        self, context: str, experiences, rollouts: Rollouts, keep_N: Tensor
    ) -> tuple[Tensor, dict[int, TeacherError], dict[str, float]]:
        """Log p of each response token by whoever scores contexts, shown the algorithm's hint: (N, T), NaN rows where nothing is to be scored.

        Also why the teacher failed, by rollout, and counts for the metrics.
        """
        n = self.args.rollout.n_samples_per_prompt
        attempts = {i: scored.attempt for e in experiences for i, scored in zip(e.index, e.info["scored"], strict=True)}
        said = {i: row for e in experiences for i, row in zip(e.index, responses(e), strict=True)}
        prompts: dict[int, Tensor] = {}
        """Of the rollouts that are scored: the tokens of problem and hint."""
        too_long = 0
        for i in sorted(attempts):
            hint = (
                self.algorithm.hint(context, i % n, [attempts[j] for j in range(i - i % n, i - i % n + n)])
                if keep_N[i]
                else None
            )
            if hint is not None:
                ids = prompt_ids(self.tokenizer, with_hint(attempts[i].prompt, hint))
                if (
                    len(ids) + len(said[i]) > self._context_positions
                ):  # of a response that is shown nobody knows the length beforehand
                    too_long += 1
                else:
                    prompts[i] = ids
        ask = self._ask_teacher if self.algorithm.teacher_scores_contexts else self._ask_student
        failures: dict[int, TeacherError] = {}
        logp_NT = torch.full_like(rollouts.student_logp_NT, torch.nan)
        for i, answer in (ask(experiences, prompts, said) if prompts else {}).items():
            if isinstance(answer, TeacherError):
                failures[i] = answer
            elif answer.isfinite().all():
                logp_NT[i, rollouts.mask_NT[i]] = answer.to(logp_NT)
            else:
                raise ValueError(
                    f"rollout {i} has a log-prob under the context {context} that is not finite; are the params sound?"
                )
        tokens = sum(len(prompts[i]) + len(said[i]) for i in prompts.keys() - failures.keys())
        return (
            logp_NT,
            failures,
            {"context_scored": len(prompts) - len(failures), "context_too_long": too_long, "context_tokens": tokens},
        )

    def _ask_student(
        self, experiences, prompts: dict[int, Tensor], said: dict[int, Tensor]
    ) -> dict[int, Tensor | TeacherError]:
        """One forward of the training engine over the same micro-batches, so at the same temperature as the student's own log-probs.

        The ranks must stay in step, so a rollout that is not to be scored goes along as two tokens.
        """
        pad = self.tokenizer.pad_token_id
        nothing = torch.tensor([pad])
        batches = [
            padded([(prompts[i], said[i]) if i in prompts else (nothing, nothing) for i in e.index], pad)
            for e in experiences
        ]
        names = ("sequences", "action_mask", "attention_mask")
        refs = self._dispatch_forward(
            self.actor_model_group,
            self.args.train.colocate_all,
            **{name: [b[k] for b in batches] for k, name in enumerate(names)},
        )
        logps = self._flatten_results(refs, self.args.ds.ring_attn_size * self.args.ds.tensor_parallel_size)
        return {
            i: logp[row][mask[row].bool()]
            for e, (_, mask, _), logp in zip(experiences, batches, logps, strict=True)
            for row, i in enumerate(e.index)
            if i in prompts
        }

    def _ask_teacher(
        self, experiences, prompts: dict[int, Tensor], said: dict[int, Tensor]
    ) -> dict[int, Tensor | TeacherError]:
        """The teacher group, at its temperature: log-probs, or why there are none."""
        ((name, teacher),) = self.teachers.items()
        requests = [torch.cat([ids, said[i]]).tolist() for i, ids in prompts.items()]
        scores = dict(zip(prompts, score_all(name, teacher, requests, self.algorithm.top_k, self.goes_on), strict=True))
        sound = {i: score for i, score in scores.items() if isinstance(score, Score)}
        if self.algorithm.top_k:
            nothing = torch.zeros(0, self.algorithm.top_k, dtype=torch.int32), torch.zeros(0, self.algorithm.top_k)
            for e in experiences:
                e.info["teacher_topk"] = [
                    topk_of_response(sound[i], mask_T) if i in sound else nothing
                    for i, mask_T in zip(e.index, e.action_mask, strict=True)
                ]
        return {
            i: torch.from_numpy(s.logprobs[-len(said[i]) :]) if isinstance(s, Score) else s for i, s in scores.items()
        }

    @functools.cached_property
    def _context_positions(self) -> int:
        """Tokens of the longest sequence that whoever scores contexts takes."""
        if self.algorithm.teacher_scores_contexts:
            return next(iter(self.teachers.values())).max_model_len - 1  # plan.py set it
        trust = Config.of_this_run().student.trust_remote_code
        return positions(
            transformers.AutoConfig.from_pretrained(self.args.actor.model_name_or_path, trust_remote_code=trust)
        )


def responses(experience) -> list[Tensor]:
    """The response tokens of each row."""
    return [ids[1:][mask.bool()] for ids, mask in zip(experience.sequences, experience.action_mask, strict=True)]


def prompt_ids(tokenizer, prompt) -> Tensor:
    """A prompt of the dataset as the model gets it: (L,)."""
    return tokenizer(as_text(tokenizer, prompt), add_special_tokens=False, return_tensors="pt")["input_ids"][0]


def padded(rows: list[tuple[Tensor, Tensor]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens of prompts and of their responses -> sequences (N, S), action mask (N, S - 1) and attention mask (N, S), padded right."""
    width = max(len(p) + len(r) for p, r in rows)
    sequences = torch.full((len(rows), width), pad)
    action, attention = torch.zeros_like(sequences), torch.zeros_like(sequences)
    for i, (p, r) in enumerate(rows):
        sequences[i, : len(p) + len(r)] = torch.cat([p, r])
        attention[i, : len(p) + len(r)] = 1
        action[i, len(p) : len(p) + len(r)] = 1
    return sequences, action[:, 1:], attention


def score_all(
    name: str, teacher: TeacherConfig, requests: list[list[int]], top_k: int, goes_on: Callable[[], None]
) -> list[Score | TeacherError]:
    """The teacher's checked scores of many sequences, each a list of token ids; of one that could not be scored, its error.

    A sequence that is there twice is scored once. So many are under way at a time that none waits in the queue past its deadline; once more
    than teacher.drop_budget have failed the rest are not asked. goes_on is called after each answer.
    """

    async def ask() -> list[Score | TeacherError]:
        log = ScoreLog(teacher.score_log, teacher_identity(teacher)) if teacher.score_log else None
        client = TeacherClient(connect(name, teacher), teacher.deadline_seconds, log=log)

        room = asyncio.Semaphore(AT_ONCE * max(len(client.endpoints), 1))

        failed: list[TeacherError] = []

        async def score(token_ids: tuple[int, ...]) -> Score | TeacherError:
            async with room:
                if len(failed) > teacher.drop_budget:
                    return failed[0]
                try:
                    return await client.score(list(token_ids), top_k)
                except TeacherError as error:
                    failed.append(error)
                    return error
                finally:
                    goes_on()

        try:
            different = list(dict.fromkeys(map(tuple, requests)))
            scores = dict(zip(different, await asyncio.gather(*map(score, different)), strict=True))
            return [scores[tuple(request)] for request in requests]
        finally:
            for endpoint in client.endpoints:
                await endpoint.close()
            if log:
                log.close()

    with ThreadPoolExecutor(1) as thread:  # the caller's own may have an event loop already
        return thread.submit(asyncio.run, ask()).result()


def topk_of_response(score: Score, mask_T: Tensor) -> tuple[Tensor, Tensor]:
    """The top-k of a response that was scored after another prompt, at its places in the rollout: ids (T, K), and log-probs, NaN elsewhere.

    T ends with the response: OpenRLHF trims padding off a rollout's tensors before it batches them anew, but not off what lies in `info`.
    """
    mask_T = mask_T[: int(mask_T.nonzero()[-1]) + 1].bool()
    num, top_k = int(mask_T.sum()), score.topk_ids.shape[1]
    ids, logp = torch.zeros(len(mask_T), top_k, dtype=torch.int32), torch.full((len(mask_T), top_k), torch.nan)
    ids[mask_T] = torch.from_numpy(score.topk_ids[-num:])
    logp[mask_T] = torch.from_numpy(score.topk_logprobs[-num:])
    return ids, logp


def weigh_kept(algorithm: Algorithm, rollouts: Rollouts, keep_N: Tensor) -> tuple[Signal, dict[str, float]]:
    """`Algorithm.weigh` and the step's metrics over the kept rollouts; the others get path -1 and leave their group's normalisation."""
    num = len(keep_N)
    if not keep_N.any():
        raise ValueError(
            f"all {num} rollouts of a step were dropped ({int(rollouts.truncated_N.sum())} of them truncated), so there is nothing to train on; "
            "raise openrlhf.rollout.max_new_tokens, set algorithm.truncated=wrong, or look at the grader's failures in metrics.jsonl"
        )
    signal = Signal(
        torch.zeros_like(rollouts.student_logp_NT), torch.zeros(num, dtype=torch.float64), torch.full((num,), -1)
    )
    metrics = {
        "rollouts": float(num),
        "dropped": float((~keep_N).sum()),
        "truncated": float(rollouts.truncated_N.sum()),
    }
    require_finite(rollouts.student_mean_N, keep_N)
    kept = rollouts.select(keep_N)
    of_kept = algorithm.weigh(kept)
    for name in ("advantage_NT", "weight_N", "path_N"):
        whole = getattr(signal, name)
        whole[keep_N] = getattr(of_kept, name).to(whole.dtype)
    return signal, metrics | step_health(kept, of_kept, algorithm.paths) | of_kept.metrics


def collect_rollouts(experiences, samples_per_prompt: int) -> tuple[Rollouts, Tensor]:
    """Put the micro-batches of a step back into one table, in the order of the rollouts: row i is rollout i. And which are dropped."""
    num = sum(len(e.index) for e in experiences)
    width = max(e.action_mask.shape[1] for e in experiences)
    student, teacher = torch.zeros(num, width), torch.full((num, width), torch.nan)
    mask = torch.zeros(num, width, dtype=torch.bool)
    right, truncated, dropped = (torch.zeros(num, dtype=torch.bool) for _ in range(3))
    for e in experiences:
        for row, i in enumerate(e.index):
            t = e.action_mask.shape[1]
            student[i, :t] = e.action_log_probs[row]
            mask[i, :t] = e.action_mask[row].bool()
            score = e.info["teacher_log_probs"][row]
            teacher[i, : len(score)] = score
            right[i], truncated[i], dropped[i] = (
                e.rewards[row] > 0.5,
                bool(e.truncated[row]),
                bool(e.info["dropped"][row]),
            )
    return Rollouts(student, teacher, mask, right, truncated, torch.arange(num) // samples_per_prompt), dropped
