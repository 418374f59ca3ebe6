"""Whether a chat template takes what the user gives it: told before an engine starts, in training and in evaluation."""

from dataclasses import dataclass, replace
from typing import Any

from scope_openrlhf.data.prompts import as_text, with_system
from scope_openrlhf.models.chat_template import names_read
from scope_openrlhf.settings.errors import ConfigError, nearest
from scope_openrlhf.settings.sections import StudentConfig

QUESTION, ANOTHER_QUESTION = "1+1?", "2+3?"
ANOTHER_DATE = "2001-01-01"


@dataclass(frozen=True, slots=True)
class Keys:
    """What the user set it with, for messages."""

    template_args: str
    template_date: str
    system: str


def check_template(tokenizer: Any, student: StudentConfig, system: str, keys: Keys) -> list[str]:
    """Notes on what the model's chat template makes of its arguments, the date and the system prompt.

    Raises ConfigError for an argument that it does not read, or that breaks it, and for a system prompt that it refuses
    or leaves out.
    """
    args = student.template_args
    try:
        known = names_read(tokenizer)
    except ValueError as error:
        raise ConfigError(f"the chat template of {student.path} cannot be read ({error}); mend it") from None
    for name in args.keys() - known:
        others = nearest(name, known) if known else "it reads none"
        raise ConfigError(f"{keys.template_args}: the chat template of {student.path} reads no {name}; {others}")

    def asked(system: str = system, question: str = QUESTION, **changes: Any) -> str | ValueError:
        """A question under the template, or why there is none."""
        try:
            return as_text(tokenizer, with_system(question, system), replace(student, **changes))
        except ValueError as error:
            return error

    if isinstance(refused := asked(system=""), ValueError):
        if args and isinstance(asked(system="", template_args={}), str):
            raise ConfigError(f"{keys.template_args} {args} cannot be given: {refused}")
        raise ConfigError(f"{student.path} cannot be asked anything: {refused}; mend its chat template")
    if asked() == asked(question=ANOTHER_QUESTION):
        raise ConfigError(f"the chat template of {student.path} leaves out what it is asked; mend it")
    if isinstance(refused := asked(), ValueError):
        raise ConfigError(
            f"{keys.system} cannot be given: {refused}; leave {keys.system} out and put its text into the problems"
        )
    notes = [
        f"{keys.template_args}: {name} {value!r} changes nothing in what the model is asked"
        for name, value in args.items()
        if asked(template_args={k: v for k, v in args.items() if k != name}) == asked()
    ]
    if asked(template_date=ANOTHER_DATE) != asked():
        notes.append(
            f"the chat template prints today's date; it is given {student.template_date} ({keys.template_date}), so "
            "that prompts are the same on another day"
        )
    return notes
