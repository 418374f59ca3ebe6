"""Which columns of somebody's data hold problem and gold answer, guessed from what reads as one."""

from collections.abc import Callable, Iterator
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


def guess_columns(
    rows: list[dict],
    path: str,
    prompt_key: str = "",
    answer_key: str = "",
    keys: tuple[str, str] = ("--prompt-key", "--answer-key"),
) -> tuple[str, str]:
    """(prompt_key, answer_key) under which most of the first rows can be read; what is given stays.

    path: of the data, for messages. keys: what names the two columns, for messages. Raises ConfigError where there are
    no such columns.
    """
    if not rows:
        raise ConfigError(f"{path} holds no rows")
    some = rows[:LOOKED_AT]
    prompt = prompt_key or _best(some, PROMPTS, reads_as_prompt)
    answer = answer_key or _best(some, ANSWERS, reads_as_gold)
    if not prompt or not answer:
        what = "problems" if not prompt else "gold answers"
        columns = ", ".join(map(str, rows[0]))
        raise ConfigError(
            f"no column of {path} has a name known for {what}; its columns are {columns}: name them with {keys[0]} and "
            f"{keys[1]}{which_may_be(rows)}"
        )
    return prompt, answer


def guess_prompt(rows: list[dict], otherwise: str) -> str:
    """The column of problems whose gold answers are of no interest; `otherwise` where none is known."""
    return _best(rows[:LOOKED_AT], PROMPTS, reads_as_prompt) or otherwise


def _best(rows: list[dict], names: tuple[str, ...], reads: Callable[[Any], bool]) -> str:
    """The name under which most rows can be read, the first of equals; empty where none can."""
    counts = {name: sum(reads(column(row, name)) for row in rows) for name in names}
    best = max(names, key=lambda name: counts[name])
    return best if counts[best] else ""


def which_may_be(rows: list[dict]) -> str:
    """The end of an error about columns: which ones most of the first rows could be read in; empty where none."""
    some = rows[:LOOKED_AT]
    texts = {name: [str(column(row, name)) for row in some] for name in dict.fromkeys(_names(some))}
    # what is the same in all rows tells of the data, and asks nothing
    sizes = {name: sum(map(len, shown)) for name, shown in texts.items() if len(some) == 1 or len(set(shown)) > 1}

    def reading(reads: Callable[[Any], bool]) -> list[str]:
        return [name for name in sizes if 2 * sum(reads(column(row, name)) for row in some) > len(some)]

    prompts = sorted(reading(reads_as_prompt), key=lambda name: (name not in PROMPTS, -sizes[name]))
    golds = sorted(reading(reads_as_gold), key=lambda name: (name not in ANSWERS, sizes[name]))
    found = {"problems": prompts, "gold answers": golds}
    told = [f"{what} may be in {' or '.join(names[:3])}" for what, names in found.items() if names]
    return f" ({'; '.join(told)})" if told else ""


def _names(rows: list[dict]) -> Iterator[str]:
    """The columns of rows, and with a dot what stands inside objects."""
    for row in rows:
        for name, value in row.items():
            yield name
            if isinstance(value, dict):
                yield from (f"{name}.{inner}" for inner in value)


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
