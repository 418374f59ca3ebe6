"""A config -> a plan: everything that can be told wrong before an engine starts, cheap checks first."""

import json
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import Any

import yaml

from scope_openrlhf.algorithms.base.contract import Algorithm
from scope_openrlhf.data.order import order_problems
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.files import checkpoint
from scope_openrlhf.files.disk import whole_rows, write_whole
from scope_openrlhf.host import luggage
from scope_openrlhf.host.gpus import gpus_wanted
from scope_openrlhf.host.schedule import rate_share
from scope_openrlhf.models import foreign_code, loading
from scope_openrlhf.models.params import check_params
from scope_openrlhf.run import checks
from scope_openrlhf.run.changes import change_notes
from scope_openrlhf.run.chosen import choose_teachers, load_algorithm, read_problems, title_of
from scope_openrlhf.run.folder import take_over
from scope_openrlhf.run.held_out import check_asked, read_held_out
from scope_openrlhf.run.prompts import Prompts, length_notes, render
from scope_openrlhf.run.sharing import share_gpus
from scope_openrlhf.settings.config import Config, section_of
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.resolved import Run, Teacher
from scope_openrlhf.settings.sections import StudentConfig, TeacherConfig, TeacherSettings


@dataclass(frozen=True, slots=True)
class Plan:
    """A config that was checked, and what it resolves to."""

    config: Config
    """The config as the user wrote it, with absolute paths."""
    run: Run
    """What the workers get."""
    algorithm: Algorithm
    args: SimpleNamespace
    """OpenRLHF's resolved flags."""
    steps: int
    gpus: int
    rows: int
    """Number of problems in the data."""
    notes: tuple[str, ...] = ()
    """What the user should know before it starts."""


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a run, each with its transformers config, by what of the config names it."""

    tokenizer: Any
    """The student's; None where a hub that need not answer did not."""
    configs: dict[str, Any]
    commits: dict[str, str]
    """The hub's commit of each teacher, by the teacher's name; empty where there is none."""


def make_plan(config: Config, dry: bool = False) -> Plan:
    """All checks, cheap ones first. Writes config.yaml and prompts.jsonl once they have passed. Raises ConfigError.

    dry: nothing is about to start and nothing is written, so neither Ray nor the hub need answer; tokenizers that
    cannot be had are not checked.
    """
    if not dry:
        checks.check_address(config.ray.address)
    algorithm = load_algorithm(config)
    written = choose_teachers(config, algorithm)
    held_out = read_held_out(config.eval)
    problems, data_notes = read_problems(config, algorithm, written)
    models = check_models(config, algorithm, written, dry)
    if models.tokenizer:
        check_asked(held_out, config, models.tokenizer, models.configs["student.path"])
    prompts = render(problems, models.tokenizer, config)
    checks.check_groups(config, algorithm)
    placed, sharing_notes = share_gpus(config.absolute(), algorithm, dry)
    written = choose_teachers(placed, algorithm)
    from scope_openrlhf.host.flags import resolve_args  # brings OpenRLHF: seconds that an error above need not wait for

    args = resolve_args(placed)
    check_flags(algorithm, written, prompts, models, args, dry)
    teachers = settle(placed, algorithm, models, args)
    teachers = make_room(algorithm, teachers, prompts, models, placed.student, args)
    asked = list(zip(problems, prompts.texts, strict=True))
    ordered = order_problems(asked, args.rollout.batch_size, config.steps, config.seed)
    steps = len(ordered) // args.rollout.batch_size
    gpus = gpus_wanted(teachers.values(), args)
    checks.check_gpus(config.ray, gpus, dry)
    run = Run(name=config.name, folder=str(placed.run_dir), seed=config.seed, student=placed.student,
              algorithm=config.algorithm, teachers=teachers, health_every=config.health.every,
              began=config.origin[1])  # fmt: skip
    notes = (*change_notes(config), temperature_note(run, args), *sharing_notes, *data_notes, *prompts.notes,
             *length_notes(prompts, args.data.max_len), *scorer_notes(config, algorithm),
             *schedule_notes(run, args, steps))  # fmt: skip
    plan = Plan(placed, run, algorithm, args, steps, gpus, len(problems), notes)
    if not dry:
        write_plan(plan, config, ordered)
    return plan


def check_models(config: Config, algorithm: Algorithm, teachers: dict[str, TeacherConfig], dry: bool) -> Models:
    """The run's models, as far as their configs and tokenizers tell. Raises ConfigError for one that cannot work."""
    student, trust = config.student, config.student.trust_remote_code
    configs = {"student.path": loading.check_model(student.path, "student.path", known=dry, trust_remote_code=trust)}
    check_params(student.path, "student.path")
    if not (trust or dry):
        foreign_code.refuse_own_code(student.path)
    tokenizer = loading.load_tokenizer(student.path, optional=dry, trust_remote_code=trust)
    commits = {}
    for name, teacher in teachers.items():
        if teacher.path:
            title = title_of(name, algorithm)
            configs[title] = model = loading.check_model(teacher.path, title, teacher.revision, known=dry)
            if teacher.started_here:
                check_params(teacher.path, title)
            commits[name] = getattr(model, "_commit_hash", None) or teacher.revision
            if tokenizer:
                checks.check_tokenizers(tokenizer, student, teacher, section_of(name))
    return Models(tokenizer, configs, commits)


def check_flags(
    algorithm: Algorithm,
    teachers: dict[str, TeacherConfig],
    prompts: Prompts,
    models: Models,
    args: SimpleNamespace,
    dry: bool,
) -> None:
    """Raise ConfigError for flags of OpenRLHF that do not go together, or not with the rest of the config."""
    if algorithm.asks.top_k and (args.ds.ring_attn_size > 1 or args.ds.tensor_parallel_size > 1):
        raise ConfigError(
            "a top-k divergence reads whole rows of logits, which openrlhf.ds.ring_attn_size and tensor_parallel_size "
            "cut; set both to 1"
        )
    checks.check_modes(args)
    checks.check_placement(teachers, args, dry)
    checks.check_batches(args)
    checks.check_lengths(args, prompts, models.configs)


def settle(config: Config, algorithm: Algorithm, models: Models, args: SimpleNamespace) -> dict[str, Teacher]:
    """The teachers with what "the rollout's", "the newest" and "as long as needed" are, once for all workers."""

    def settled(name: str, teacher: TeacherConfig) -> Teacher:
        shared = {f.name: getattr(teacher, f.name) for f in fields(TeacherSettings)}
        shared["revision"] = models.commits.get(name, teacher.revision)
        return Teacher(
            **shared,
            name=name,
            wrote=title_of(name, algorithm),
            temperature=teacher.temperature or args.rollout.temperature,
            max_model_len=teacher.max_model_len or args.data.max_len + 1,
        )

    return {name: settled(name, teacher) for name, teacher in choose_teachers(config, algorithm).items()}


def make_room(
    algorithm: Algorithm,
    teachers: dict[str, Teacher],
    prompts: Prompts,
    models: Models,
    student: StudentConfig,
    args: SimpleNamespace,
) -> dict[str, Teacher]:
    """The teachers with room for rollouts beside their hints, where they score those. Raises ConfigError."""
    by_teacher = algorithm.asks.contexts_by_teacher
    scorer = next(t.wrote for t in teachers.values()) if by_teacher else "student.path"
    longest = args.data.max_len
    if models.tokenizer:
        model = models.configs.get(scorer)  # a served one has none here, and will say itself what it takes
        longest = checks.longest_hinted(algorithm, args, prompts, models.tokenizer, student, scorer, model)
    if not by_teacher:
        return teachers
    # one token more, which vLLM must generate
    return {n: replace(t, max_model_len=max(t.max_model_len, longest + 1)) for n, t in teachers.items()}


def temperature_note(run: Run, args: SimpleNamespace) -> str:
    """Which log-probs are compared with which."""
    student, teacher = args.rollout.temperature, run.teacher_temperature
    line = f"log-probs, perplexities and KL: student at temperature {student:g}"
    if run.teachers:
        two = "" if teacher == student else ": TWO temperatures are compared, as teacher.temperature says"
        line += f", teacher at {teacher:g}{two}"
    if args.rollout.top_p < 1:
        line += f"; samples come from the top_p {args.rollout.top_p:g} of it, which no log-prob knows of"
    return line


def scorer_notes(config: Config, algorithm: Algorithm) -> list[str]:
    """Who scores contexts, where that may surprise."""
    if algorithm.asks.context_scorer == "teacher":
        return [
            "contexts are scored by the teacher: what they add to the student's log-probs is a difference of two models"
        ]
    if algorithm.asks.context_scorer == "initial":
        unused = "; the teacher's path, urls and names are not used" if config.all_teachers else ""
        return [f"contexts are scored by a copy of the student as it is now, in a teacher group of its own{unused}"]
    return []


def schedule_notes(run: Run, args: SimpleNamespace, steps: int) -> list[str]:
    """What another number of steps than before does to the learning rate of a run that goes on."""
    at = checkpoint.step_of(checkpoint.latest(run.run_dir / "checkpoints"))
    prompts = run.run_dir / "prompts.jsonl"
    before = len(whole_rows(prompts)) // args.rollout.batch_size if at else steps
    then, now = (rate_share(args, of, at) for of in (before, steps)) if before != steps else (1.0, 1.0)
    if then == now:
        return []
    return [
        f"{before} -> {steps} steps stretch openrlhf.actor.lr_scheduler={args.actor.lr_scheduler}: after step {at} "
        f"actor.adam.lr counts {now:.3g}, it would have counted {then:.3g}; the steps so far stay as they are"
    ]


def write_plan(plan: Plan, as_given: Config, ordered: list[tuple[Problem, str]]) -> None:
    """Write the run's prompts.jsonl and config.yaml, and what they change in a run that has begun.

    Raises ConfigError if the prompts changed since then.

    ordered: the problems of the run with their rendered prompts.
    """
    prompts = luggage.prompt_lines(ordered)
    file = plan.run.run_dir / "prompts.jsonl"
    then = file.read_text() if whole_rows(plan.run.run_dir / "metrics.jsonl") and file.exists() else ""
    if not (prompts.startswith(then) or then.startswith(prompts)):  # with more steps the list is longer
        raise ConfigError(
            f"the problems in {plan.config.data.path}, or the chat template of {plan.config.student.path}, have "
            f"changed since {plan.run.run_dir} began; choose another name=..., or --fresh"
        )
    take_over(as_given, plan.steps)
    given = yaml.safe_dump(json.loads(json.dumps(as_given.to_dict())), sort_keys=False)
    for path, text in ((file, prompts), (plan.run.run_dir / "config.yaml", given)):
        if not path.exists() or path.read_text() != text:
            write_whole(path, text)
