"""A file of teacher scores, keyed by who the teacher is and by token ids: to resume, to ablate, to debug without one.

SQLite, written by several processes of one node. Rows are added and never changed.
"""

import hashlib
import json
import sqlite3
import threading
from pathlib import Path

import numpy as np

from scope_openrlhf.teacher.contract import Score

TABLE = """CREATE TABLE IF NOT EXISTS scores (
    teacher TEXT, digest BLOB, top_k INTEGER, tokens BLOB, logprobs BLOB, topk_ids BLOB, topk_logprobs BLOB,
    PRIMARY KEY (teacher, digest, top_k)
)"""


class ScoreLog:
    """One file of scores. `get` finds what `put` stored, in any process, for the same teacher, tokens and top_k."""

    def __init__(self, file: str | Path, identity: dict[str, str]) -> None:
        """file: made where there is none, with its folder. identity: of the teacher, by `identity.teacher_identity`."""
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        self.teacher = json.dumps(identity, sort_keys=True)
        self.lock = threading.Lock()
        self.db = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.execute(TABLE)

    def get(self, token_ids: list[int], top_k: int) -> Score | None:
        """The score of a request; None if it was never stored."""
        with self.lock:
            row = self.db.execute(
                "SELECT logprobs, topk_ids, topk_logprobs FROM scores WHERE teacher = ? AND digest = ? AND top_k = ?",
                (self.teacher, _digest(token_ids), top_k),
            ).fetchone()
        if row is None:
            return None
        logprobs, topk_logprobs = np.frombuffer(row[0], np.float32), np.frombuffer(row[2], np.float32)
        topk_ids = np.frombuffer(row[1], np.int32)
        shape = (len(token_ids) - 1, top_k)
        return Score(
            token_ids=np.array(token_ids[1:], np.int32),
            logprobs=logprobs.copy(),  # what SQLite hands out cannot be written to
            topk_ids=topk_ids.reshape(shape).copy(),
            topk_logprobs=topk_logprobs.reshape(shape).copy(),
        )

    def put(self, token_ids: list[int], top_k: int, score: Score) -> None:
        """Store the score of a request, unless there is one."""
        values = (_tokens(token_ids), *(x.tobytes() for x in (score.logprobs, score.topk_ids, score.topk_logprobs)))
        with self.lock:
            self.db.execute(
                "INSERT OR IGNORE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self.teacher, _digest(token_ids), top_k, *values),
            )

    def close(self) -> None:
        self.db.close()


def _tokens(token_ids: list[int]) -> bytes:
    return np.array(token_ids, np.int32).tobytes()


def _digest(token_ids: list[int]) -> bytes:
    return hashlib.sha256(_tokens(token_ids)).digest()
