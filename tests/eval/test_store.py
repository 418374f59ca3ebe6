import multiprocessing
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from stores import begin, sample, write_many

from scope_eval.store import Grade, Store, StoreError
from scope_openrlhf.settings.errors import ConfigError


def test_a_sample_that_is_there_stays_and_more_can_be_added(tmp_path):
    store = Store(tmp_path / "s")
    number = begin(store)
    store.add([(number, sample()), (number, sample("b"))])
    store.add([(number, sample(text="another"))])
    store.close()
    store = Store(tmp_path / "s")
    assert begin(store) == number and store.get(number, "a", 0).text == r"\boxed{2}"
    store.add([(number, sample(number=8))])
    assert store.have(number) == {("a", 0), ("b", 0), ("a", 8)}
    assert store.benchmarks()[0]["samples"] is None
    store.finish(number, 2, 32, {"math-verify": "0.9"})
    assert store.benchmarks()[0]["samples"] == 32 and [p["id"] for p in store.problems(number, 2)] == ["a", "b"]


def test_grades_are_replaced_and_samples_are_not(tmp_path):
    store = Store(tmp_path / "s")
    number = begin(store)
    store.add([(number, sample())])
    assert store.graded(number, 8)["a"][0]["verdict"] is None
    store.put_grades(number, {"a": [Grade("wrong", "2", "different", 1)]})
    store.put_grades(number, {"a": [Grade("right", "2", "same", 0)]})
    (row,) = store.graded(number, 8)["a"]
    assert (row["verdict"], row["class"], row["tokens"], row["seed"]) == ("right", 0, 3, 11)
    assert store.texts(number, "a", 8) == [r"\boxed{2}"]


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"model": {"files": "xyz"}},
            "holds samples of tiny by the model files abc, this is files xyz; choose another --out",
        ),
        ({"data": "e"}, "holds tiny with the data hash d, this is hash e"),
        (
            {"settings": {"temperature": 1.0, "seed": 1}},
            "holds tiny sampled with temperature 0.6, this is temperature 1.0",
        ),
    ],
)
def test_what_another_model_or_setting_wrote_is_refused_and_intact(tmp_path, change, message):
    store = Store(tmp_path / "s")
    number = begin(store)
    store.add([(number, sample())])
    with pytest.raises(ConfigError, match=message):
        begin(store, **change)
    assert store.have(number) == {("a", 0)} and len(store.benchmarks()) == 1


def test_what_was_begun_and_never_sampled_holds_nobody_up(tmp_path):
    store = Store(tmp_path / "s")
    first = begin(store, settings={"max_tokens": 32768})
    assert begin(store, settings={"max_tokens": 100}, model={"files": "xyz"}) != first
    ((number, held),) = [(b["id"], b["settings"]) for b in store.benchmarks()]
    assert held == {"max_tokens": 100} and len(store.problems(number, 9)) == 2 and not store.problems(first, 9)
    with pytest.raises(StoreError, match="FOREIGN KEY"):  # a writer that began before that is told
        store.add([(first, sample())])


def test_a_file_of_another_program_or_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "s") as db:
        db.execute("CREATE TABLE samples (mine TEXT)")
    with pytest.raises(ConfigError, match="another version or another program wrote it"):
        Store(tmp_path / "s")


def test_a_file_that_is_no_store_is_refused_and_intact(tmp_path):
    (tmp_path / "s").write_text("notes of mine" * 100)
    with pytest.raises(ConfigError, match="is no store of samples"):
        Store(tmp_path / "s")
    assert (tmp_path / "s").read_text().startswith("notes of mine")


def test_a_full_disk_is_an_error_and_what_was_there_stays(tmp_path):
    store = Store(tmp_path / "s")
    number = begin(store)
    store.add([(number, sample())])
    store.db.execute(
        "PRAGMA max_page_count = 20"
    )  # SQLite then says "database or disk is full" as it does on a full disk
    with pytest.raises(StoreError, match="cannot be written .*full.*; what it holds is intact: free the disk"):
        store.add([(number, sample(number=i, text="x" * 4000)) for i in range(1, 100)])
    assert store.have(number) == {("a", 0)}
    store.db.execute("PRAGMA max_page_count = 100000")
    store.add([(number, sample(number=1))])
    assert store.have(number) == {("a", 0), ("a", 1)}


def test_two_writers_at_once_leave_every_sample_once(tmp_path):
    processes = [
        multiprocessing.get_context("spawn").Process(target=write_many, args=(tmp_path / "s", first))
        for first in (0, 50)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    store = Store(tmp_path / "s")
    assert store.have(1) == {("a", i) for i in range(150)} and len(store.benchmarks()) == 1
    assert store.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_writer_killed_at_any_moment_leaves_whole_samples(tmp_path):
    code = (
        "import sys; from stores import *\n"
        "store = Store(sys.argv[1]); number = begin(store); i = 0\n"
        "while True: store.add([(number, sample(number=i, text='x' * 5000))]); i += 1\n"
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s")], cwd="tests")
        try:
            size = (tmp_path / "s").stat().st_size if (tmp_path / "s").exists() else 0
            while process.poll() is None and (
                not (tmp_path / "s").exists() or (tmp_path / "s").stat().st_size < size + 200_000
            ):
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        store = Store(tmp_path / "s")
        numbers = sorted(n for _, n in store.have(1))
        assert numbers == list(range(len(numbers))) and {len(t) for t in store.texts(1, "a", 10**9)} == {5000}
        store.close()


def test_half_surrogates_of_a_model_are_kept_as_question_marks(tmp_path):
    store = Store(tmp_path / "s")
    number = begin(store)
    store.add([(number, sample(text="a\ud800b\0c"))])
    assert store.get(number, "a", 0).text == "a?b\0c"
