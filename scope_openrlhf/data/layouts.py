"""Which columns of somebody's data hold problem and gold answer, guessed from what reads as one."""

from typing import Any

from scope_openrlhf.data.files import column
from scope_openrlhf.data.prompts import read_prompt
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.verifier.gold import NoGold, read_gold, why_no_answer

PROMPTS = ("problem", "question", "prompt", "messages", "conversations", "query", "input", "instruction")
"""Columns of problems: ours, MATH's and GSM8K's, DAPO's and verl's, chats as OpenAI and ShareGPT have them."""
ANSWERS = (
    *("answer", "final_answer", "reward_model.ground_truth", "reward_model", "gold", "ground_truth", "target"),
    *("expected_answer", "solution", "label"),
)
"""Columns of gold answers: GSM8K's and ours, DeepMath's, verl's, DAPO's, MATH's."""
LOOKED_AT = 50
"""Rows that a guess looks at."""


def guess_columns(rows: list[dict], path: str, prompt_key: str = "", answer_key: str = "") -> tuple[str, str]:
    """(prompt_key, answer_key) under which most of the first rows can be read; what is given stays.

    path: of the data, for messages. Raises ConfigError where there are no such columns.
    """
    some = rows[:LOOKED_AT]
    prompt = prompt_key or _best(some, PROMPTS, reads_as_prompt)
    answer = answer_key or _best(some, ANSWERS, reads_as_gold)
    if not prompt or not answer:
        what = "problems" if not prompt else "gold answers"
        columns = ", ".join(map(str, rows[0])) if rows else "none"
        raise ConfigError(
            f"no column of {path} reads as {what}; its columns are {columns}: name them with --prompt-key and "
            "--answer-key"
        )
    return prompt, answer


def _best(rows: list[dict], names: tuple[str, ...], reads: Any) -> str:
    """The name under which most rows can be read, the first of equals; empty where none can."""
    counts = {name: sum(reads(column(row, name)) for row in rows) for name in names}
    best = max(names, key=lambda name: counts[name])
    return best if counts[best] else ""


def reads_as_prompt(value: Any) -> bool:
    """Whether a value can be asked."""
    try:
        return value is not None and bool(read_prompt(value))
    except ValueError:
        return False


def reads_as_gold(value: Any) -> bool:
    """Whether a value holds a gold answer."""
    try:
        return why_no_answer(read_gold(value)) is None
    except NoGold:
        return False
