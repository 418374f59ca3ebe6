"""A file of teacher scores, keyed by who the teacher is and by token ids: to resume, to ablate, to debug without a teacher.

SQLite, written by several processes of one node. Rows are added and never changed.
"""

import hashlib
import json
import sqlite3
import threading
from pathlib import Path

import numpy as np

from scope_openrlhf.files.fingerprint import files_fingerprint
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.sections import TeacherConfig
from scope_openrlhf.teacher.client import Score


def teacher_identity(config: TeacherConfig) -> dict[str, str]:
    """What makes two teachers the same one: path or URLs, the hub's commit or a fingerprint of the files, dtype, temperature."""
    who = {
        "path": config.path,
        "urls": " ".join(config.urls),
        "dtype": config.dtype,
        "temperature": f"{config.temperature:g}",
    }
    if config.revision:
        who["revision"] = config.revision
    if Path(config.path).is_dir():
        who["files"] = files_fingerprint(config.path)
    return who


def identities(config: Config) -> dict[str, str]:
    """Those of all teachers of a run in one table: "path", "math.path", ..."""
    return {
        f"{name}.{k}".lstrip("."): v for name, t in config.all_teachers.items() for k, v in teacher_identity(t).items()
    }


class ScoreLog:
    """One file. `get` what `put` stored, by any process, for the same teacher, tokens and top_k."""

    def __init__(self, path: str | Path, identity: dict[str, str]) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.teacher = json.dumps(identity, sort_keys=True)
        self.lock = threading.Lock()
        self.db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS scores (teacher TEXT, digest BLOB, top_k INTEGER, tokens BLOB, logprobs BLOB, topk_ids BLOB, "
            "topk_logprobs BLOB, PRIMARY KEY (teacher, digest, top_k))"
        )

    def get(self, token_ids: list[int], top_k: int) -> Score | None:
        with self.lock:
            row = self.db.execute(
                "SELECT logprobs, topk_ids, topk_logprobs FROM scores WHERE teacher = ? AND digest = ? AND top_k = ?",
                (self.teacher, _digest(token_ids), top_k),
            ).fetchone()
        if row is None:
            return None
        logprobs, ids, topk = (
            np.frombuffer(row[0], np.float32),
            np.frombuffer(row[1], np.int32),
            np.frombuffer(row[2], np.float32),
        )
        shape = (len(token_ids) - 1, top_k)
        return Score(
            np.array(token_ids[1:], np.int32), logprobs.copy(), ids.reshape(shape).copy(), topk.reshape(shape).copy()
        )

    def put(self, token_ids: list[int], top_k: int, score: Score) -> None:
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
