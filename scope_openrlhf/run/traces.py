"""Worked solutions for problems that come without one: sampled from the teacher, verified, kept. `scope-train --traces OUT.jsonl`

OUT.jsonl        the data as they are, with a solution in column problems.trace_key, or null where no try was right; written once all were asked
OUT.jsonl.cache  whose answers these are, then a line for each problem as it is answered; the same command goes on from here
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from scope_openrlhf.data import problems as data
from scope_openrlhf.files import disk
from scope_openrlhf.files.disk import write_whole
from scope_openrlhf.models.loading import load_tokenizer
from scope_openrlhf.run.plan import Plan
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.teacher.client import AT_ONCE, TeacherClient
from scope_openrlhf.teacher.group import connect
from scope_openrlhf.teacher.score_log import identities
from scope_openrlhf.verifier import verify


@dataclass(frozen=True, slots=True)
class Problem:
    """Example: Problem(id="train-7", teacher="", answer="42", prompt_ids=[3, 9, 4], max_tokens=96)."""

    id: str
    teacher: str
    """Its name in the config."""
    answer: str
    prompt_ids: list[int]
    max_tokens: int


class Traces:
    """The rows of the data, the problem in each, and what the teacher has answered so far."""

    def __init__(self, file: Path, plan: Plan, tries: int) -> None:
        """tries: solutions of each problem at most. Raises ConfigError if file, or the cache beside it, belongs to something else."""
        self.config, self.file, self.tries = plan.config, file, tries
        self.key = plan.config.data.trace_key
        check_target(file, plan.config.data.path)
        self.rows = data.read(plan.config.data.path)
        try:
            json.dumps(
                [placed(row, self.key, None) for row in self.rows]
            )  # what could not be written is told before the teacher works
        except TypeError as error:
            raise ConfigError(
                f"a column of {plan.config.data.path} cannot be written as JSON ({error}); turn it into text, or remove it"
            ) from None
        self.tokenizer = load_tokenizer(
            plan.config.student.path, trust_remote_code=plan.config.student.trust_remote_code
        )
        self.problems = problems(plan, self.tokenizer)
        self.given = [data.has_trace(data.column(row, self.key)) for row in self.rows]
        self.cache = file.with_name(file.name + ".cache")
        self.answers = open_cache(self.cache, file, identity(plan, self.problems))

    def missing(self) -> list[int]:
        """Numbers of the rows for which the teacher has tries left."""
        done = {number for number, answer in self.answers.items() if answer["trace"] or answer["tries"] >= self.tries}
        return [number for number, given in enumerate(self.given) if not given and number not in done]

    def ask(self, out: TextIO) -> None:
        """Fill the cache. Raises TeacherError if the teacher stays silent past its deadline; what it said before is kept."""
        asyncio.run(self._ask(out))

    async def _ask(self, out: TextIO) -> None:
        missing = self.missing()
        waiting = iter(missing)
        clients = {
            name: TeacherClient(connect(name, t), t.deadline_seconds) for name, t in self.config.all_teachers.items()
        }
        endpoints = [endpoint for client in clients.values() for endpoint in client.endpoints]
        bar = tqdm(
            total=len(missing), file=out, unit="problem", mininterval=1.0 if out.isatty() else 10.0, dynamic_ncols=True
        )

        async def work() -> None:
            for number in waiting:  # one iterator for all of them
                problem = self.problems[number]
                before = self.answers.get(number, {"tries": 0})["tries"]
                trace, tries = await self._solve(clients[problem.teacher], problem, before)
                self.answers[number] = {"row": number, "id": problem.id, "tries": tries, "trace": trace}
                with self.cache.open("a") as file:
                    file.write(json.dumps(self.answers[number]) + "\n")
                bar.update()

        try:
            with bar:
                await asyncio.gather(*(work() for _ in range(min(AT_ONCE * len(endpoints), len(missing)))))
        finally:
            for endpoint in endpoints:
                await endpoint.close()

    async def _solve(self, client: TeacherClient, problem: Problem, first: int) -> tuple[str | None, int]:
        """(the first right solution that ended by itself, tries taken in all); (None, tries) where none was."""
        for number in range(first, self.tries):
            seed = data.sample_seed(self.config.seed, problem.id, "trace", number)
            response = await client.generate(problem.prompt_ids, problem.max_tokens, seed)
            text = self.tokenizer.decode(response.token_ids, skip_special_tokens=True)
            if not response.truncated and (await asyncio.to_thread(verify, problem.answer, text)).right:
                return text, number + 1
        return None, self.tries

    def write(self) -> str:
        """Write file, all rows in the order of the data, and say what it holds."""
        lines = [
            json.dumps(row if given else placed(row, self.key, self.answers[number]["trace"])) + "\n"
            for number, (row, given) in enumerate(zip(self.rows, self.given, strict=True))
        ]
        write_whole(self.file, "".join(lines))
        came, written = (
            sum(self.given),
            sum(bool(answer["trace"]) for n, answer in self.answers.items() if not self.given[n]),
        )
        return (
            f"{came + written} of {len(lines)} problems have a trace ({came} came with the data, {written} written by the teacher, "
            f"{len(lines) - came - written} without a right one in {self.tries} tries); written: {self.file}; train with problems.path={self.file}"
        )


def check_target(file: Path, source: str) -> None:
    """Raise ConfigError unless file can take the rows of source and be read as data."""
    if file.suffix != ".jsonl":
        raise ConfigError(f"--traces {file}: what is written are JSON lines; name it *.jsonl")
    if file.resolve() == Path(source).resolve():
        raise ConfigError(f"--traces {file} is problems.path itself, which is never overwritten; choose another file")


def problems(plan: Plan, tokenizer: Any) -> list[Problem]:
    """One for each row of the data, its prompt as training has it, its response as long as training allows."""
    config, args = plan.config, plan.args
    rows = data.load_rows(config.data, config.all_teachers if config.teachers else ())
    prompts = tokenizer([data.as_text(tokenizer, row["prompt"]) for row in rows], add_special_tokens=False)["input_ids"]
    longest = args.rollout.max_new_tokens or args.data.max_len
    return [
        Problem(row["id"], row.get("teacher", ""), row["answer"], ids, min(longest, args.data.max_len - len(ids)))
        for row, ids in zip(rows, prompts, strict=True)
    ]


def identity(plan: Plan, problems: list[Problem]) -> dict[str, str]:
    """Who answers what, and how: the answers of two runs with the same one may be taken for each other."""
    asked = json.dumps([(p.id, p.teacher, p.answer, p.prompt_ids) for p in problems]).encode()
    return identities(plan.config) | {
        "seed": str(plan.config.seed),
        "max_new_tokens": str(plan.args.rollout.max_new_tokens),
        "max_len": str(plan.args.data.max_len),
        "problems": hashlib.sha256(asked).hexdigest()[:16],
    }


def open_cache(cache: Path, file: Path, identity: dict[str, str]) -> dict[int, dict]:
    """The answers in it by row; an empty one is begun. Raises ConfigError if they are answers to others' questions, or if file came from elsewhere."""
    if file.exists() and not cache.exists():
        raise ConfigError(
            f"--traces {file} exists and there is no {cache} beside it, so it was not written by --traces; choose another file"
        )
    header, *lines = disk.whole_rows(cache) or [identity]
    if different := sorted(k for k in header.keys() | identity.keys() if header.get(k) != identity.get(k)):
        raise ConfigError(
            f"{cache} holds the answers of another teacher or to other problems; it differs in {', '.join(different)}: choose another "
            "--traces file, or delete it"
        )
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_whole(
        cache, "".join(json.dumps(line) + "\n" for line in (identity, *lines))
    )  # without a last line that was cut short
    return {line["row"]: line for line in lines}


def placed(row: dict, key: str, value: Any) -> dict:
    """The row with the value at a key whose dots reach inside. Raises ConfigError where something else than a section is on the way."""
    first, _, rest = key.partition(".")
    if not rest:
        return row | {first: value}
    inner = row.get(first) or {}
    if not isinstance(inner, dict):
        raise ConfigError(
            f"data.trace_key {key}: {first!r} holds {inner!r:.40} and nothing can be put inside; set problems.trace_key"
        )
    return row | {first: placed(inner, rest, value)}
