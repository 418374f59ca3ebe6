"""What a config chooses: its algorithm, the teachers that this one asks, and the problems as it has them asked."""

from dataclasses import replace

from scope_openrlhf import algorithms
from scope_openrlhf.algorithms.base.contract import Algorithm
from scope_openrlhf.data.overlap import overlap_notes
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.problems import Problems, Reading, accepted, hinted
from scope_openrlhf.settings.config import Config, section_of
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import TeacherConfig


def load_algorithm(config: Config) -> Algorithm:
    """The algorithm with its knobs, those of `algorithms` checked too. Raises ConfigError."""
    try:
        algorithm = algorithms.load(**config.algorithm)
        for name, knobs in config.algorithms.items():
            algorithms.load(name, **knobs)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None
    if algorithm.asks.context_scorer == "initial" and config.student.trust_remote_code:
        raise ConfigError(
            "algorithm.context_scorer=initial keeps a copy of the student in a teacher engine, which runs no Python "
            "files of a model; set algorithm.context_scorer=student, or leave student.trust_remote_code out"
        )
    return algorithm


COPY = "the copy of student.path that algorithm.context_scorer=initial keeps"


def choose_teachers(config: Config, algorithm: Algorithm) -> dict[str, TeacherConfig]:
    """The teachers that the algorithm asks, by name, as they are written. Raises ConfigError where it has none."""
    asks = algorithm.asks
    if not asks.teacher:
        return {}
    if asks.context_scorer == "initial":
        # a group of its own, with the other settings of `teacher`
        teachers = {"": replace(config.teacher, path=config.student.path, revision="", urls=[])}
    else:
        teachers = config.all_teachers
    if not teachers:
        raise ConfigError(f"algorithm {config.algorithm['name']} needs a teacher; set teacher.path or teacher.urls")
    if asks.contexts_by_teacher and (len(teachers) > 1 or any(t.sleep for t in teachers.values())):
        raise ConfigError(
            "algorithm.context_scorer other than student asks one teacher after the rollouts have ended; leave "
            "teachers and teacher.sleep out"
        )
    return teachers


def title_of(name: str, algorithm: Algorithm) -> str:
    """What of the config says which model a teacher is, for messages."""
    return COPY if algorithm.asks.context_scorer == "initial" else f"{section_of(name)}.path"


def read_data(config: Config, algorithm: Algorithm, teachers: dict[str, TeacherConfig]) -> Reading:
    """The data with the columns that the run has a use for. Raises ConfigError for what cannot be read."""
    named = teachers if config.teachers and algorithm.asks.context_scorer != "initial" else ()
    return Reading(config.data, named, algorithm.asks.traces)


def asked(problems: Problems, algorithm: Algorithm) -> list[Problem]:
    """The problems with the algorithm's hints in their prompts."""
    hints = algorithm.asks.hinted_prompts
    return [hinted(problem, algorithm.prompt_hint) for problem in problems] if hints else list(problems)


def read_problems(
    config: Config, algorithm: Algorithm, teachers: dict[str, TeacherConfig]
) -> tuple[list[Problem], list[str]]:
    """The problems as they are asked, and notes: on rows left out, repeats and traces. Raises ConfigError."""
    problems = accepted(read_data(config, algorithm, teachers))
    notes = [*problems.notes, *overlap_notes(problems, config.eval)]
    if algorithm.asks.traces:
        traced = sum(bool(problem.trace) for problem in problems)
        notes += [f"worked solutions: {traced} of {len(problems)} problems have one in {config.data.trace_key!r}"]
    return asked(problems, algorithm), notes
