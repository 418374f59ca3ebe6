"""A config -> a plan: everything that can be told wrong before an engine starts, cheap checks first."""

import dataclasses
import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import yaml

from scope_openrlhf.data import problems as data
from scope_openrlhf.files import disk
from scope_openrlhf.files.disk import write_whole
from scope_openrlhf.models import foreign_code, loading
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.config import Config, section_of
from scope_openrlhf.settings.errors import ConfigError

if TYPE_CHECKING:  # it imports torch, which takes seconds and prints; a wrong key is told before that
    from scope_openrlhf.algorithms.base import Algorithm


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A config that was checked: what it resolves to."""

    config: Config
    """With absolute paths, as the workers get it."""
    algorithm: "Algorithm"
    args: SimpleNamespace
    steps: int
    gpus: int
    notes: tuple[str, ...] = ()
    """What the user should know before it starts."""


def make_plan(config: Config, dry: bool = False) -> Plan:
    """All checks, cheap ones first. Writes config.yaml and prompts.jsonl once they have passed.

    dry: nothing is about to start and nothing is written, so neither Ray nor the hub need answer; tokenizers that cannot be had are not checked.
    """
    from scope_openrlhf import algorithms
    from scope_openrlhf.run import checks

    as_given = config
    if not dry:
        check_address(config.ray.address)
    try:
        algorithm = algorithms.load(**config.algorithm)
        for name, knobs in config.algorithms.items():
            algorithms.load(name, **knobs)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None
    if algorithm.context_scorer == "initial":
        if config.student.trust_remote_code:
            raise ConfigError(
                "algorithm.context_scorer=initial keeps a copy of the student in a teacher engine, which runs no Python files of a model; set "
                "algorithm.context_scorer=student, or leave student.trust_remote_code out"
            )
        config = config.with_student_as_teacher()
    teachers = config.all_teachers if algorithm.uses_teacher else {}
    if algorithm.uses_teacher and not teachers:
        raise ConfigError(f"algorithm {config.algorithm['name']} needs a teacher; set teacher.path or teacher.urls")
    if algorithm.teacher_scores_contexts and (len(teachers) > 1 or any(t.sleep for t in teachers.values())):
        raise ConfigError(
            "algorithm.context_scorer other than student asks one teacher after the rollouts have ended; leave teachers and teacher.sleep out"
        )
    rows = data.load_rows(config.data, teachers if config.teachers else (), algorithm.uses_trace)
    notes: tuple[str, ...] = ()
    if algorithm.uses_trace:
        with_trace = sum(bool(row["trace"]) for row in rows)
        notes = (f"worked solutions: {with_trace} of {len(rows)} problems have one in {config.data.trace_key!r}",)
    if algorithm.hints_prompts:
        rows = [data.show_trace(row, *algorithm.prompt_hint(row["answer"], row.get("trace", ""))) for row in rows]
    if config.eval.path and not Path(config.eval.path).is_file():
        raise ConfigError(f"eval.path {config.eval.path} does not exist")
    if config.eval.path and Path(config.eval.path).suffix != ".jsonl":
        raise ConfigError(f"eval.path {config.eval.path} must be a .jsonl of id, problem and answer")
    trust = config.student.trust_remote_code
    models = {
        "student.path": loading.check_model(config.student.path, "student.path", known=dry, trust_remote_code=trust)
    }
    if not (trust or dry):
        foreign_code.refuse_own_code(config.student.path)
    tokenizer = loading.load_tokenizer(config.student.path, optional=dry, trust_remote_code=trust)
    commits: dict[tuple[str, str], str] = {}
    for name, teacher in teachers.items():
        key = section_of(name)
        if teacher.path:
            models[f"{key}.path"] = model = loading.check_model(
                teacher.path, f"{key}.path", teacher.revision, known=dry
            )
            commits[teacher.path, teacher.revision] = getattr(model, "_commit_hash", None) or teacher.revision
            if tokenizer:
                checks.check_tokenizers(tokenizer, config.student.path, teacher, key)
    if algorithm.uses_groups and (n := config.openrlhf.get("rollout.n_samples_per_prompt", 1)) in (None, 1):
        raise ConfigError(
            f"openrlhf.rollout.n_samples_per_prompt is {n}, but {config.algorithm['name']} normalises inside a prompt's group; "
            "set it to 2 or more (the paper uses 8)"
        )

    cpu.install()
    from scope_openrlhf.host import flags

    config = config.absolute()
    args = flags.resolve_args(config)
    if algorithm.top_k and (args.ds.ring_attn_size > 1 or args.ds.tensor_parallel_size > 1):
        raise ConfigError(
            "a top-k divergence reads whole rows of logits, which openrlhf.ds.ring_attn_size and tensor_parallel_size cut; set both to 1"
        )
    # what "the rollout's" and "the newest" are is settled here, once for all workers
    config = config.with_teachers(
        lambda t: dataclasses.replace(
            t,
            temperature=t.temperature or args.rollout.temperature,
            revision=commits.get((t.path, t.revision), t.revision),
        )
    )
    checks.check_modes(args)
    checks.check_placement(teachers, args)
    checks.check_sizes(args, rows, tokenizer, models)
    by_teacher = algorithm.teacher_scores_contexts
    scorer = f"{section_of(next(iter(teachers)))}.path" if by_teacher else "student.path"
    longest = (
        checks.check_hints(algorithm, args, rows, tokenizer, scorer, models.get(scorer))
        if tokenizer
        else args.data.max_len
    )
    if by_teacher:  # its requests hold a hint too, and one token that vLLM must generate
        config = config.with_teachers(lambda t: dataclasses.replace(t, max_model_len=max(t.max_model_len, longest + 1)))
        notes += (
            "contexts are scored by a copy of the student as it is now, in a teacher group of its own; the teacher's path, urls and names are not used"
            if algorithm.context_scorer == "initial"
            else "contexts are scored by the teacher: what they add to the student's log-probs is a difference of two models",
        )
    gpus = flags.gpus_wanted(config, args, algorithm.uses_teacher)
    if config.ray.address == "local" and not dry and 0 < config.ray.num_gpus < gpus:
        raise ConfigError(
            f"the run asks for {gpus} GPUs, ray.num_gpus gives {config.ray.num_gpus}; set it to {gpus} or more, or to 0"
        )
    ordered = data.order_rows(rows, args.rollout.batch_size, config.steps, config.seed)

    plan = Plan(
        config,
        algorithm,
        args,
        len(ordered) // args.rollout.batch_size,
        gpus,
        (temperatures(config, algorithm, args), *notes),
    )
    if dry:
        return plan

    prompts = data.format_prompts(ordered)
    file = config.run_dir / "prompts.jsonl"
    if disk.whole_rows(config.run_dir / "metrics.jsonl") and file.exists() and file.read_text() != prompts:
        raise ConfigError(
            f"the problems in {config.data.path} have changed since {config.run_dir} began; choose another name=..., or --fresh"
        )
    given = yaml.safe_dump(json.loads(json.dumps(as_given.to_dict())), sort_keys=False)
    for path, text in ((file, prompts), (config.run_dir / "config.yaml", given)):
        if not path.exists() or path.read_text() != text:
            write_whole(path, text)
    return plan


def temperatures(config: Config, algorithm: "Algorithm", args: SimpleNamespace) -> str:
    """Which log-probs are compared with which."""
    student, teacher = args.rollout.temperature, config.teacher.temperature
    line = f"log-probs, perplexities and KL: student at temperature {student:g}"
    if algorithm.uses_teacher:
        line += f", teacher at {teacher:g}" + (
            "" if teacher == student else ": TWO temperatures are compared, as teacher.temperature says"
        )
    if args.rollout.top_p < 1:
        line += f"; samples come from the top_p {args.rollout.top_p:g} of it, which no log-prob knows of"
    return line


def check_address(address: str) -> None:
    if address in ("local", "auto"):
        return
    if address.startswith("ray://"):
        raise ConfigError(
            f"ray.address {address}: the run's driver must sit on a node of the cluster; use ray job submit with ray.address=auto"
        )
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"ray.address {address} does not answer ({error}); start Ray there (ray start --head), or set ray.address to local or auto"
        ) from None
