"""Checks that need a tokenizer, a model's config or OpenRLHF's resolved flags, all before any engine starts."""

import dataclasses
import sys
from types import SimpleNamespace
from typing import Any

from transformers import AutoTokenizer

from scope_openrlhf.algorithms.base.contract import Algorithm
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.prompts import Prompt, as_text, lengths, with_hint
from scope_openrlhf.data.templates import QUESTION
from scope_openrlhf.equations.batch import Attempt
from scope_openrlhf.models.loading import generation_eos, positions
from scope_openrlhf.platform import cluster, cpu
from scope_openrlhf.run.prompts import Prompts, why_too_long
from scope_openrlhf.settings.config import Config, section_of
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import RayConfig, StudentConfig, TeacherConfig


def check_address(address: str) -> None:
    """Raise ConfigError unless Ray can be started or joined there."""
    if address.startswith("ray://"):
        raise ConfigError(
            f"ray.address {address}: the run's driver must sit on a node of the cluster; use ray job submit with "
            "ray.address=auto"
        )
    try:
        cluster.require_answer(address)
    except ConnectionError as error:
        raise ConfigError(
            f"ray.address {address} does not answer ({error}); start Ray there (ray start --head), or set ray.address "
            "to local"
        ) from None


def check_groups(config: Config, algorithm: Algorithm) -> None:
    """Raise ConfigError if the algorithm compares the rollouts of a prompt and there is one of each."""
    n = config.openrlhf.get("rollout.n_samples_per_prompt", 1)
    if algorithm.uses_groups and n in (None, 1):
        raise ConfigError(
            f"openrlhf.rollout.n_samples_per_prompt is {n}, but {config.algorithm['name']} normalises inside a "
            "prompt's group; set it to 2 or more (the paper uses 8)"
        )


def check_gpus(ray: RayConfig, wanted: int, dry: bool) -> None:
    """Raise ConfigError if a Ray that is about to be started would have too few (logical) GPUs."""
    if ray.address == "local" and not dry and 0 < ray.num_gpus < wanted:
        raise ConfigError(
            f"the run asks for {wanted} GPUs, ray.num_gpus gives {ray.num_gpus}; set it to {wanted} or more, or to 0"
            f"{'' if ray.share_gpus else ', or ray.share_gpus to true'}"
        )


def check_tokenizers(tokenizer: Any, student: StudentConfig, config: TeacherConfig, key: str) -> None:
    """Raise ConfigError unless the teacher reads and ends texts as the student does.

    tokenizer: the student's. key: "teacher" or "teachers.<name>". Every token must have the id that it has in the
    student's tokenizer; models padded to another number of embeddings are fine: tokens are compared, not params.
    """
    teacher = AutoTokenizer.from_pretrained(config.path, revision=config.revision or "main", trust_remote_code=False)
    _check_vocabulary(tokenizer, teacher, student.path, config, key)
    models = ((tokenizer, student.path, ""), (teacher, config.path, config.revision))
    eos = [{t.eos_token_id} | generation_eos(path, revision) for t, path, revision in models]
    if "eos" not in config.accept and eos[0] != eos[1]:
        names = [tokenizer.convert_ids_to_tokens(sorted(e - {None})) for e in eos]
        raise ConfigError(
            f"the student ends with {names[0]}, the teacher with {names[1]}: a teacher that expects another end makes "
            f"the student run on. Give both the same eos_token_id, or set {key}.accept=[eos]"
        )
    texts = [_sample(t, student) for t in (tokenizer, teacher)]
    if "template" not in config.accept and texts[0] != texts[1]:
        raise ConfigError(
            f"the student's chat template gives {texts[0]!r}, the teacher's {texts[1]!r}: the teacher would score "
            "prompts of a form that it does not know. Choose a teacher with the student's template, or set "
            f"{key}.accept=[template]"
        )


def _sample(tokenizer: Any, student: StudentConfig) -> str | None:
    """A question under a model's template; None where that has none or takes no question."""
    try:
        return as_text(tokenizer, QUESTION, student) if tokenizer.chat_template else None
    except ValueError:
        return None


def _check_vocabulary(student: Any, teacher: Any, student_path: str, config: TeacherConfig, key: str) -> None:
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    if ours != theirs:
        different = sorted(t for t in ours.keys() | theirs.keys() if ours.get(t) != theirs.get(t))
        example = different[0]
        raise ConfigError(
            f"{key}.path {config.path} has another vocabulary than student.path {student_path}: {len(different)} "
            f"tokens differ, for instance {example!r} is {theirs.get(example)} there and {ours.get(example)} here. "
            "Token-level distillation needs one vocabulary: choose a teacher of the student's family"
        )


def longest_hinted(
    algorithm: Algorithm,
    args: SimpleNamespace,
    prompts: Prompts,
    tokenizer: Any,
    student: StudentConfig,
    scorer: str,
    model_config: Any,
) -> int:
    """Number of tokens of the longest rollout beside its hint, with the room that the algorithm wants for the unknown.

    scorer, model_config: whoever scores contexts, as messages call it; no config: one that will say itself what it
    takes. Raises ConfigError if what the problems alone make of it does not fit.
    """
    longest, limit = args.data.max_len, sys.maxsize
    if model_config:
        limit = positions(model_config) - (scorer != "student.path")  # a teacher request carries one token more
    for context in algorithm.asks.contexts:
        texts = [as_text(tokenizer, _hinted(p, context, algorithm), student) for p in prompts.problems]
        for problem, without, length in zip(prompts.problems, prompts.lengths, lengths(tokenizer, texts), strict=True):
            response = min(args.rollout.max_new_tokens or args.data.max_len, args.data.max_len - without)
            if length + response > limit:
                raise ConfigError(
                    f"row {problem.id} may have {length + response} tokens with the {length - without} of its hint "
                    f"({context}), {scorer} has {limit} positions for them; lower openrlhf.rollout.max_new_tokens, "
                    "shorten algorithm.hint, or remove such rows"
                )
            longest = max(longest, min(length + response + algorithm.hint_room(context, response), limit))
    return longest


def _hinted(problem: Problem, context: str, algorithm: Algorithm) -> Prompt:
    """The problem's prompt as a context shows it before any rollout is known."""
    wrong = Attempt(problem, response="", extracted=problem.answer, route="wrong")
    # beside it a right one that says nothing, for hints that show one: `hint_room` is for what it says
    group = [wrong, dataclasses.replace(wrong, route="right")]
    return with_hint(problem.prompt, algorithm.hint(context, 0, group) or "")


def check_modes(args: SimpleNamespace) -> None:
    """Raise ConfigError for modes of OpenRLHF that do not go together here, though its own checks let them pass."""
    if args.ds.lora.rank and (args.ds.zero_stage == 3 or args.ds.tensor_parallel_size > 1):
        raise ConfigError(
            "openrlhf.ds.lora.rank needs whole params on each rank to merge the adapters for the rollout engines; "
            "set openrlhf.ds.zero_stage to 2 or lower and openrlhf.ds.tensor_parallel_size to 1"
        )
    if args.train.enable_ema and args.ds.tensor_parallel_size > 1:
        raise ConfigError(
            "openrlhf.train.enable_ema is kept whole on each rank; set openrlhf.ds.tensor_parallel_size to 1, or leave "
            "it out"
        )
    if args.train.enable_ema and args.ds.zero_stage == 3:
        raise ConfigError(
            "openrlhf.train.enable_ema with openrlhf.ds.zero_stage 3 gives the student other log-probs than its params "
            "have (seen on two CPU ranks); set openrlhf.ds.zero_stage to 2 or lower, or leave the average out"
        )
    if args.ds.lora.rank and args.train.enable_ema:
        raise ConfigError(
            "openrlhf.train.enable_ema averages the params of a model without adapters; leave it or "
            "openrlhf.ds.lora.rank out"
        )


def check_placement(teachers: dict[str, TeacherConfig], args: SimpleNamespace, dry: bool = False) -> None:
    """Raise ConfigError if what the teachers want of their engines does not go with the run's own flags.

    dry: nothing starts here, so whether this machine has GPUs does not matter.
    """
    for name, config in teachers.items():
        _check_placement(config, section_of(name), args)
        if config.sleep and cpu.active() and not dry:
            raise ConfigError(f"{section_of(name)}.sleep frees the memory of a GPU, and there is none; leave it out")
    gpus = args.actor.num_nodes * args.actor.num_gpus_per_node
    beside = [t for t in teachers.values() if t.placement == "colocate" and t.started_here]
    colocated = sum(t.replicas for t in beside)
    if colocated > 3 * gpus:  # a fifth of a GPU each, as the policy and the rollout engine there
        raise ConfigError(
            f"{colocated} colocated teacher replicas do not fit on the student's {gpus} GPUs, which take 3 each; "
            "lower teacher.replicas"
        )
    engines = args.vllm.gpu_memory_utilization
    # replicas are dealt onto the GPUs in turns; while rollouts are generated all engines of a GPU are awake
    dealt = [t.gpu_memory_utilization for t in beside for _ in range(t.replicas)]
    fullest = max((sum(dealt[gpu::gpus]) for gpu in range(gpus)), default=0.0)
    if dealt and engines + fullest > MOST_OF_A_GPU:
        raise ConfigError(
            f"engines on one GPU would take {engines + fullest:.2f} of its memory while rollouts are generated: "
            f"openrlhf.vllm.gpu_memory_utilization {engines:g} and {fullest:g} of teachers; lower both to "
            f"{MOST_OF_A_GPU:g} in sum"
        )


MOST_OF_A_GPU = 0.95
"""Share of a GPU's memory that its engines may take in sum; the rest is CUDA's own and what training leaves there."""


def _check_placement(config: TeacherConfig, key: str, args: SimpleNamespace) -> None:
    if config.sleep and args.train.async_enable:
        raise ConfigError(
            f"{key}.sleep gives memory back between rollouts, and asynchronous ones have no between; leave it out"
        )
    if config.placement == "colocate" and (not args.train.colocate_all or args.train.async_enable):
        raise ConfigError(
            f"{key}.placement=colocate needs openrlhf.train.colocate_all=true (and no async); set it, or "
            f"{key}.placement=pack"
        )
    if 0 < config.max_model_len <= args.data.max_len:
        raise ConfigError(
            f"{key}.max_model_len {config.max_model_len} is too short: openrlhf.data.max_len {args.data.max_len} and "
            "one token more must fit; set it to 0, or lower data.max_len"
        )


def check_batches(args: SimpleNamespace) -> None:
    """Raise ConfigError for batch sizes that do not divide each other."""
    n, prompts, train = args.rollout.n_samples_per_prompt, args.rollout.batch_size, args.train.batch_size
    cards = args.actor.num_nodes * args.actor.num_gpus_per_node
    ranks = cards // args.ds.ring_attn_size // args.ds.tensor_parallel_size
    rollouts = "openrlhf.rollout.batch_size * n_samples_per_prompt must be a multiple of"
    for value, by, names in (
        (prompts * n, train, f"{rollouts} openrlhf.train.batch_size"),
        (train, args.train.micro_batch_size * ranks,
         "openrlhf.train.batch_size must be a multiple of train.micro_batch_size * training ranks"),
        (prompts * n, args.rollout.micro_batch_size * ranks, f"{rollouts} rollout.micro_batch_size * training ranks"),
    ):  # fmt: skip
        if value % by:
            raise ConfigError(f"{names}, but {value} is not a multiple of {by}")


def check_lengths(args: SimpleNamespace, prompts: Prompts, model_configs: dict) -> None:
    """Raise ConfigError unless data.max_len fits the models, and prompts fit beside their response.

    model_configs: by what of the config names the model.
    """
    max_len, room = args.data.max_len, args.rollout.max_new_tokens or 1
    for key, model in model_configs.items():
        limit = positions(model)
        needed = max_len + (key != "student.path")  # a teacher request carries one token more, which vLLM must generate
        if needed > limit:
            raise ConfigError(
                f"openrlhf.data.max_len {max_len} needs {needed} positions, {key} has {limit}; lower data.max_len"
            )
    if why := why_too_long(prompts, max_len, room):
        raise ConfigError(why)
