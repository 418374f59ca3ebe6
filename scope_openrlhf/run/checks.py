"""Checks that need a tokenizer, a model's config or OpenRLHF's resolved flags, all before any engine starts."""

import dataclasses
import sys
from types import SimpleNamespace

from scope_openrlhf.data.problems import as_text, with_hint
from scope_openrlhf.equations.batch import Attempt
from scope_openrlhf.models.loading import generation_eos, positions
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import TeacherConfig
from scope_openrlhf.settings.config import section_of


def check_tokenizers(student, student_path: str, config: TeacherConfig, key: str) -> None:
    """Raise ConfigError unless the teacher's tokenizer gives every token the id, the text its end and its template that the student's does.

    key: "teacher" or "teachers.<name>". Models padded to another number of embeddings are fine: tokens are compared, not params.
    """
    from transformers import AutoTokenizer

    teacher = AutoTokenizer.from_pretrained(config.path, revision=config.revision or "main", trust_remote_code=False)
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    if ours != theirs:
        different = sorted(t for t in ours.keys() | theirs.keys() if ours.get(t) != theirs.get(t))
        example = different[0]
        raise ConfigError(
            f"{key}.path {config.path} has another vocabulary than student.path {student_path}: {len(different)} tokens "
            f"differ, for instance {example!r} is {theirs.get(example)} there and {ours.get(example)} here. Token-level distillation needs "
            "one vocabulary: choose a teacher of the student's family"
        )
    revisions = ((student, student_path, ""), (teacher, config.path, config.revision))
    eos = [{t.eos_token_id} | generation_eos(path, revision) for t, path, revision in revisions]
    if "eos" not in config.accept and eos[0] != eos[1]:
        names = [student.convert_ids_to_tokens(sorted(e - {None})) for e in eos]
        raise ConfigError(
            f"the student ends with {names[0]}, the teacher with {names[1]}: a teacher that expects another end makes the student run on. "
            f"Give both the same eos_token_id, or set {key}.accept=[eos]"
        )
    sample = [{"role": "user", "content": "1+1?"}]
    texts = [
        t.apply_chat_template(sample, tokenize=False, add_generation_prompt=True) if t.chat_template else None
        for t in (student, teacher)
    ]
    if "template" not in config.accept and texts[0] != texts[1]:
        raise ConfigError(
            f"the student's chat template gives {texts[0]!r}, the teacher's {texts[1]!r}: the teacher would score prompts of a form that it does not "
            f"know. Choose a teacher with the student's template, or set {key}.accept=[template]"
        )


def check_hints(algorithm, args: SimpleNamespace, rows: list[dict], tokenizer, key: str, model_config) -> int:
    """The tokens of the longest rollout beside its hint, with the room that the algorithm wants for what nobody knows yet.

    key, model_config: of whoever scores contexts; no config: one that will say itself what it takes. Raises ConfigError if what the rows alone
    make of it does not fit.
    """
    longest, limit = args.data.max_len, sys.maxsize
    if model_config:
        limit = positions(model_config) - (key != "student.path")  # a teacher request carries one token more
    bare = prompt_lengths(tokenizer, [r["prompt"] for r in rows]) if algorithm.contexts else []
    for context in algorithm.contexts:
        attempts = [Attempt(r["prompt"], r["answer"], "", r["answer"], "wrong", trace=r.get("trace", "")) for r in rows]
        # beside it a right one that says nothing, for hints that show one: `hint_room` is for what it says
        groups = [[a, dataclasses.replace(a, route="right")] for a in attempts]
        hinted = prompt_lengths(
            tokenizer, [with_hint(g[0].prompt, algorithm.hint(context, 0, g) or "") for g in groups]
        )
        for row, without, length in zip(rows, bare, hinted, strict=True):
            response = min(args.rollout.max_new_tokens or args.data.max_len, args.data.max_len - without)
            if length + response > limit:
                raise ConfigError(
                    f"row {row['id']} may have {length + response} tokens with the {length - without} of its hint ({context}), {key} has {limit} "
                    "positions for them; lower openrlhf.rollout.max_new_tokens, shorten algorithm.hint, or remove such rows"
                )
            longest = max(longest, min(length + response + algorithm.hint_room(context, response), limit))
    return longest


def prompt_lengths(tokenizer, prompts: list) -> list[int]:
    """Tokens of each prompt as the model gets it."""
    texts = [as_text(tokenizer, prompt) for prompt in prompts]
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def check_modes(args: SimpleNamespace) -> None:
    """Modes of OpenRLHF that do not go together here, though its own checks let them pass."""
    if args.ds.lora.rank and (args.ds.zero_stage == 3 or args.ds.tensor_parallel_size > 1):
        raise ConfigError(
            "openrlhf.ds.lora.rank needs whole params on each rank to merge the adapters for the rollout engines; "
            "set openrlhf.ds.zero_stage to 2 or lower and openrlhf.ds.tensor_parallel_size to 1"
        )
    if args.train.enable_ema and args.ds.tensor_parallel_size > 1:
        raise ConfigError(
            "openrlhf.train.enable_ema is kept whole on each rank; set openrlhf.ds.tensor_parallel_size to 1, or leave it out"
        )
    if args.train.enable_ema and args.ds.zero_stage == 3:
        raise ConfigError(
            "openrlhf.train.enable_ema with openrlhf.ds.zero_stage 3 gives the student other log-probs than its params have (seen on two CPU ranks); "
            "set openrlhf.ds.zero_stage to 2 or lower, or leave the average out"
        )
    if args.ds.lora.rank and args.train.enable_ema:
        raise ConfigError(
            "openrlhf.train.enable_ema averages the params of a model without adapters; leave it or openrlhf.ds.lora.rank out"
        )


def check_placement(teachers: dict[str, TeacherConfig], args: SimpleNamespace) -> None:
    """Whether what the teachers want of their engines goes with the run's own flags."""
    for name, config in teachers.items():
        _check_placement(config, section_of(name), args)
    gpus = args.actor.num_nodes * args.actor.num_gpus_per_node
    colocated = sum(t.replicas for t in teachers.values() if t.placement == "colocate" and t.started_here)
    if colocated > 3 * gpus:  # a fifth of a GPU each, as the policy and the rollout engine there
        raise ConfigError(
            f"{colocated} colocated teacher replicas do not fit on the student's {gpus} GPUs, which take 3 each; lower teacher.replicas"
        )


def _check_placement(config: TeacherConfig, key: str, args: SimpleNamespace) -> None:
    if config.sleep and args.train.async_enable:
        raise ConfigError(
            f"{key}.sleep gives memory back between rollouts, and asynchronous ones have no between; leave it out"
        )
    if config.placement == "colocate" and (not args.train.colocate_all or args.train.async_enable):
        raise ConfigError(
            f"{key}.placement=colocate needs openrlhf.train.colocate_all=true (and no async); set it, or {key}.placement=pack"
        )
    if config.sleep and cpu.active():
        raise ConfigError(f"{key}.sleep frees the memory of a GPU, and there is none; leave it out")
    if 0 < config.max_model_len <= args.data.max_len:
        raise ConfigError(
            f"{key}.max_model_len {config.max_model_len} is too short: openrlhf.data.max_len {args.data.max_len} and one token more must fit; "
            "set it to 0, or lower data.max_len"
        )


def check_sizes(args: SimpleNamespace, rows: list[dict], tokenizer, model_configs: dict) -> None:
    """Batch sizes that divide, and prompts that fit beside their response, as far as there is a tokenizer to tell."""
    n, prompts, train = args.rollout.n_samples_per_prompt, args.rollout.batch_size, args.train.batch_size
    ranks = (
        args.actor.num_nodes * args.actor.num_gpus_per_node // args.ds.ring_attn_size // args.ds.tensor_parallel_size
    )
    for value, by, names in (
        (prompts * n, train, "openrlhf.rollout.batch_size * n_samples_per_prompt must be a multiple of openrlhf.train.batch_size"),
        (train, args.train.micro_batch_size * ranks, "openrlhf.train.batch_size must be a multiple of train.micro_batch_size * training ranks"),
        (prompts * n, args.rollout.micro_batch_size * ranks, "openrlhf.rollout.batch_size * n_samples_per_prompt must be a multiple of rollout.micro_batch_size * training ranks"),
    ):  # fmt: skip
        if value % by:
            raise ConfigError(f"{names}, but {value} is not a multiple of {by}")
    max_len, room = args.data.max_len, args.rollout.max_new_tokens or 1
    for key, model in model_configs.items():
        limit = positions(model)
        needed = max_len + (key != "student.path")  # a teacher request carries one token more, which vLLM must generate
        if needed > limit:
            raise ConfigError(
                f"openrlhf.data.max_len {max_len} needs {needed} positions, {key} has {limit}; lower data.max_len"
            )
    if tokenizer is None:
        return
    lengths = prompt_lengths(tokenizer, [r["prompt"] for r in rows])
    long = [(r["id"], length) for r, length in zip(rows, lengths, strict=True) if length + room > max_len]
    if long:
        raise ConfigError(
            f"{len(long)} prompts do not fit: row {long[0][0]} has {long[0][1]} tokens and {room} are kept for the response, which is more "
            f"than openrlhf.data.max_len {max_len}; raise data.max_len, lower rollout.max_new_tokens, or remove the rows"
        )
