"""A model's chat template: which arguments it reads, and what it is given.

A template may print today's date. It is given the date of the config instead, so that what a run, its evaluation and
their continuations read does not depend on the day.
"""

import re
from datetime import datetime
from typing import Any

from scope_openrlhf.settings.sections import StudentConfig

CLOCK = "strftime_now"
"""Name under which transformers hands a template its clock."""
OF_THE_RENDERER = {
    CLOCK, "messages", "add_generation_prompt", "continue_final_message", "chat_template", "conversation", "tokenize"
}  # fmt: skip
"""Names that a template reads and no user may set."""


def arguments(tokenizer: Any, student: StudentConfig) -> dict[str, Any]:
    """What the template is given beside the messages: the user's arguments, and a clock that stands still."""
    clock = {CLOCK: datetime.fromisoformat(student.template_date).strftime} if asks_the_date(tokenizer) else {}
    return student.template_args | clock


def asks_the_date(tokenizer: Any) -> bool:
    """Whether the template has a use for today's date."""
    return CLOCK in tokenizer.get_chat_template()


def names_read(tokenizer: Any) -> set[str]:
    """Names that the template reads and somebody may set. Raises ValueError if it is no template."""
    from jinja2 import Environment, TemplateSyntaxError, meta  # comes with transformers, not with the wheel alone

    # the one tag that transformers adds to the language
    source = re.sub(r"\{%-?\s*(?:end)?generation\s*-?%\}", "", tokenizer.get_chat_template())
    try:  # it is read, never run
        tree = Environment(extensions=["jinja2.ext.loopcontrols"], optimized=False).parse(source)
        return meta.find_undeclared_variables(tree) - OF_THE_RENDERER - {"raise_exception"}
    except TemplateSyntaxError as error:
        raise ValueError(f"its line {error.lineno} is none that Jinja reads: {error.message}") from None
