"""The single controller of a run: OpenRLHF's PPO trainer, plain or asynchronous, with our generator, experience maker and report. [host]"""

import json
import math
from collections import Counter

import openrlhf.trainer.ppo_trainer_async as ppo_trainer_async
import ray
import transformers
from openrlhf.trainer.ppo_trainer import BasePPOTrainer, PPOTrainer
from openrlhf.trainer.ppo_trainer_async import GenerateSamplesActor, PPOTrainerAsync, TrainingActor
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scope_openrlhf import algorithms
from scope_openrlhf.equations.health import overlap, path_health
from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.files.journal import StepLog
from scope_openrlhf.files.stage import Stage
from scope_openrlhf.host.experience import ScopeExperienceMaker
from scope_openrlhf.host.rollout import ScopeSamplesGenerator
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.sections import TeacherConfig
from scope_openrlhf.teacher.client import Score, TeacherError
from scope_openrlhf.teacher.group import actor_names, awake
from scope_openrlhf.teacher.probe import longest_request, probe_run, tolerated
from scope_openrlhf.teacher.score_log import identities


def refuse_another_teacher(saved: dict[str, str] | None, now: dict[str, str]) -> None:
    """Raise TeacherError if a checkpoint was trained with a teacher that differs from the present one, or with none."""
    if saved is None:
        raise TeacherError(
            "the checkpoint was trained without a teacher, and this run has one; train under another name"
        )
    # a checkpoint of before commits were kept tells nothing of them
    changed = sorted(
        k
        for k in now.keys() | saved.keys()
        if now.get(k) != saved.get(k) and (k in saved or not k.endswith("revision"))
    )
    if changed:
        raise TeacherError(
            f"the checkpoint was trained with another teacher; it differs in {', '.join(f'{k} ({saved.get(k)} then, {now.get(k)} now)' for k in changed)}. "
            "Put the old one back, or train under another name"
        )


def refuse_other_scores(name: str, then: list[float] | None, now: list[float], tolerance: float) -> None:
    """Raise TeacherError if a teacher scores the probe otherwise than at the checkpoint: behind a URL there may be another model."""
    gap = max((abs(a - b) for a, b in zip(then or [], now, strict=False)), default=0.0)
    if gap > tolerance or (then and len(then) != len(now)):
        raise TeacherError(
            f"{f'the teacher {name}'.rstrip()} scores a sequence {gap:.3g} nats away from what it did when the checkpoint was written (tolerated "
            f"{tolerance}): it is another model, dtype or temperature. Put the old one back, or train under another name"
        )


class ScopeTraining(BasePPOTrainer):
    """What OpenRLHF's plain trainer and its asynchronous one have in common here. Mixed into them: it exchanges parts of BasePPOTrainer."""

    def exchange_parts(self) -> None:
        """At the end of the trainer's construction."""
        self.config = Config.of_this_run()
        algorithm = algorithms.load(**self.config.algorithm)
        self.teachers = self.config.all_teachers if algorithm.uses_teacher else {}
        maker = self.experience_maker
        self.experience_maker: ScopeExperienceMaker = ScopeExperienceMaker(
            algorithm, self.teachers, maker.actor_model_group, maker.critic_model_group, maker.reward_model_group, maker.initial_model_group,
            maker.kl_ctl, self.strategy, self.tokenizer,
        )  # fmt: skip
        self.identity: dict = {"teacher": identities(self.config) if self.teachers else None, "teacher_probe": {}}
        """What a checkpoint keeps of the teachers."""
        self.saved: tuple[int, dict] | None = None
        """The last whole step and what OpenRLHF's checkpoint needs beside the model to resume after it."""
        self.log, self.stage = StepLog(self.config.run_dir), Stage(self.config.run_dir)
        self.experience_maker.goes_on = self.stage.goes_on
        self.steps_of_run = len(whole_rows(self.config.run_dir / "prompts.jsonl")) // self.args.rollout.batch_size

    def fit(self, global_step: int = 0) -> None:
        self.resume()
        super().fit(global_step)

    def resume(self) -> None:
        """Before the first step: the log goes back to the checkpoint that was loaded, and the teachers must be those of then."""
        states = self.init_checkpoint_states()
        self.log.forget_after(states["global_step"])
        if self.teachers:
            if states["global_step"]:
                refuse_another_teacher(states.get("teacher"), self.identity["teacher"])
            if not self.config.teacher.replay:
                self.stage("probing the teacher")
                with awake(sleepers(self.teachers), self.config.teacher.hang_seconds):  # which sleep from then on
                    self._probe_teachers(states.get("teacher_probe") or {})

    def train_step(self, rollout_samples, global_step):
        scored = [r.info["scored"][0] for r in rollout_samples]
        self.stop_beyond_budget([s.score for s in scored if isinstance(s.score, TeacherError)])
        rollouts = [
            {"step": global_step + 1, "id": json.loads(r.labels[0])["id"], "prompt": r.prompts[0], "answer": r.info["scored"][0].attempt.answer,
             "response": self.tokenizer.decode(r.sequences[0][1:][r.action_mask[0].bool()]), "route": r.info["scored"][0].attempt.route,
             "truncated": bool(r.truncated[0])}
            for r in rollout_samples[: self.log.rollouts_per_step]
        ]  # fmt: skip
        grader_failed = sum(float(r.info["grader_failed"][0]) for r in rollout_samples)
        self.experience_maker.step = global_step
        self.stage(f"step {global_step + 1}: log-probs of the rollouts by the student")
        try:
            status, step = super().train_step(rollout_samples, global_step)
        except TeacherError:  # on the contexts
            self.keep_last_step()
            raise
        status |= self.experience_maker.metrics | path_health(status, self.experience_maker.algorithm.paths)
        status["temperature"] = self.args.rollout.temperature
        status["teacher_temperature"] = self.config.teacher.temperature if self.teachers else math.nan
        status["grader_failed"] = grader_failed
        answered = [(s.asked, s.answered) for s in scored if isinstance(s.score, Score)]
        status["teacher_scored"] = len(answered)
        status["teacher_failed"] = sum(isinstance(s.score, TeacherError) for s in scored)
        status["teacher_skipped"] = (
            len(scored) - status["teacher_scored"] - status["teacher_failed"] if self.teachers else 0
        )
        # of the sequences that the teacher scored, prompt and response
        status["teacher_tokens"] = sum(
            int(r.attention_mask.sum())
            for r, s in zip(rollout_samples, scored, strict=True)
            if isinstance(s.score, Score)
        )
        algorithm = self.experience_maker.algorithm
        if algorithm.hints_prompts:
            status |= {
                f"trace_{what}": sum(json.loads(r.labels[0])[what] for r in rollout_samples)
                for what in ("hinted", "leaks")
            }
        if len(self.teachers) > 1:
            by_name = Counter(
                json.loads(r.labels[0])["teacher"]
                for r, s in zip(rollout_samples, scored, strict=True)
                if s.score is not None
            )
            status |= {f"teacher_asked_{name or 'default'}": by_name[name] for name in self.teachers}
        status["timing/teacher"], status["teacher_hidden"] = overlap(answered, max(s.asked for s in scored))
        if algorithm.teacher_scores_contexts:
            for name in ("scored", "failed", "tokens"):
                status[f"teacher_{name}"] += status[f"context_{name}"]
            status["teacher_skipped"] = (
                len(scored) * len(algorithm.contexts_at(global_step))
                - status["teacher_scored"]
                - status["teacher_failed"]
            )
            status["timing/teacher"] += self.experience_maker.context_seconds
        if algorithm.contexts:
            status["timing/context"] = self.experience_maker.context_seconds
        self.log.rollouts(rollouts)
        return status, step

    def _probe_teachers(self, then: dict[str, list[float]]) -> None:
        """then: by name, what the probes got when the checkpoint was written."""
        prompts = self.config.run_dir / "prompts.jsonl"
        for name, teacher in self.teachers.items():
            longest = longest_request(self.experience_maker.algorithm, teacher, self.args.data.max_len)
            lines, logprobs = probe_run(name, teacher, self.config.student.path, prompts, longest)
            for line in lines:
                print(f"teacher probe: {line}", flush=True)
            refuse_other_scores(name, then.get(name), logprobs, tolerated(teacher.dtype))
            self.identity["teacher_probe"][name] = logprobs

    def stop_beyond_budget(self, failures: list[TeacherError]) -> None:
        """Raise the first failure if there are more than teacher.drop_budget, after a checkpoint of the last whole step."""
        budget = self.config.teacher.drop_budget
        if len(failures) <= budget:
            return
        self.keep_last_step()
        raise TeacherError(
            f"{len(failures)} rollouts of a step could not be scored, teacher.drop_budget is {budget}. The first: {failures[0]}"
        )

    def keep_last_step(self) -> None:
        """A checkpoint of the last whole step, unless there is one."""
        if self.saved and self.saved[0] % self.args.ckpt.save_steps:
            step, states = self.saved
            ray.get(
                self.actor_model_group.async_run_method(
                    method_name="save_checkpoint", tag=f"global_step{step}", client_states=states
                )
            )

    def ppo_train(self, global_steps):
        self.stage(f"step {global_steps + 1}: the optimiser")
        return super().ppo_train(global_steps)

    def broadcast_to_vllm(self):
        self.stage("sending the student's params to the rollout engines")
        super().broadcast_to_vllm()

    def save_logs_and_checkpoints(self, global_step, logs_dict=None, client_states=None):
        client_states = (client_states or {}) | self.identity
        self.saved = global_step, client_states
        self.stage(f"step {global_step}: writing logs and checkpoint")
        self.log.step(global_step, self.steps_of_run, logs_dict or {})
        super().save_logs_and_checkpoints(global_step, logs_dict, client_states)


class ScopeTrainer(ScopeTraining, PPOTrainer.__ray_metadata__.modified_class):
    """fit() is OpenRLHF's: generate, make experience, update, sync params, checkpoint. Here its parts are exchanged."""

    def __init__(
        self, pretrain, strategy, actor_group, critic_group, reward_group, reference_group, vllm_engines, **generate
    ):
        cpu.install_openrlhf()
        transformers.set_seed(Config.of_this_run().seed)
        super().__init__(
            pretrain, strategy, actor_group, critic_group, reward_group, reference_group, vllm_engines, **generate
        )
        self.exchange_parts()
        self.prompts_dataloader, self.samples_generator = rollout_source(self, strategy, vllm_engines)


class ScopeTrainingActor(ScopeTraining, TrainingActor.__ray_metadata__.modified_class):
    """The training half of an asynchronous run."""

    def __init__(self, *args, **kwargs):
        cpu.install_openrlhf()
        transformers.set_seed(Config.of_this_run().seed)
        super().__init__(*args, **kwargs)
        self.exchange_parts()


class ScopeGenerateActor(GenerateSamplesActor.__ray_metadata__.modified_class):
    """The generating half of an asynchronous run."""

    def __init__(self, pretrain, strategy, vllm_engines, **kwargs):
        cpu.install_openrlhf()
        super().__init__(pretrain, strategy, vllm_engines, **kwargs)
        self.prompts_dataloader, self.samples_generator = rollout_source(self, strategy, vllm_engines)


class ScopeAsyncTrainer(PPOTrainerAsync.__ray_metadata__.modified_class):
    """OpenRLHF's asynchronous run: it names its two halves as globals of its module, and ours are put there, on this node."""

    def __init__(self, *args, **kwargs):
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        ppo_trainer_async.GenerateSamplesActor = ray.remote(num_cpus=0, scheduling_strategy=here)(ScopeGenerateActor)
        ppo_trainer_async.TrainingActor = ray.remote(num_cpus=0, scheduling_strategy=here)(ScopeTrainingActor)
        super().__init__(*args, **kwargs)


def rollout_source(trainer, strategy, vllm_engines) -> tuple:
    """The run's prompts in their order, and what draws rollouts of them."""
    config = Config.of_this_run()
    algorithm = algorithms.load(**config.algorithm)
    dataset = trainer.prompts_dataloader.dataset
    # the rows of the run stand in their final order already (data.order_rows), so that a resumed run sees the same
    prompts = strategy.setup_dataloader(dataset, 1, False, False, dataset.collate_fn)
    generator = ScopeSamplesGenerator(
        top_k=algorithm.top_k, sleepers=sleepers(config.all_teachers if algorithm.uses_teacher else {}), stage=Stage(config.run_dir, "generator"),
        patience_seconds=config.teacher.hang_seconds, strategy=strategy, prompts_dataloader=prompts, eval_dataloader=trainer.eval_dataloader,
        vllm_engines=vllm_engines,
    )  # fmt: skip
    return prompts, generator


def sleepers(teachers: dict[str, TeacherConfig]) -> list[str]:
    """Ray names of the teacher replicas that are awake only while rollouts are generated."""
    return [
        actor for name, t in teachers.items() if t.sleep and t.started_here for actor in actor_names(name, t.replicas)
    ]
