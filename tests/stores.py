"""Made-up samples and grades in a store, for tests of the store and of what is computed from it."""

import os
from pathlib import Path

from scope_eval.results import Graded
from scope_eval.store import Grade, Sample, Store

MODEL = {"files": "abc"}
ROWS = [{"id": "a", "problem": "1+1?", "answer": "2"}, {"id": "b", "problem": "1+2?", "answer": "3"}]
SETTINGS = {"temperature": 0.6, "seed": 1}
ABOUT = {
    "model": "m",
    "data": {"from": "file"},
    "notes": [],
    "without": {"label": "without b", "ids": ["b"]},
    "significant": False,
    "published": True,
}
GRADES = {
    "r": Grade("right", "1", "same", 0),
    "t": Grade("right", "1", "same", 0),
    "w": Grade("wrong", "2", "different", 1),
    "f": Grade("failed", "3", "time", 2),
    "n": Grade("wrong", None, "no box", None),
}


def graded(
    folder: Path, right: dict[str, str], name: str = "tiny", data: str = "d", temperature: float = 0.6
) -> tuple[Store, Graded]:
    """A finished benchmark. right: for each problem one letter a sample.

    r: right, w: wrong, t: right but truncated, f: failed, n: no box.
    """
    folder.mkdir(exist_ok=True)
    store = Store(folder / f"{name}{data}{temperature}")
    rows = [{"id": item, "problem": "?", "answer": "1", "stratum": item} for item in right]
    n = len(next(iter(right.values())))
    number = store.begin(name, {"files": "x"}, data, {"temperature": temperature, "seed": 1}, rows, ABOUT)
    for item, letters in right.items():
        for i, c in enumerate(letters):
            tokens, reason = 300 if c == "r" else 100, "length" if c == "t" else "stop"
            store.add([(number, Sample(item, i, f"text {i // 2}", tokens, reason, i, "0"))])
        store.put_grades(number, {item: [GRADES[c] for c in letters]})
    store.finish(number, len(rows), n, {"math-verify": "0.9"})
    (benchmark,) = store.benchmarks()
    return store, Graded(store, benchmark)


def sample(item: str = "a", number: int = 0, text: str = r"\boxed{2}") -> Sample:
    """Sample of an item of ROWS."""
    return Sample(item, number, text, 3, "stop", 11, "0")


def begin(store: Store, model: dict = MODEL, data: str = "d", settings: dict = SETTINGS) -> int:
    """Begin a benchmark of ROWS and give its number."""
    return store.begin("tiny", model, data, settings, ROWS, {"model": "m"})


def write_many(file: Path, first: int) -> None:
    """Add 100 samples one by one; a process of its own does it."""
    store = Store(file)
    number = begin(store)
    for i in range(first, first + 100):
        store.add([(number, sample(number=i, text=f"{os.getpid()} {i}"))])
