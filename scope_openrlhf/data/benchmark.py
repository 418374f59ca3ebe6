"""The rows of a benchmark, checked: what a model is scored on, in an evaluation and after training."""

import json
from dataclasses import dataclass
from typing import Any

from scope_openrlhf.data.files import column
from scope_openrlhf.data.prompts import folded, read_prompt
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.verifier.gold import NoGold, read_gold, why_no_answer


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Keys under which rows hold what is asked. Dots reach inside: `reward_model.ground_truth`."""

    id: str = "id"
    problem: str = "problem"
    answer: str = "answer"


OURS = Columns()


def check(rows: list[Any], where: str, columns: Columns = OURS) -> list[dict[str, str]]:
    """The rows with id, problem, answer and stratum as texts. A row without an id is called by its number.

    where: they come from, for messages. Raises ConfigError naming the first row that lacks a problem or an answer, or
    has another's id; rows are counted from 0, as in training.
    """
    if not rows:
        raise ConfigError(f"{where} holds no problems")
    seen: set[str] = set()
    checked = []
    for number, row in enumerate(rows):
        place = f"{where}, row {number} (counted from 0)"
        if not isinstance(row, dict):
            raise ConfigError(f"{place} is no object but {row!r:.60}; repair or remove the row")
        for key in (columns.problem, columns.answer):
            if (value := column(row, key)) is None or value == "":
                what = "empty" if value == "" else "missing"
                raise ConfigError(
                    f"{place}: {key} is {what}; a problem without it cannot be scored: repair or remove the row"
                    + ("" if value == "" else _where_it_may_be(row))
                )
        name = column(row, columns.id)
        try:
            texts = _texts(number if name is None else name, row, columns)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}; repair or remove the row") from None
        if texts["id"] in seen:
            raise ConfigError(f"{place}: the id {texts['id']} was there before; ids must differ")
        seen.add(texts["id"])
        checked.append(texts)
    return checked


def _where_it_may_be(row: dict) -> str:
    return (
        f" (its columns are {', '.join(map(str, row))}; others are named by eval.prompt_key and eval.answer_key of a "
        "config, or by --prompt-key and --answer-key of scope-eval)"
    )


def _texts(name: Any, row: dict, columns: Columns) -> dict[str, str]:
    """What is asked and graded of a row. Raises ValueError with a sentence about it."""
    try:
        problem = folded(read_prompt(column(row, columns.problem)))
    except ValueError as error:
        raise ValueError(f"{columns.problem}: {error}") from None
    try:
        answer = read_gold(column(row, columns.answer))
    except NoGold as error:
        raise ValueError(f"{columns.answer}: {error}") from None
    if why := why_no_answer(answer):
        raise ValueError(f"{columns.answer}: {why}")
    if not str(name).strip():
        raise ValueError(f"{columns.id}: it is empty")
    texts = {
        "id": str(name),
        "problem": problem,
        "answer": answer,
        "stratum": str(row.get("stratum") or "all"),
    }
    try:
        json.dumps(texts, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair, which is no text") from None
    return texts
