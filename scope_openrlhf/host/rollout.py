"""Prompt -> verified, teacher-scored rollouts, over OpenRLHF's vLLM engines.

`AgentExecutor` is OpenRLHF's own door (`--train.agent_func_path` loads this file in every rollout actor): one coroutine
for each rollout does generate -> verify -> score, so a rollout is scored while others still generate.

No object of a class that is defined here may be sent to another process. OpenRLHF loads this file under a name that
other processes cannot import, so pickle would send the whole class along, which takes seconds a step.
"""

import asyncio
import time
from collections import Counter
from copy import copy

from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
from openrlhf.utils.agent import SingleTurnAgentExecutor

from scope_openrlhf import algorithms
from scope_openrlhf.data.order import sample_seed
from scope_openrlhf.equations.batch import Attempt
from scope_openrlhf.equations.routing import route
from scope_openrlhf.files.stage import Stage
from scope_openrlhf.host import luggage
from scope_openrlhf.host.gather import experience_of
from scope_openrlhf.models.loading import load_tokenizer
from scope_openrlhf.settings.resolved import Run
from scope_openrlhf.teacher.client import TeacherClient, client_of
from scope_openrlhf.teacher.contract import Score, TeacherError
from scope_openrlhf.teacher.group import awake
from scope_openrlhf.verifier import verify


class AgentExecutor(SingleTurnAgentExecutor):
    """One turn of OpenRLHF's, then the verifier, then the teacher where the algorithm asks for it."""

    def __init__(self) -> None:
        super().__init__(remote_rm_url=None)
        run = Run.of_this_worker()
        self.seed = run.seed
        self.tokenizer = load_tokenizer(run.student.path, trust_remote_code=run.student.trust_remote_code)
        self.algorithm = algorithms.load(**run.algorithm)
        asked = run.teachers if self.algorithm.asks.teacher_scores else {}
        self.teachers: dict[str, TeacherClient] = {name: client_of(teacher) for name, teacher in asked.items()}
        self.drawn: Counter[int] = Counter()
        self.under_way: Counter[int] = Counter()
        self.scores: dict[int, dict[tuple[int, ...], asyncio.Task[Score]]] = {}
        """By place of the problem, while its rollouts are under way: a sequence that is drawn twice is scored once."""

    async def execute(self, prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images=None):
        problem, place = luggage.unpack_label(label)
        sampling_params = copy(sampling_params)
        # the place in the run, not the id: a row that comes again is drawn anew, wherever and in whatever process
        sampling_params.seed = sample_seed(self.seed, place, self.drawn[place])
        self.drawn[place] += 1
        self.under_way[place] += 1
        try:
            # with our tokenizer: OpenRLHF would pickle and send one with every prompt
            response = await super().execute(
                prompt, label, sampling_params, max_length, self.tokenizer, llm_engine, images
            )
            tokens, truncated = response["observation_tokens"], response["truncated"]
            ((start, end),) = response["action_ranges"]
            text = self.tokenizer.decode(tokens[start:end], skip_special_tokens=True)
            verdict = await asyncio.to_thread(verify, problem.answer, text)
            way = route(verdict.verdict, truncated, self.algorithm.knobs.truncated, empty=start == end)
            score: Score | TeacherError | None = None
            asked = time.time()
            if way in self.algorithm.asks.teacher_scores:
                try:
                    score = await self._score_once(place, problem.teacher or "", tokens)
                except TeacherError as error:  # the driver holds it against teacher.drop_budget
                    score, way = error, "drop"
        finally:
            self.under_way[place] -= 1
            if not self.under_way[place]:
                self.scores.pop(place, None)
        attempt = Attempt(problem, text, verdict.extracted, way, truncated)
        undecided = verdict.reason if verdict.verdict == "failed" else ""
        luggage.pack_response(response, attempt, score, asked, undecided)
        return response

    async def _score_once(self, place: int, teacher: str, tokens: list[int]) -> Score:
        scores = self.scores.setdefault(place, {})
        task = scores.get(tuple(tokens))
        if task is None:
            score = self.teachers[teacher].score(tokens, self.algorithm.asks.top_k)
            task = scores[tuple(tokens)] = asyncio.create_task(score)
        return await task


class ScopeSamplesGenerator(SamplesGenerator):
    """OpenRLHF's generator, which keeps the teacher's log-probs with each rollout and a step's groups in order."""

    def __init__(self, top_k: int, sleepers: list[str], patience_seconds: float, stage: Stage, **kwargs) -> None:
        """sleepers: Ray names of the teacher replicas that are awake only while rollouts are generated."""
        super().__init__(tokenizer=None, **kwargs)  # the executors have their own
        self.top_k, self.sleepers, self.patience_seconds, self.stage = top_k, sleepers, patience_seconds, stage

    def _process_response_into_experience(self, response, **generate_kwargs):
        experience = experience_of(response, generate_kwargs["max_len"])
        self.stage.goes_on()
        luggage.pack_scores(experience, response["scored"], self.top_k)
        return experience

    def generate_samples(self, **generate_kwargs):
        self.stage("generating rollouts, which the verifier and the teacher judge as they end")
        with awake(self.sleepers, self.patience_seconds):
            rollouts, *rest = super().generate_samples(**generate_kwargs)
        # groups arrive in the order in which they ended, which is a race; the rollouts inside a group are in order
        n = self.args.rollout.n_samples_per_prompt
        groups = [rollouts[i : i + n] for i in range(0, len(rollouts), n)]
        groups.sort(key=lambda group: luggage.unpack_label(group[0].labels[0])[1])
        return [rollout for group in groups for rollout in group], *rest
