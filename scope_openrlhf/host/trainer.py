"""The single controller of a run: OpenRLHF's PPO trainer, plain or asynchronous, with our parts in its places."""

import openrlhf.trainer.ppo_trainer_async as ppo_trainer_async
import ray
import transformers
from openrlhf.trainer.ppo_trainer import BasePPOTrainer, PPOTrainer
from openrlhf.trainer.ppo_trainer_async import GenerateSamplesActor, PPOTrainerAsync, TrainingActor
from openrlhf.trainer.ppo_utils.experience import Experience
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scope_openrlhf import algorithms
from scope_openrlhf.equations.health import path_health
from scope_openrlhf.files.stage import Stage
from scope_openrlhf.host import luggage, machine, step_metrics
from scope_openrlhf.host.experience import ScopeExperienceMaker
from scope_openrlhf.host.gather import joined
from scope_openrlhf.host.journal import StepLog
from scope_openrlhf.host.rollout import ScopeSamplesGenerator
from scope_openrlhf.settings.resolved import Run
from scope_openrlhf.teacher.contract import TeacherError
from scope_openrlhf.teacher.group import awake, sleepers
from scope_openrlhf.teacher.identity import identities, refuse_another_teacher, refuse_other_scores
from scope_openrlhf.teacher.probe import longest_request, probe_run, tolerated


class ScopeTraining(BasePPOTrainer):
    """What the plain trainer and the asynchronous one have in common. Mixed into them: it exchanges their parts."""

    def exchange_parts(self) -> None:
        """Put our experience maker and our logs in place, at the end of the trainer's construction."""
        self.run = Run.of_this_worker()
        self.algorithm = algorithms.load(**self.run.algorithm)
        self.log, self.stage = StepLog(self.run.run_dir), Stage(self.run.run_dir)
        Experience.concat_experiences = staticmethod(joined)
        theirs = self.experience_maker
        self.experience_maker: ScopeExperienceMaker = ScopeExperienceMaker(
            self.algorithm, self.run, self.stage.goes_on, theirs.actor_model_group, theirs.critic_model_group,
            theirs.reward_model_group, theirs.initial_model_group, theirs.kl_ctl, self.strategy, self.tokenizer,
        )  # fmt: skip
        teacher = identities(self.run.teachers) if self.run.teachers else None
        self.identity: dict = {"teacher": teacher, "teacher_probe": {}}
        """What a checkpoint keeps of the teachers."""
        self.saved: tuple[int, dict] | None = None
        """The last whole step and what OpenRLHF's checkpoint needs beside the model to resume after it."""
        self.problems = luggage.read_prompts(self.run.run_dir / "prompts.jsonl")

    def fit(self, global_step: int = 0) -> None:
        self.resume()
        super().fit(global_step)

    def resume(self) -> None:
        """Take the log back to the checkpoint that was loaded; the teachers must be those of then. Before any step."""
        states = self.init_checkpoint_states()
        self.log.forget_after(states["global_step"])
        if not self.run.teachers:
            return
        ours = states["global_step"] > self.run.began  # else it is of the run that this one started from
        if ours:
            refuse_another_teacher(states.get("teacher"), self.identity["teacher"])
        if not self.run.replay:
            self.stage("probing the teacher")
            with awake(sleepers(self.run.teachers), self._patience):  # they sleep from then on
                self._probe_teachers((states.get("teacher_probe") if ours else None) or {})

    @property
    def _patience(self) -> float:
        return patience_seconds(self.run)

    def _probe_teachers(self, then: dict[str, list[float]]) -> None:
        """then: by name, what the probes got when the checkpoint was written."""
        for name, teacher in self.run.teachers.items():
            longest = longest_request(self.algorithm.asks, teacher, self.args.data.max_len)
            lines, logprobs = probe_run(teacher, self.run.student, self.problems[0], longest)
            for line in lines:
                print(f"teacher probe: {line}", flush=True)
            refuse_other_scores(teacher, then.get(name), logprobs, tolerated(teacher.dtype))
            self.identity["teacher_probe"][name] = logprobs

    def train_step(self, rollout_samples, global_step):
        self.stop_beyond_budget(step_metrics.failures_of(rollout_samples))
        routes = step_metrics.routes_of(rollout_samples)
        work = step_metrics.work_metrics(rollout_samples, self.run, self.algorithm)
        maker = self.experience_maker
        maker.step = global_step
        self.stage(f"step {global_step + 1}: log-probs of the rollouts by the student")
        try:
            status, step = super().train_step(rollout_samples, global_step)
        except TeacherError:  # on the contexts
            self.keep_last_step()
            raise
        num, seconds = len(rollout_samples), maker.context_seconds
        status |= maker.metrics | path_health(status, self.algorithm.paths)
        status |= {"temperature": self.args.rollout.temperature} | work
        status |= step_metrics.context_work(work, maker.metrics, seconds, self.algorithm, num, global_step)
        kept = maker.kept
        self.log.rollouts(step_metrics.rollout_rows(rollout_samples, routes, kept, global_step + 1, self.tokenizer))
        return status, step

    def stop_beyond_budget(self, failures: list[TeacherError]) -> None:
        """Raise the first failure if there are more than teacher.drop_budget, after a checkpoint of the last step."""
        budget = self.run.drop_budget
        if len(failures) <= budget:
            return
        self.keep_last_step()
        raise TeacherError(
            f"{len(failures)} rollouts of a step could not be scored, teacher.drop_budget is {budget}. "
            f"The first: {failures[0]}"
        )

    def keep_last_step(self) -> None:
        """Write a checkpoint of the last whole step, unless there is one."""
        if self.saved and self.saved[0] % self.args.ckpt.save_steps:
            step, states = self.saved
            save = {"method_name": "save_checkpoint", "tag": f"global_step{step}", "client_states": states}
            ray.get(self.actor_model_group.async_run_method(**save))

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
        steps = len(self.problems) // self.args.rollout.batch_size
        self.log.step(global_step, steps, logs_dict or {})
        super().save_logs_and_checkpoints(global_step, logs_dict, client_states)


class ScopeTrainer(ScopeTraining, PPOTrainer.__ray_metadata__.modified_class):
    """A plain run. OpenRLHF's fit() generates, makes experience, updates, syncs params and writes checkpoints."""

    def __init__(
        self, pretrain, strategy, actor_group, critic_group, reward_group, reference_group, engines, **generate
    ):
        prepare_worker()
        super().__init__(
            pretrain, strategy, actor_group, critic_group, reward_group, reference_group, engines, **generate
        )
        self.exchange_parts()
        self.prompts_dataloader, self.samples_generator = rollout_source(self, strategy, engines)


class ScopeTrainingActor(ScopeTraining, TrainingActor.__ray_metadata__.modified_class):
    """The training half of an asynchronous run."""

    def __init__(self, *args, **kwargs):
        prepare_worker()
        super().__init__(*args, **kwargs)
        self.exchange_parts()


class ScopeGenerateActor(GenerateSamplesActor.__ray_metadata__.modified_class):
    """The generating half of an asynchronous run."""

    def __init__(self, pretrain, strategy, vllm_engines, **kwargs):
        machine.install()
        super().__init__(pretrain, strategy, vllm_engines, **kwargs)
        self.prompts_dataloader, self.samples_generator = rollout_source(self, strategy, vllm_engines)


class ScopeAsyncTrainer(PPOTrainerAsync.__ray_metadata__.modified_class):
    """An asynchronous run. OpenRLHF names its two halves as globals of its module; ours are put there, on this node."""

    def __init__(self, *args, **kwargs):
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        on_this_node = ray.remote(num_cpus=0, scheduling_strategy=here)
        ppo_trainer_async.GenerateSamplesActor = on_this_node(ScopeGenerateActor)
        ppo_trainer_async.TrainingActor = on_this_node(ScopeTrainingActor)
        super().__init__(*args, **kwargs)


def prepare_worker() -> None:
    """Make this process ready to build a trainer."""
    machine.install()
    transformers.set_seed(Run.of_this_worker().seed)


def rollout_source(trainer, strategy, vllm_engines) -> tuple:
    """The run's prompts in their order, and what draws rollouts of them."""
    run = Run.of_this_worker()
    dataset = trainer.prompts_dataloader.dataset
    # the problems stand in their final order already (data/order.py), so that a resumed run sees the same
    prompts = strategy.setup_dataloader(dataset, 1, False, False, dataset.collate_fn)
    generator = ScopeSamplesGenerator(
        top_k=algorithms.load(**run.algorithm).asks.top_k, sleepers=sleepers(run.teachers),
        patience_seconds=patience_seconds(run), stage=Stage(run.run_dir, "generator"), strategy=strategy,
        prompts_dataloader=prompts, eval_dataloader=trainer.eval_dataloader, vllm_engines=vllm_engines,
    )  # fmt: skip
    return prompts, generator


def patience_seconds(run: Run) -> float:
    """Longest wait for a teacher replica that is told to wake or to sleep; no replica, no wait."""
    return max((teacher.hang_seconds for teacher in run.teachers.values()), default=0.0)
