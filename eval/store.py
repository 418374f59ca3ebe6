"""A file of samples: what was drawn stays, is never drawn again and can be graded anew.

SQLite, so that a process killed at any moment leaves whole samples, and several may write at once where file locks
work. Samples are added and never changed; grades are derived from them and may be replaced.
"""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scope_openrlhf.settings.errors import ConfigError


class StoreError(RuntimeError):
    """The file could not be written. What it held before is intact."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A response of a model.

    Example: Sample("aime24-0", 3, "So \\\\boxed{204}.", tokens=7, finish_reason="stop", seed=8675309,
                    engine="vLLM 0.29.0 #0")
    """

    item: str
    """Id of the problem."""
    number: int
    """Counted from 0 for each problem."""
    text: str
    tokens: int
    finish_reason: str
    """As vLLM says: "stop", or "length" for a truncated one."""
    seed: int
    engine: str
    """Version and number of the engine, or address of the server."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What the grader says of a sample.

    Example: Grade("wrong", answer="41", reason="different", answer_class=1)
    """

    verdict: str
    """The verifier's: right, wrong or failed, whether the response was truncated or not."""
    answer: str | None
    """As it was extracted; None where the response holds none."""
    reason: str
    answer_class: int | None
    """The same for equivalent answers to one problem; 0 for right ones, None for no answer."""


SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS benchmarks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, model TEXT, data TEXT, settings TEXT, about TEXT,
    problems INTEGER, samples INTEGER, graded_with TEXT);
CREATE TABLE IF NOT EXISTS problems (
    benchmark INTEGER REFERENCES benchmarks (id) ON DELETE CASCADE, item TEXT, position INTEGER, problem TEXT,
    answer TEXT, stratum TEXT, PRIMARY KEY (benchmark, item)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS samples (
    benchmark INTEGER REFERENCES benchmarks (id), item TEXT, number INTEGER, text TEXT, tokens INTEGER,
    finish_reason TEXT, seed INTEGER, engine TEXT, PRIMARY KEY (benchmark, item, number));
CREATE TABLE IF NOT EXISTS grades (
    benchmark INTEGER, item TEXT, number INTEGER, verdict TEXT, answer TEXT, reason TEXT, class INTEGER,
    PRIMARY KEY (benchmark, item, number)) WITHOUT ROWID;
"""


class Store:
    """One file for one model: what it said to each benchmark under one setting."""

    def __init__(self, file: Path) -> None:
        """Open the file, or make it. Raises ConfigError if it is no store."""
        self.file = file
        self.lock = threading.Lock()
        try:
            self.db = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
            (tables,) = self.db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            (version,) = self.db.execute("PRAGMA user_version").fetchone()
            if tables and version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError("another version or another program wrote it")
            # a write-ahead log would not be safe on a network's file system
            self.db.execute("PRAGMA journal_mode=TRUNCATE")
            self.db.execute("PRAGMA synchronous=FULL")
            self.db.execute("PRAGMA foreign_keys=ON")
            self.db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{file} is no store of samples ({error}); choose another --out") from None

    def begin(self, name: str, model: dict, data: str, settings: dict, rows: Sequence[dict], about: dict) -> int:
        """The number of the benchmark in this file, which is added where it is new.

        model: its identity; data: the content hash of rows; about: what else a report should say.
        Raises ConfigError if the file holds samples of another model, or of this benchmark with other data or settings;
        what was begun and never sampled holds nobody up.
        """
        with self._transaction():
            sampled = {number for (number,) in self.db.execute("SELECT DISTINCT benchmark FROM samples")}
            number = None
            for number_of, held, *values in self.db.execute(
                "SELECT id, name, model, data, settings FROM benchmarks"
            ).fetchall():
                if number_of in sampled:
                    self._must_be_equal(f"samples of {held} by the model", json.loads(values[0]), model)
                if held == name:
                    number = number_of
                    if number in sampled:
                        self._must_be_equal(f"{name} with the data", {"hash": values[1]}, {"hash": data})
                        self._must_be_equal(f"{name} sampled with", json.loads(values[2]), settings)
                    elif values != [json.dumps(model), data, json.dumps(settings)]:
                        self.db.execute("DELETE FROM benchmarks WHERE id = ?", (number,))
                        number = None
            if number is None:
                values = [name, json.dumps(model), data, json.dumps(settings)]
                number = self.db.execute(
                    "INSERT INTO benchmarks (name, model, data, settings) VALUES (?, ?, ?, ?)", values
                ).lastrowid
                texts = (
                    (number, r["id"], i, r["problem"], r["answer"], r.get("stratum", "all")) for i, r in enumerate(rows)
                )
                self.db.executemany("INSERT INTO problems VALUES (?, ?, ?, ?, ?, ?)", texts)
            self.db.execute("UPDATE benchmarks SET about = ? WHERE id = ?", (json.dumps(about), number))
        return int(number or 0)

    def finish(self, benchmark: int, problems: int, samples: int, graded_with: dict) -> None:
        """Note that the first samples of the first problems are all there and graded.

        Results and reports are about these from now on.
        """
        with self._transaction():
            values = (problems, samples, json.dumps(graded_with), benchmark)
            self.db.execute("UPDATE benchmarks SET problems = ?, samples = ?, graded_with = ? WHERE id = ?", values)

    def _must_be_equal(self, what: str, then: dict, now: dict) -> None:
        keys = [k for k in {**then, **now} if then.get(k) != now.get(k)]
        if keys:
            held, asked = ({k: side.get(k) for k in keys} for side in (then, now))
            raise ConfigError(
                f"{self.file} holds {what} {_short(held)}, this is {_short(asked)}; choose another --out, or ask for "
                "the same"
            )

    def have(self, benchmark: int) -> set[tuple[str, int]]:
        """(item, number) of a benchmark's samples that are there."""
        return set(self._read("SELECT item, number FROM samples WHERE benchmark = ?", benchmark))

    def get(self, benchmark: int, item: str, number: int) -> Sample:
        """One sample, which is there."""
        (row,) = self._read(
            "SELECT item, number, text, tokens, finish_reason, seed, engine FROM samples "
            "WHERE benchmark = ? AND item = ? AND number = ?",
            benchmark,
            item,
            number,
        )
        return Sample(*row)

    def add(self, samples: Iterable[tuple[int, Sample]]) -> None:
        """Keep samples, given as (benchmark, sample) each; one that is there already stays as it is.

        Raises StoreError if they cannot be kept.
        """
        rows = [(b, s.item, s.number, _sound(s.text), s.tokens, s.finish_reason, s.seed, s.engine) for b, s in samples]
        with self._transaction():
            self.db.executemany("INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def put_grades(self, benchmark: int, graded: dict[str, Sequence[Grade]]) -> None:
        """Keep the grades of the first samples of each item; they replace earlier ones.

        One transaction for all: each waits for the disk.
        """
        rows = [
            (benchmark, item, i, g.verdict, g.answer and _sound(g.answer), _sound(g.reason), g.answer_class)
            for item, grades in graded.items()
            for i, g in enumerate(grades)
        ]
        with self._transaction():
            self.db.executemany("INSERT OR REPLACE INTO grades VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def benchmarks(self) -> list[dict]:
        """All benchmarks in the order in which they were begun.

        Each is {"name", "id", "model", "data", "settings", "about", "problems", "samples", "graded_with"}; the last
        three are those of `finish`, None before it was called first.
        """
        keys = ("name", "id", "model", "data", "settings", "about", "problems", "samples", "graded_with")
        rows = [
            dict(zip(keys, row, strict=True))
            for row in self._read(f"SELECT {', '.join(keys)} FROM benchmarks ORDER BY id")
        ]
        return [
            row | {k: json.loads(row[k] or "null") for k in ("model", "settings", "about", "graded_with")}
            for row in rows
        ]

    def problems(self, benchmark: int, limit: int) -> list[dict]:
        """The first problems of a benchmark, at most limit, each as {"id", "problem", "answer", "stratum"}."""
        rows = self._read(
            "SELECT item, problem, answer, stratum FROM problems "
            "WHERE benchmark = ? AND position < ? ORDER BY position",
            benchmark,
            limit,
        )
        return [dict(zip(("id", "problem", "answer", "stratum"), row, strict=True)) for row in rows]

    def texts(self, benchmark: int, item: str, samples: int) -> list[str]:
        """Texts of the first samples of an item, in the order of their numbers."""
        query = "SELECT text FROM samples WHERE benchmark = ? AND item = ? AND number < ? ORDER BY number"
        return [text for (text,) in self._read(query, benchmark, item, samples)]

    def characters(self, benchmark: int) -> int:
        """Number of characters of all responses of a benchmark."""
        ((total,),) = self._read("SELECT SUM(LENGTH(text)) FROM samples WHERE benchmark = ?", benchmark)
        return total or 0

    def graded(self, benchmark: int, samples: int) -> dict[str, list[dict]]:
        """{item: its first samples with their grades, without the texts}, each sample a dict.

        A sample that was never graded has the verdict None.
        """
        keys = ("number", "tokens", "finish_reason", "seed", "engine", "verdict", "answer", "reason", "class")
        rows = self._read(
            f"SELECT s.item, s.{', s.'.join(keys[:5])}, g.{', g.'.join(keys[5:])} FROM samples s LEFT JOIN grades g "
            "ON g.benchmark = s.benchmark AND g.item = s.item AND g.number = s.number "
            "WHERE s.benchmark = ? AND s.number < ? ORDER BY s.item, s.number",
            benchmark,
            samples,
        )
        found: dict[str, list[dict]] = {}
        for item, *values in rows:
            found.setdefault(item, []).append(dict(zip(keys, values, strict=True)))
        return found

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def _read(self, query: str, *values) -> list[tuple]:
        with self.lock:
            try:
                return self.db.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"{self.file} cannot be read: {error}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.lock:
            try:
                self.db.execute("BEGIN IMMEDIATE")
                yield
                self.db.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    self.db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise StoreError(
                        f"{self.file} cannot be written ({error}); what it holds is intact: free the disk, then run "
                        "the same again"
                    ) from error
                raise


def _short(values: dict) -> str:
    text = ", ".join(f"{k} {v}" for k, v in values.items())
    return text if len(text) <= 300 else text[:300] + "..."


def _sound(text: str) -> str:
    """The text without half surrogates, which no file takes."""
    return text.encode("utf-8", "replace").decode()
