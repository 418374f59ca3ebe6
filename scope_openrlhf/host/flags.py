"""The openrlhf section of a config -> OpenRLHF's own resolved flags, by its own parser and checks."""

import argparse
import ast
import contextlib
import io
import itertools
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from openrlhf.cli import train_ppo_ray
from openrlhf.models import PolicyLoss

from scope_openrlhf.host import cpu
from scope_openrlhf.host.luggage import LABEL_COLUMN, PROMPT_COLUMN
from scope_openrlhf.settings import api_keys
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError, nearest

# Flags that OpenRLHF's parser takes and that would do nothing here, or harm; each with what to do instead
REFUSED = {
    "algo.kl.use_loss": "there is no reference model; the algorithm defines its own divergence",
    "actor.eps_clip": "set algorithm.clip_low and algorithm.clip_high",
    "actor.eps_clip_low_high": "set algorithm.clip_low and algorithm.clip_high",
    "actor.entropy_coef": "it would train dropped rollouts and stand outside the paths' denominators; "
    "entropy is measured anyway",
    "actor.dual_clip": "set algorithm.dual_clip",
    "actor.policy_loss_type": "set algorithm",
    "actor.loss_agg_mode": "set algorithm.normalize",
    "critic.model_name_or_path": "no algorithm here has a critic; leave it out",
    "reward.model_name_or_path": "the verifier is the reward",
    "reward.remote_url": "the verifier is the reward",
    "reward.overlong_buffer_len": "the algorithm reads the verdict, not a shaped reward",
    "reward.stop_properly_penalty_coef": "the algorithm reads the verdict, not a shaped reward",
    "data.max_samples": "set steps",
    "data.input_template": "prompts come rendered by the student's chat template; see data.system",
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
        "data.apply_chat_template": (False, "nothing: prompts come rendered, see student.template_args"),
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
    """Raise ConfigError if the flag that switches W&B on holds a key instead of the name of wandb's own variable.

    OpenRLHF prints that flag and sends it along.
    """
    if value not in (None, False, api_keys.WANDB):
        raise ConfigError(
            "openrlhf.logger.wandb.key holds a key, which logs and W&B would show; put the key into the environment "
            f"as {api_keys.WANDB} and set openrlhf.logger.wandb.key={api_keys.WANDB}, which switches W&B on"
        )
    if value == api_keys.WANDB and not os.environ.get(api_keys.WANDB):
        raise ConfigError(
            f"openrlhf.logger.wandb.key switches W&B on, but {api_keys.WANDB} is not in the environment; put the key "
            "there"
        )


def script() -> list[ast.stmt]:
    """What OpenRLHF's train_ppo_ray does when it is called."""
    source = ast.parse(Path(str(train_ppo_ray.__file__)).read_text())
    return next(n for n in source.body if isinstance(n, ast.If) and "__main__" in ast.dump(n.test)).body


def openrlhf_parser() -> argparse.ArgumentParser:
    """OpenRLHF's own parser, as its script builds it before it reads the command line."""
    scope = dict(vars(train_ppo_ray))
    before = itertools.takewhile(lambda statement: "parse_args" not in ast.dump(statement), script())
    exec(compile(ast.Module(list(before), []), str(train_ppo_ray.__file__), "exec"), scope)
    return scope["parser"]


def resolve_args(config: Config) -> SimpleNamespace:
    """Run OpenRLHF's own parser and checks over the config. Raises ConfigError with what they say."""
    argv = to_argv(config)
    resolved: list[SimpleNamespace] = []
    scope = dict(vars(train_ppo_ray)) | {"train": resolved.append}
    said, old_argv = io.StringIO(), sys.argv
    sys.argv = ["openrlhf", *argv]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            exec(compile(ast.Module(script(), []), train_ppo_ray.__file__, "exec"), scope)
    except SystemExit:
        refuse_unknown(config.openrlhf, scope["parser"])
        raise ConfigError(
            f"OpenRLHF's parser refuses the openrlhf section: {said.getvalue().strip().splitlines()[-1]}"
        ) from None
    except (AssertionError, ValueError) as error:
        raise ConfigError(f"OpenRLHF refuses the openrlhf section: {error}") from None
    finally:
        sys.argv = old_argv
    # the parser takes abbreviations, which our own checks would not know
    refuse_unknown(config.openrlhf, scope["parser"])
    try:  # what OpenRLHF would say once its engines stand
        PolicyLoss(**{k: v for k, v in vars(resolved[0].algo.advantage).items() if k.startswith("is_correction_")})
    except ValueError as error:
        raise ConfigError(f"OpenRLHF refuses openrlhf.algo.advantage: {error}") from None
    cpu.adjust(resolved[0])
    return resolved[0]


def refuse_unknown(flags: dict[str, Any], parser: argparse.ArgumentParser) -> None:
    known = [s[2:] for action in parser._actions for s in action.option_strings if s.startswith("--")]
    for flag in flags:
        if flag not in known:
            hint = nearest(f"openrlhf.{flag}", ["openrlhf." + f for f in known])
            raise ConfigError(f"unknown key openrlhf.{flag}; {hint}") from None
