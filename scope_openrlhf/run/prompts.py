"""The prompts of a run: rendered once, before anything starts, and what the user should know of them."""

import statistics
from dataclasses import dataclass
from typing import Any

from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.prompts import as_messages, as_text, lengths
from scope_openrlhf.data.templates import Keys, check_template
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

KEYS = Keys("student.template_args", "student.template_date", "data.system")


@dataclass(frozen=True, slots=True)
class Prompts:
    """The problems of the data, each as the student is asked it."""

    problems: list[Problem]
    texts: list[str]
    """Under the chat template; empty where a hub that need not answer did not give the tokenizer."""
    lengths: list[int]
    """In tokens; none where there is no tokenizer."""
    notes: tuple[str, ...] = ()
    """What the user should know of the template."""


def render(problems: list[Problem], tokenizer: Any, config: Config) -> Prompts:
    """The prompts of the data. Raises ConfigError for what the student's chat template does not take.

    tokenizer: the student's, or None, which leaves the prompts unchecked.
    """
    if tokenizer is None:
        return Prompts(problems, [""] * len(problems), [])
    data, student = config.data, config.student
    notes = check_template(tokenizer, student, data.system, KEYS)
    texts: list[str] = []
    for problem in problems:
        try:
            texts.append(as_text(tokenizer, problem.prompt, student))
        except ValueError as error:
            raise ConfigError(
                f"data.path {data.path}, row {problem.id}: {error}; repair its {data.prompt_key!r} (data.prompt_key), "
                "or remove the row"
            ) from None
    return Prompts(problems, texts, lengths(tokenizer, texts), (*notes, *_system_note(problems, data.system)))


def _system_note(problems: list[Problem], system: str) -> list[str]:
    """Whose system prompts stand, where both the config and rows have some."""
    messages = (as_messages(problem.prompt)[0] for problem in problems)
    own = sum(first["role"] == "system" and first["content"] != system for first in messages)
    if not (system and own):
        return []
    return [f"{own} of {len(problems)} problems bring a system prompt of their own and do not get data.system"]


def length_notes(prompts: Prompts, max_len: int) -> list[str]:
    """How long the prompts are, and which are the longest."""
    if not prompts.lengths:
        return []
    longest = sorted(zip(prompts.lengths, (p.id for p in prompts.problems), strict=True), key=lambda pair: -pair[0])
    named = ", ".join(f"row {name} {tokens}" for tokens, name in longest[:3])
    middle = statistics.median_low(prompts.lengths)
    return [f"prompts: {min(prompts.lengths)} to {longest[0][0]} tokens, half of them at most {middle}; the longest: "
            f"{named}; data.max_len {max_len} is for prompt and response"]  # fmt: skip


def why_too_long(prompts: Prompts, most: int, room: int, what: str = "openrlhf.data.max_len") -> str | None:
    """Why prompts do not fit, told of the first one; None where all do, and where there is no tokenizer.

    most: tokens of a prompt and its response together, which `what` sets. room: tokens kept for the response.
    """
    long = [(p.id, n) for p, n in zip(prompts.problems, prompts.lengths, strict=False) if n + room > most]
    if not long:
        return None
    row, length = long[0]
    return (
        f"{len(long)} prompts do not fit: row {row} has {length} tokens and {room} are kept for the response, which is "
        f"more than {what} {most}; raise data.max_len, lower rollout.max_new_tokens, or remove the rows"
    )
