"""The rows of a benchmark, checked: what a model is scored on, in an evaluation and after training."""

import json
from typing import Any

from scope_openrlhf.data.prompts import folded, read_prompt
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.verifier.gold import NoGold, read_gold, why_no_answer


def check(rows: list[Any], where: str) -> list[dict[str, str]]:
    """The rows with id, problem, answer and stratum as texts.

    where: they come from, for messages. Raises ConfigError naming the first row that lacks one, or has another's id;
    rows are counted from 0, as in training.
    """
    if not rows:
        raise ConfigError(f"{where} holds no problems")
    seen: set[str] = set()
    checked = []
    for number, row in enumerate(rows):
        place = f"{where}, row {number} (counted from 0)"
        for key in ("id", "problem", "answer"):
            if not isinstance(row, dict) or row.get(key) is None or row[key] == "":
                what = "empty" if isinstance(row, dict) and row.get(key) == "" else "missing"
                raise ConfigError(
                    f"{place}: {key} is {what}; a problem without it cannot be scored: repair or remove the row"
                )
        try:
            texts = _texts(row)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}; repair or remove the row") from None
        if texts["id"] in seen:
            raise ConfigError(f"{place}: the id {texts['id']} was there before; ids must differ")
        seen.add(texts["id"])
        checked.append(texts)
    return checked


def _texts(row: dict) -> dict[str, str]:
    """What is asked and graded of a row. Raises ValueError with a sentence about it."""
    try:
        problem = folded(read_prompt(row["problem"]))
    except ValueError as error:
        raise ValueError(f"problem: {error}") from None
    try:
        answer = read_gold(row["answer"])
    except NoGold as error:
        raise ValueError(f"answer: {error}") from None
    if why := why_no_answer(answer):
        raise ValueError(f"answer: {why}")
    if not str(row["id"]).strip():
        raise ValueError("id: it is empty")
    texts = {
        "id": str(row["id"]),
        "problem": problem,
        "answer": answer,
        "stratum": str(row.get("stratum") or "all"),
    }
    try:
        json.dumps(texts, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair, which is no text") from None
    return texts
