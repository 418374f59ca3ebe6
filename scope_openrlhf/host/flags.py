"""Every seam into OpenRLHF, in one place. [host] tests/test_host.py asserts each against the pinned version.

openrlhf.cli.train_ppo_ray, main guard   parser and checks, run by us on our flags               resolve_args
openrlhf.cli.train_ppo_ray.train         called by us                                            launch
PolicyModelActor, PPOTrainer             names that train() reads; ours subclass them            launch
placement_group                          name that train() reads; made before it for teachers    student_gpus, launch
ActorPPOTrainer, iter_grad_accum_...     names that PolicyModelActor reads                       update.ScopePolicyActor
PPOTrainerAsync and its two actors       names that train() and it read; ours subclass them      launch, trainer.ScopeAsyncTrainer
SamplesGenerator, RemoteExperienceMaker  attributes of PPOTrainer; ours subclass them            trainer.rollout_source, ScopeTraining
_dispatch_forward, _flatten_results      of RemoteExperienceMaker, called to score under a hint  experience._ask_student
Actor.forward                            its logits, by a forward hook during training           update.ScopeActorTrainer
save_checkpoint of the actor group       called before a run stops for want of a teacher         trainer.ScopeTraining
save_checkpoint, save_model of the actor ours write atomically, and merge LoRA adapters          update.ScopePolicyActor
actor of ActorPPOTrainer                 shown with plain params while it sends them             update.plain_params
--train.agent_func_path                  OpenRLHF's own door                                     rollout.AgentExecutor
"""

import argparse
import ast
import contextlib
import io
import os
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from scope_openrlhf.data.problems import LABEL_COLUMN, PROMPT_COLUMN
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings import api_keys
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError, nearest
from scope_openrlhf.settings.sections import TeacherConfig

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

PINNED_OPENRLHF = "0.11.2"


# Flags that OpenRLHF's parser takes and that would do nothing here, or harm; each with what to do instead
REFUSED = {
    "algo.kl.use_loss": "there is no reference model; the algorithm defines its own divergence",
    "actor.eps_clip": "set algorithm.clip_low and algorithm.clip_high",
    "actor.eps_clip_low_high": "set algorithm.clip_low and algorithm.clip_high",
    "actor.entropy_coef": "it would train dropped rollouts and stand outside the paths' denominators; entropy is measured anyway",
    "actor.dual_clip": "the algorithm's loss replaces the one it belongs to; leave it out",
    "actor.policy_loss_type": "set algorithm",
    "actor.loss_agg_mode": "set algorithm.normalize",
    "critic.model_name_or_path": "no algorithm here has a critic; leave it out",
    "reward.model_name_or_path": "the verifier is the reward",
    "reward.remote_url": "the verifier is the reward",
    "reward.overlong_buffer_len": "the algorithm reads the verdict, not a shaped reward",
    "reward.stop_properly_penalty_coef": "the algorithm reads the verdict, not a shaped reward",
    "data.max_samples": "set steps",
    "rollout.vllm_generate_batch_size": "rollouts that were drawn ahead would be lost in a resume; leave it out",
    "ckpt.save_hf": "model/ is written at the end; zero_to_fp32.py beside the checkpoints turns one into params",
    "data.disable_fast_tokenizer": "student, teacher and harness read with the fast one; leave it out",
    "ckpt.disable_ds": "a run that is cut could not go on; set ckpt.save_steps",
    "ds.use_universal_ckpt": "checkpoints are DeepSpeed's plain ones; leave it out",
    "ds.load_in_4bit": "the rollout engines would get 4-bit params that they cannot read; leave it out",
    "eval.dataset": "set eval.path",
    "data.image_key": "prompts are texts; leave it out",
    "data.max_images_per_prompt": "prompts are texts; leave it out",
    "use_ms": "models are checked where Hugging Face's hub has them; download yours and give its folder",
}


def derived_flags(config: Config) -> dict[str, Any]:
    """Flags of OpenRLHF that follow from our own keys, and the key to set instead."""
    run = config.run_dir.absolute()
    return {
        "actor.model_name_or_path": (config.student.path, "student.path"),
        "data.prompt_dataset": (str(run / "prompts.jsonl"), "data.path"),
        "data.input_key": (PROMPT_COLUMN, "data.prompt_key"),
        "data.label_key": (LABEL_COLUMN, "data.answer_key"),
        "data.apply_chat_template": (True, "nothing: prompts always go through the chat template"),
        "train.agent_func_path": (
            str(Path(__file__).with_name("rollout.py")),
            "nothing: it is how rollouts are verified and scored",
        ),
        "train.seed": (config.seed, "seed"),
        "train.num_episodes": (1, "steps"),
        "algo.advantage.estimator": ("reinforce", "algorithm"),  # any without a critic: the algorithm replaces it
        "algo.kl.init_coef": (0, "algorithm"),
        "ckpt.path": (str(run / "checkpoints"), "name"),
        "ckpt.output_dir": (str(run / "model"), "name"),
        "ckpt.load_enable": (True, "nothing: a run resumes by its name"),
        "logger.tensorboard_dir": (str(run / "tensorboard"), "name"),
        "logger.wandb.run_name": (config.name, "name"),
    }


def to_argv(config: Config) -> list[str]:
    """The command line that OpenRLHF's parser gets. Raises ConfigError for a flag that one of our keys already sets."""
    derived = derived_flags(config)
    for flag in config.openrlhf:
        if flag in derived:
            raise ConfigError(f"openrlhf.{flag} is set by this plugin; change {derived[flag][1]}")
        if flag in REFUSED and config.openrlhf[flag] not in (None, False):
            raise ConfigError(f"openrlhf.{flag} has no effect here: {REFUSED[flag]}")
    check_wandb_key(config.openrlhf.get("logger.wandb.key"))
    argv = []
    for flag, value in (config.openrlhf | {flag: value for flag, (value, _) in derived.items()}).items():
        if value is False or value is None:
            continue
        argv.append(f"--{flag}")
        if value is not True:
            argv += [str(v) for v in value] if isinstance(value, list) else [str(value)]
    return argv


def check_wandb_key(value: Any) -> None:
    """OpenRLHF switches W&B on by its key, prints the key and sends it along. Here the flag holds the name of wandb's own variable."""
    if value not in (None, False, api_keys.WANDB):
        raise ConfigError(
            f"openrlhf.logger.wandb.key holds a key, which logs and W&B would show; put the key into the environment as {api_keys.WANDB} and set "
            f"openrlhf.logger.wandb.key={api_keys.WANDB}, which switches W&B on"
        )
    if value == api_keys.WANDB and not os.environ.get(api_keys.WANDB):
        raise ConfigError(
            f"openrlhf.logger.wandb.key switches W&B on, but {api_keys.WANDB} is not in the environment; put the key there"
        )


def resolve_args(config: Config) -> SimpleNamespace:
    """Run OpenRLHF's own parser and checks over the config. Raises ConfigError with what they say."""
    argv = to_argv(config)
    assert_pinned()
    from openrlhf.cli import train_ppo_ray
    from openrlhf.models import PolicyLoss

    source = ast.parse(Path(str(train_ppo_ray.__file__)).read_text())
    guard = next(n for n in source.body if isinstance(n, ast.If) and "__main__" in ast.dump(n.test))
    resolved: list[SimpleNamespace] = []
    scope = dict(vars(train_ppo_ray)) | {"train": resolved.append}
    said, old_argv = io.StringIO(), sys.argv
    sys.argv = ["openrlhf", *argv]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            exec(compile(ast.Module(guard.body, []), train_ppo_ray.__file__, "exec"), scope)
    except SystemExit:
        refuse_unknown(config.openrlhf, scope["parser"])
        raise ConfigError(
            f"OpenRLHF's parser refuses the openrlhf section: {said.getvalue().strip().splitlines()[-1]}"
        ) from None
    except (AssertionError, ValueError) as error:
        raise ConfigError(f"OpenRLHF refuses the openrlhf section: {error}") from None
    finally:
        sys.argv = old_argv
    refuse_unknown(
        config.openrlhf, scope["parser"]
    )  # the parser takes abbreviations, which our own checks would not know
    try:  # what OpenRLHF would say once its engines stand
        PolicyLoss(**{k: v for k, v in vars(resolved[0].algo.advantage).items() if k.startswith("is_correction_")})
    except ValueError as error:
        raise ConfigError(f"OpenRLHF refuses openrlhf.algo.advantage: {error}") from None
    if not resolved[0].rollout.temperature > 0:
        raise ConfigError(
            "openrlhf.rollout.temperature must be greater than 0: log-probs and perplexities are taken at it"
        )
    cpu.adjust(resolved[0])
    return resolved[0]


def refuse_unknown(flags: dict[str, Any], parser: argparse.ArgumentParser) -> None:
    known = [s[2:] for action in parser._actions for s in action.option_strings if s.startswith("--")]
    for flag in flags:
        if flag not in known:
            hint = nearest(f"openrlhf.{flag}", ["openrlhf." + f for f in known])
            raise ConfigError(f"unknown key openrlhf.{flag}; {hint}") from None


def assert_pinned() -> None:
    found = version("openrlhf")
    if found != PINNED_OPENRLHF:
        raise ConfigError(
            f"this plugin is written against openrlhf {PINNED_OPENRLHF}, {found} is installed; run make setup"
        )


def gpus_wanted(config: Config, args: SimpleNamespace, uses_teacher: bool) -> int:
    """(Logical) GPUs that the run will ask Ray for."""
    actor = args.actor.num_nodes * args.actor.num_gpus_per_node
    engines = (
        0
        if args.train.colocate_all and not args.train.async_enable
        else args.vllm.num_engines * args.vllm.tensor_parallel_size
    )
    apart = [t for t in config.all_teachers.values() if t.placement != "colocate"]
    return actor + engines + (teacher_gpus(apart) if uses_teacher else 0)


def teacher_gpus(teachers: Iterable[TeacherConfig]) -> int:
    """Whole ones and, for replicas that take a part, as many as hold them: two of 0.6 need two."""
    shares = [t.gpus_per_replica for t in teachers if t.started_here for _ in range(t.replicas)]
    free: list[float] = []  # what is left of each GPU that is shared
    for share in sorted((s for s in shares if s < 1), reverse=True):
        room = next((i for i, f in enumerate(free) if f >= share - 1e-9), None)
        if room is None:
            free.append(1 - share)
        else:
            free[room] -= share
    return int(sum(s for s in shares if s >= 1)) + len(free)


def student_gpus(args: SimpleNamespace) -> "PlacementGroup":
    """The placement that OpenRLHF makes for a colocated run, made before it, so that teachers can sit there too."""
    import ray
    from ray.util.placement_group import placement_group

    group = placement_group(
        [{"GPU": 1, "CPU": 1}] * (args.actor.num_nodes * args.actor.num_gpus_per_node), strategy="PACK"
    )
    ray.get(group.ready())
    return group


def launch(args: SimpleNamespace, shared: "PlacementGroup | None" = None) -> None:
    """Run OpenRLHF's train() with our classes in the names it reads. The trainer sits on this node, beside the run's folder.

    shared: what `student_gpus` made, for it to use instead of its own.
    """
    import openrlhf.trainer.ppo_trainer as ppo_trainer
    import openrlhf.trainer.ppo_trainer_async as ppo_trainer_async
    import ray
    from openrlhf.cli import train_ppo_ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from scope_openrlhf.host.trainer import ScopeAsyncTrainer, ScopeTrainer
    from scope_openrlhf.host.update import ScopePolicyActor

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    originals = (
        ppo_trainer.PPOTrainer,
        ppo_trainer_async.PPOTrainerAsync,
        train_ppo_ray.PolicyModelActor,
        train_ppo_ray.placement_group,
    )
    on_this_node = ray.remote(num_cpus=0, scheduling_strategy=here)
    ppo_trainer.PPOTrainer, ppo_trainer_async.PPOTrainerAsync = (
        on_this_node(ScopeTrainer),
        on_this_node(ScopeAsyncTrainer),
    )
    train_ppo_ray.PolicyModelActor = ray.remote(num_gpus=1)(ScopePolicyActor)
    if shared is not None:  # it makes one at most: there is neither a critic nor a reward model
        train_ppo_ray.placement_group = lambda bundles, strategy: shared
    try:
        train_ppo_ray.train(args)
    finally:
        (
            ppo_trainer.PPOTrainer,
            ppo_trainer_async.PPOTrainerAsync,
            train_ppo_ray.PolicyModelActor,
            train_ppo_ray.placement_group,
        ) = originals
