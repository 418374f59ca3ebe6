"""Prompt -> verified, teacher-scored rollouts, over OpenRLHF's vLLM engines. [host]

`AgentExecutor` is OpenRLHF's own door (`--train.agent_func_path` loads this file in every rollout actor): one coroutine per
rollout does generate -> verify -> score, so a rollout is scored while others still generate.
"""

import asyncio
import json
import time
from collections import Counter
from copy import copy

import torch
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
from openrlhf.utils.agent import SingleTurnAgentExecutor

from scope_openrlhf import algorithms
from scope_openrlhf.data.problems import sample_seed
from scope_openrlhf.equations.batch import Attempt
from scope_openrlhf.equations.routing import route
from scope_openrlhf.files.stage import Stage
from scope_openrlhf.models.loading import load_tokenizer
from scope_openrlhf.settings.config import Config
from scope_openrlhf.teacher.client import Score, Scored, TeacherClient, TeacherError
from scope_openrlhf.teacher.group import awake, connect
from scope_openrlhf.teacher.score_log import ScoreLog, teacher_identity
from scope_openrlhf.verifier import verify


class AgentExecutor(SingleTurnAgentExecutor):
    """generate (OpenRLHF's single turn) -> verify -> score by the teacher, where the algorithm asks for it."""

    def __init__(self) -> None:
        super().__init__(remote_rm_url=None)
        config = Config.of_this_run()
        self.seed = config.seed
        self.tokenizer = load_tokenizer(config.student.path, trust_remote_code=config.student.trust_remote_code)
        self.algorithm = algorithms.load(**config.algorithm)
        self.teachers: dict[str, TeacherClient] = {}
        asked_here = self.algorithm.uses_teacher and not self.algorithm.teacher_scores_contexts
        for name, teacher in config.all_teachers.items() if asked_here else ():
            log = ScoreLog(teacher.score_log, teacher_identity(teacher)) if teacher.score_log else None
            self.teachers[name] = TeacherClient(connect(name, teacher), teacher.deadline_seconds, log=log)
        self.drawn: Counter[int] = Counter()
        self.under_way: Counter[int] = Counter()
        self.scores: dict[int, dict[tuple[int, ...], asyncio.Task[Score]]] = {}
        """Of the prompts under way: a sequence that is drawn twice is scored once."""

    async def execute(self, prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images=None):
        hf_tokenizer = self.tokenizer  # OpenRLHF would pickle and send one with every prompt
        row = json.loads(label)  # data.py wrote it: prompt, gold answer, the row's id and its place in the run
        order = row["order"]
        sampling_params = copy(sampling_params)
        # the row's place in the run, not its id: a row that comes again is drawn anew, wherever and in whatever process
        sampling_params.seed = sample_seed(self.seed, order, self.drawn[order])
        self.drawn[order] += 1
        self.under_way[order] += 1
        try:
            response = await super().execute(
                prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images
            )
            tokens = response["observation_tokens"]
            ((start, end),) = response["action_ranges"]
            text = hf_tokenizer.decode(tokens[start:end], skip_special_tokens=True)
            verdict = await asyncio.to_thread(verify, row["answer"], text)
            way = route(verdict.verdict, response["truncated"], self.algorithm.config.truncated)
            score, asked = None, time.time()
            if way != "drop" and self.algorithm.needs_teacher(way == "right"):
                try:
                    score = await self._score_once(order, row.get("teacher", ""), tokens)
                except TeacherError as error:  # the driver holds it against teacher.drop_budget
                    score, way = error, "drop"
        finally:
            self.under_way[order] -= 1
            if not self.under_way[order]:
                self.scores.pop(order, None)
        response["reward"] = response["scores"] = float(way == "right")
        response["extra_logs"] = {"grader_failed": float(verdict.verdict == "failed"), "dropped": float(way == "drop")}
        response["scored"] = Scored(
            Attempt(
                row["prompt"], row["answer"], text, verdict.extracted, way, response["truncated"], row.get("trace", "")
            ),
            score,
            asked,
            time.time(),
        )
        return response

    async def _score_once(self, order: int, teacher: str, tokens: list[int]) -> Score:
        scores = self.scores.setdefault(order, {})
        task = scores.get(tuple(tokens))
        if task is None:
            task = scores[tuple(tokens)] = asyncio.create_task(
                self.teachers[teacher].score(tokens, self.algorithm.top_k)
            )
        return await task


class ScopeSamplesGenerator(SamplesGenerator):
    """Keeps the teacher's log-probs with each rollout, and puts the groups of a step in a fixed order."""

    def __init__(self, top_k: int, sleepers: list[str], patience_seconds: float, stage: Stage, **kwargs) -> None:
        """sleepers: Ray names of the teacher replicas that are awake only while rollouts are generated."""
        super().__init__(tokenizer=None, **kwargs)  # the executors have their own
        self.top_k, self.sleepers, self.patience_seconds, self.stage = top_k, sleepers, patience_seconds, stage

    def _process_response_into_experience(self, response, **generate_kwargs):
        experience = super()._process_response_into_experience(response, **generate_kwargs)
        self.stage.goes_on()
        # NaN, not zero, where no score was asked for: whoever reads it by mistake gets an error
        teacher = torch.full(experience.action_mask.shape[1:], torch.nan)
        topk = torch.zeros(0, self.top_k, dtype=torch.long), torch.zeros(0, self.top_k)
        score = response["scored"].score
        if isinstance(score, Score):
            teacher[:] = torch.from_numpy(score.logprobs)[: len(teacher)]
            topk = (
                torch.from_numpy(score.topk_ids)[: len(teacher)],
                torch.from_numpy(score.topk_logprobs)[: len(teacher)],
            )
        # a list in `info` is what OpenRLHF splits and batches per rollout without padding it with zeros
        experience.info["teacher_log_probs"], experience.info["scored"] = [teacher], [response["scored"]]
        if self.top_k:
            experience.info["teacher_topk"] = [topk]
        return experience

    def generate_samples(self, **generate_kwargs):
        self.stage("generating rollouts, which the verifier and the teacher judge as they end")
        with awake(self.sleepers, self.patience_seconds):
            rollouts, *rest = super().generate_samples(**generate_kwargs)
        # groups arrive in the order in which they ended, which is a race; the rollouts inside a group are in order
        n = self.args.rollout.n_samples_per_prompt
        groups = [rollouts[i : i + n] for i in range(0, len(rollouts), n)]
        groups.sort(key=lambda group: json.loads(group[0].labels[0])["order"])
        return [rollout for group in groups for rollout in group], *rest
