"""Worked solutions for problems that come without one: sampled from the teacher, verified, kept. `scope-train traces`

OUT.jsonl        the rows of the data that train, as they are, with a solution in column data.trace_key, or null where
                 no try was right; written once all were asked
OUT.jsonl.cache  whose answers these are, then a line for each problem as it is answered; the same command goes on from
                 here
"""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from scope_openrlhf.data.files import column, read
from scope_openrlhf.data.order import sample_seed
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.data.problems import has_trace, load_problems
from scope_openrlhf.data.prompts import as_text
from scope_openrlhf.files.disk import whole_rows, write_whole
from scope_openrlhf.host import luggage
from scope_openrlhf.models.loading import load_tokenizer
from scope_openrlhf.run.plan import Plan, make_plan
from scope_openrlhf.run.teachers import teachers_alone
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.teacher.client import AT_ONCE, TeacherClient
from scope_openrlhf.teacher.connect import connect
from scope_openrlhf.teacher.identity import identities
from scope_openrlhf.teacher.probe import probe_run
from scope_openrlhf.verifier import verify


def write_traces(config: Config, file: Path, tries: int, out: TextIO) -> None:
    """Have the teacher solve the problems without a solution, and write all rows to file.

    tries: solutions of each problem at most. Raises ConfigError, RunError.
    """
    with tempfile.TemporaryDirectory() as folder:
        # opd, whatever the run's own algorithm: it has a teacher; and elsewhere, because no run of this name begins
        (Path(folder) / config.name).mkdir()
        plan = make_plan(replace(config, algorithm={"name": "opd"}, runs=folder))
        if plan.run.replay:
            raise ConfigError("teacher.replay starts no teacher, so there is none to write traces")
        if tries < 1:
            raise ConfigError(f"--tries must be at least 1, got {tries}")
        found = Traces(file, plan, tries)
        if missing := found.missing():
            temperature = f"the teacher at temperature {plan.run.teacher_temperature:g}"
            print(f"scope-train traces: {len(missing)} problems, {temperature}", file=out, flush=True)
            first = luggage.read_prompts(plan.run.run_dir / "prompts.jsonl")[0]
            logged = replace(plan, run=replace(plan.run, folder=str(config.run_dir.absolute())))
            with teachers_alone(logged, out, advice="; the same command goes on where it was"):
                for teacher in plan.run.teachers.values():
                    probe_run(teacher, plan.run.student, first, plan.args.data.max_len)
                found.ask(out)
        print(found.write(), file=out, flush=True)


@dataclass(frozen=True, slots=True)
class Question:
    """A problem as the teacher is asked it.

    Example: Question(Problem(id="train-7", prompt="40+2?", answer="42"), prompt_ids=[3, 9, 4], max_tokens=96)
    """

    problem: Problem
    prompt_ids: list[int]
    max_tokens: int


class Traces:
    """The rows of the data that train, the question in each, and what the teacher has answered so far."""

    def __init__(self, file: Path, plan: Plan, tries: int) -> None:
        """Raises ConfigError if file, or the cache beside it, belongs to something else."""
        self.file, self.tries, self.teachers, self.seed = file, tries, plan.run.teachers, plan.run.seed
        source, self.key = plan.config.data.path, plan.config.data.trace_key
        check_target(file, source)
        problems = load_problems(plan.config.data, plan.run.teachers if plan.config.teachers else ())
        rows = read(source)
        self.rows = [rows[number] for number in problems.rows]
        try:  # what could not be written is told before the teacher works
            json.dumps([placed(row, self.key, None) for row in self.rows])
        except TypeError as error:
            raise ConfigError(
                f"a column of {source} cannot be written as JSON ({error}); turn it into text, or remove it"
            ) from None
        student = plan.run.student
        self.tokenizer = load_tokenizer(student.path, trust_remote_code=student.trust_remote_code)
        self.questions = questions(problems, plan, self.tokenizer)
        self.given = [has_trace(column(row, self.key)) for row in self.rows]
        self.cache = file.with_name(file.name + ".cache")
        self.answers = open_cache(self.cache, file, identity(plan, self.questions))

    def missing(self) -> list[int]:
        """Numbers of the rows for which the teacher has tries left."""
        done = {n for n, answer in self.answers.items() if answer["trace"] or answer["tries"] >= self.tries}
        return [number for number, given in enumerate(self.given) if not given and number not in done]

    def ask(self, out: TextIO) -> None:
        """Fill the cache. Raises TeacherError if the teacher stays silent past its deadline; what it said is kept."""
        asyncio.run(self._ask(out))

    async def _ask(self, out: TextIO) -> None:
        missing = self.missing()
        waiting = iter(missing)
        clients = {name: TeacherClient(connect(t), t.deadline_seconds) for name, t in self.teachers.items()}
        endpoints = [endpoint for client in clients.values() for endpoint in client.endpoints]
        interval = 1.0 if out.isatty() else 10.0
        bar = tqdm(total=len(missing), file=out, unit="problem", mininterval=interval, dynamic_ncols=True)

        async def work() -> None:
            for number in waiting:  # one iterator for all of them
                question = self.questions[number]
                before = self.answers.get(number, {"tries": 0})["tries"]
                client = clients[question.problem.teacher or ""]
                trace, tries = await self._solve(client, question, before)
                answer = {"row": number, "id": question.problem.id, "tries": tries, "trace": trace}
                self.answers[number] = answer
                with self.cache.open("a") as file:
                    file.write(json.dumps(answer) + "\n")
                bar.update()

        try:
            with bar:
                await asyncio.gather(*(work() for _ in range(min(AT_ONCE * len(endpoints), len(missing)))))
        finally:
            for endpoint in endpoints:
                await endpoint.close()

    async def _solve(self, client: TeacherClient, question: Question, first: int) -> tuple[str | None, int]:
        """(the first right solution that ended by itself, tries taken in all); (None, tries) where none was."""
        problem = question.problem
        for number in range(first, self.tries):
            seed = sample_seed(self.seed, problem.id, "trace", number)
            said = await client.generate(question.prompt_ids, question.max_tokens, seed)
            text = self.tokenizer.decode(said.token_ids, skip_special_tokens=True)
            if not said.truncated and (await asyncio.to_thread(verify, problem.answer, text)).right:
                return text, number + 1
        return None, self.tries

    def write(self) -> str:
        """Write file, all rows in the order of the data, and say what it holds."""
        lines = [
            json.dumps(row if given else placed(row, self.key, self.answers[number]["trace"])) + "\n"
            for number, (row, given) in enumerate(zip(self.rows, self.given, strict=True))
        ]
        write_whole(self.file, "".join(lines))
        came = sum(self.given)
        written = sum(bool(answer["trace"]) for n, answer in self.answers.items() if not self.given[n])
        return (
            f"{came + written} of {len(lines)} problems have a trace ({came} came with the data, {written} written by "
            f"the teacher, {len(lines) - came - written} without a right one in {self.tries} tries); written: "
            f"{self.file}; train with data.path={self.file}"
        )


def check_target(file: Path, source: str) -> None:
    """Raise ConfigError unless file can take the rows of source and be read as data."""
    if file.suffix != ".jsonl":
        raise ConfigError(f"--out {file}: what is written are JSON lines; name it *.jsonl")
    if file.resolve() == Path(source).resolve():
        raise ConfigError(f"--out {file} is data.path itself, which is never overwritten; choose another file")


def questions(problems: Sequence[Problem], plan: Plan, tokenizer: Any) -> list[Question]:
    """A question for each problem, its prompt and its longest response as training has them."""
    config, args = plan.config, plan.args
    texts = [as_text(tokenizer, p.prompt, config.student) for p in problems]
    prompts = tokenizer(texts, add_special_tokens=False)["input_ids"]
    longest = args.rollout.max_new_tokens or args.data.max_len
    return [
        Question(problem, ids, min(longest, args.data.max_len - len(ids)))
        for problem, ids in zip(problems, prompts, strict=True)
    ]


def identity(plan: Plan, questions: list[Question]) -> dict[str, str]:
    """Who answers what, and how: the answers of two runs with the same one may be taken for each other."""
    asked = [(q.problem.id, q.problem.teacher or "", q.problem.answer, q.prompt_ids) for q in questions]
    return identities(plan.run.teachers) | {
        "seed": str(plan.run.seed),
        "max_new_tokens": str(plan.args.rollout.max_new_tokens),
        "max_len": str(plan.args.data.max_len),
        "problems": hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16],
    }


def open_cache(cache: Path, file: Path, identity: dict[str, str]) -> dict[int, dict]:
    """The answers in the cache by row; an empty cache is begun.

    Raises ConfigError if they are answers to others' questions, or if file came from elsewhere.
    """
    if file.exists() and not cache.exists():
        raise ConfigError(
            f"--out {file} exists and there is no {cache} beside it, so it was not written by scope-train traces; "
            "choose another file"
        )
    header, *lines = whole_rows(cache) or [identity]
    if different := sorted(k for k in header.keys() | identity.keys() if header.get(k) != identity.get(k)):
        raise ConfigError(
            f"{cache} holds the answers of another teacher or to other problems; it differs in "
            f"{', '.join(different)}: choose another --out file, or delete it"
        )
    cache.parent.mkdir(parents=True, exist_ok=True)
    # without a last line that was cut short
    write_whole(cache, "".join(json.dumps(line) + "\n" for line in (identity, *lines)))
    return {line["row"]: line for line in lines}


def placed(row: dict, key: str, value: Any) -> dict:
    """The row with the value at a key whose dots reach inside. Raises ConfigError if no section is on the way."""
    first, _, rest = key.partition(".")
    if not rest:
        return row | {first: value}
    inner = row.get(first) or {}
    if not isinstance(inner, dict):
        raise ConfigError(
            f"data.trace_key {key}: {first!r} holds {inner!r:.40} and nothing can be put inside; set data.trace_key"
        )
    return row | {first: placed(inner, rest, value)}
