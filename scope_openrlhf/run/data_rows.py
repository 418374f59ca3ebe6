"""Rows of the data as they are shown to a person: what stands there, and what became of it."""

from typing import Any

from scope_openrlhf.data.files import column
from scope_openrlhf.data.prompts import as_messages
from scope_openrlhf.run.data_check import Check


class Rows:
    """The rows of a check, each with all that was found of it."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self._at = {row: at for at, row in enumerate(check.rows)}
        self._repeats = {repeat.at: repeat for repeat in check.repeats}
        self._held: dict[int, list[str]] = {}
        for held in check.held_out:
            for one in held.trained:
                self._held.setdefault(one.at, []).append(f"{one.name} of {held.called}")

    def shown(self, row: int) -> dict[str, Any]:
        """All of a row, counted from 0: as values of JSON, None where there is no such thing."""
        at, data = self._at.get(row), self.check.reading.config
        raw = self.check.reading.rows[row]
        gold = self.check.reading.golds.texts.get(row)
        trace = column(raw, data.trace_key) if self.check.reading.traces else None
        return {
            "row": row,
            "id": None if raw.get("id") is None else str(raw["id"]),
            "prompt": self._prompt(row, at),
            "rendered": at is not None and bool(self.check.prompts.texts[at]),
            "tokens": self.check.prompts.lengths[at] if at is not None and self.check.prompts.lengths else None,
            "written": str(column(raw, data.answer_key)),
            "gold": gold,
            "kind": self.check.reading.golds.kinds[gold] if gold is not None else None,
            "faults": [f for f in (self._prompt_fault(row), self.check.reading.golds.faults.get(row)) if f],
            "trace": trace if trace is None else str(trace),
            "again": self._again(at),
            "held": self._held.get(at, []) if at is not None else [],
        }

    def _prompt(self, row: int, at: int | None) -> str:
        """The prompt under the chat template, else its messages, else what stands in its place."""
        if at is not None and (text := self.check.prompts.texts[at]):
            return text
        prompt = self.check.prompts.problems[at].prompt if at is not None else self.check.reading.prompts.get(row)
        if prompt is None:
            return str(column(self.check.reading.rows[row], self.check.reading.config.prompt_key))
        return "\n".join(f"{message['role']}: {message['content']}" for message in as_messages(prompt))

    def _prompt_fault(self, row: int) -> str | None:
        why = self.check.reading.without_prompt.get(row)
        return f"no prompt: {why}" if why else None

    def _again(self, at: int | None) -> dict[str, Any] | None:
        """Which row had this problem before, and its answer where that is another one."""
        if at is None or (repeat := self._repeats.get(at)) is None:
            return None
        other = self.check.keys.problems[repeat.first].answer if repeat.other_answer else None
        return {"row": self.check.rows[repeat.first], "exact": repeat.exact, "other": other}

    def kinds(self) -> dict[str, list[int]]:
        """The rows that somebody may want to see, by what is to be seen of them."""
        check, golds = self.check, self.check.reading.golds
        longest = sorted(range(len(check.prompts.lengths)), key=lambda at: -check.prompts.lengths[at])
        limit = check.limit.of_prompts if check.limit else None
        found = {
            "all": list(range(len(check.reading.rows))),
            "ungradable gold": list(golds.faults),
            "no prompt": list(check.reading.without_prompt),
            "too long": [check.rows[at] for at in longest if limit is not None and check.prompts.lengths[at] > limit],
            "there before, with another answer": [check.rows[r.at] for r in check.repeats if r.other_answer],
            "there before": [check.rows[r.at] for r in check.repeats],
            "held out": [check.rows[at] for at in self._held],
            "longest prompts": [check.rows[at] for at in longest],
        }
        for row, gold in golds.texts.items():
            found.setdefault(f"gold: {golds.kinds[gold]}", []).append(row)
        return {kind: rows for kind, rows in found.items() if rows}
