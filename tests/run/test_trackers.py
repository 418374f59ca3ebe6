"""Trackers follow metrics.jsonl: every row once, whatever fails; and none of it holds the run up."""

import io
import json
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path

import pytest
from finished import append, evaluated, finished_run, row

from scope_openrlhf.files.disk import write_whole
from scope_openrlhf.run import trackers, tracking
from scope_openrlhf.run.cli import main
from scope_openrlhf.run.tracking import Follower, Taken, tracked
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError

FIRST = {"of": 3, "reward": 0.1, "right": 3, "wrong": 1, "seconds.teacher": 0.25, "seconds.total": 1.5}
LIBRARY = """
import os, time
class Run:
    id = "7"
    def log(self, numbers, step):
        with open(os.environ["SENT"], "a") as file:
            print("row", step, numbers.get("reward"), numbers.get("eval.after.avg"), file=file)
    def finish(self):
        time.sleep(float(os.environ.get("FINISHES_IN", 0)))
def init(name, config, resume, **more):
    if "FAULT" in os.environ:
        raise ConnectionError("no route to http://me:secret@host/?write_token=secret " + os.environ["FAULT"])
    print("library: noise")
    with open(os.environ["SENT"], "a") as file:
        print("init", name, resume, config["algorithm.tau"], config["steps"], file=file)
    return Run()
"""
"""What of trackio its adapter calls, writing what it gets into a file."""


class Recorder:
    """A tracker in memory that fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.got: list[tuple[int, dict]] = []
        self.failures, self.ended = failures, []

    def log(self, step: int, numbers: dict) -> None:
        if self.failures:
            self.failures -= 1
            raise TimeoutError("no answer")
        self.got.append((step, numbers))

    def finish(self, whole: bool) -> None:
        self.ended.append(whole)


def followed(run: Path, tracker: Recorder, taken: Taken) -> tuple[str, str]:
    """What is told while the run is followed to its end, and after it."""
    (run / tracking.LOCAL).mkdir(exist_ok=True)
    ended, told = threading.Event(), io.StringIO()
    ended.set()
    follower = Follower(run, "mlflow", taken, tracker)
    follower.follow(ended, told)
    return told.getvalue(), follower.close()


@pytest.fixture
def library(tmp_path, monkeypatch) -> Path:
    """A library called trackio for the processes of trackers; the file that it writes to."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "trackio.py").write_text(LIBRARY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.setenv("SENT", str(tmp_path / "sent"))
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    return tmp_path / "sent"


def test_a_tracker_gets_the_rows_as_they_stand_in_the_file_and_what_is_missing_stays_missing(tmp_path):
    run, tracker = finished_run(tmp_path), Recorder()
    assert followed(run, tracker, Taken()) == ("", "")
    assert tracker.got[0] == (1, FIRST) and [step for step, _ in tracker.got] == [1, 2, 3, 3]
    scores = tracker.got[3][1]
    assert scores["eval.after.avg"] == 0.75 and scores["eval.after.avg_low"] == 0.7 and scores["eval.samples"] == 2
    assert scores["eval.difference.pass_high"] == 0.6 and len(scores) == 20
    assert tracker.ended == [True]


def test_a_resumed_run_goes_on_where_the_tracker_is_though_it_does_a_step_again(tmp_path):
    run, taken, tracker = finished_run(tmp_path, done=False), Taken(), Recorder()
    followed(run, tracker, taken)
    assert tracker.ended == [False]
    write_whole(run / "metrics.jsonl", json.dumps(row(1)) + "\n")  # resumed from the checkpoint of step 1
    append(run, row(2) | {"reward": 0.9}, row(3), row(4))
    evaluated(run)
    followed(run, tracker, Taken.read(tracking.taken_file(run, "mlflow")))
    assert [step for step, _ in tracker.got] == [1, 2, 3, 4, 4]
    followed(run, tracker, Taken.read(tracking.taken_file(run, "mlflow")))
    assert len(tracker.got) == 5  # neither rows nor scores again


def test_a_tracker_that_fails_is_told_once_and_gets_the_rows_later(tmp_path, monkeypatch):
    run, taken, tracker = finished_run(tmp_path, done=False), Taken(), Recorder(failures=2)
    (run / tracking.LOCAL).mkdir()
    monkeypatch.setattr(tracking, "LONGEST_PAUSE", 0.0)
    ended, told = threading.Event(), io.StringIO()
    thread = threading.Thread(target=Follower(run, "mlflow", taken, tracker).follow, args=(ended, told))
    monkeypatch.setattr(ended, "wait", lambda seconds: time.sleep(0.01) or ended.is_set())
    thread.start()
    deadline = time.monotonic() + 30
    while taken.step < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    ended.set()
    thread.join()
    assert told.getvalue() == "  mlflow: TimeoutError: no answer; it is tried again, the run goes on\n"
    assert [step for step, _ in tracker.got] == [1, 2, 3]


def test_what_a_tracker_did_not_take_is_counted_and_can_be_sent_after_the_run(tmp_path):
    run, taken = finished_run(tmp_path), Taken(step=1)
    _, lacks = followed(run, Recorder(failures=9), taken)
    assert lacks == f"2 of 3 steps; scope-train track {run} sends them"
    tracker = Recorder()
    assert followed(run, tracker, taken) == ("", "") and [step for step, _ in tracker.got] == [2, 3, 3]


def test_a_process_follows_a_run_while_it_is_open(tmp_path, library):
    run = finished_run(tmp_path, done=False)
    with (tmp_path / "terminal").open("w+") as out:
        with tracked(run, ["trackio"], "mine", out):
            evaluated(run)
        with tracked(run, ["trackio"], "mine", out):
            append(run, row(4))
        out.seek(0)
        place = tmp_path / "trackers" / "trackio"
        assert out.read() == 2 * f"  trackio: TRACKIO_DIR={place} trackio show --project mine\n"
    assert library.read_text().splitlines() == [
        "init a never 1.0 3", "row 1 0.1 None", "row 2 0.2 None", "row 3 0.3 None", "row 3 None 0.75",
        "init a must 1.0 3", "row 4 0.4 None",
    ]  # fmt: skip
    assert "library: noise" in (run / "logs" / "track-trackio.log").read_text()


def test_a_tracker_that_does_not_start_is_told_before_with_what_to_do_and_without_secrets(
    tmp_path, library, monkeypatch
):
    monkeypatch.setenv("FAULT", "with right")
    monkeypatch.setenv("HF_TOKEN", "right")
    run, out = finished_run(tmp_path), (tmp_path / "terminal").open("w")
    with out, pytest.raises(ConfigError) as told, tracked(run, ["trackio"], "mine", out):
        pytest.fail("the run was begun")
    assert str(told.value) == (
        "track.to: trackio does not start (ConnectionError: no route to http://<user>@host/?write_token=<token> with "
        f"<HF_TOKEN>). {trackers.Trackio.mend}"
    )


def test_a_tracker_that_hangs_at_the_end_holds_the_run_up_no_longer_than_a_minute(tmp_path, library, monkeypatch):
    monkeypatch.setenv("FINISHES_IN", "60")
    monkeypatch.setattr(tracking, "END_SECONDS", 1.0)
    run = finished_run(tmp_path)
    with (tmp_path / "terminal").open("w+") as out:
        with tracked(run, ["trackio"], "mine", out):
            pass
        out.seek(0)
        assert f"trackio: has not finished within 1 s; scope-train track {run} sends what it lacks" in out.read()


def test_two_commands_do_not_send_a_run_at_once(tmp_path, library):
    run = finished_run(tmp_path)
    out, refused = (tmp_path / "terminal").open("w"), pytest.raises(ConfigError, match="another process sends")
    with out, tracked(run, ["trackio"], "mine", out), refused, tracked(run, ["trackio"], "mine", out):
        pass


def test_a_library_that_is_not_there_is_told_with_the_command_that_installs_it(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    args = ["run", "--config", "examples/cpu_tiny.yaml", f"runs={tmp_path}", "track.to=[mlflow]"]
    assert main(args) == 2
    told = f"error: track.to: mlflow is not installed; {sys.executable} -m pip install mlflow-skinny, or take it out\n"
    assert capfd.readouterr().err == told
    assert main(["track", str(finished_run(tmp_path)), "--to", "swanlab"]) == 2
    assert "swanlab is not installed" in capfd.readouterr().err


def test_a_tracker_that_there_is_not_and_a_run_that_names_none_are_told(tmp_path, capfd):
    with pytest.raises(ConfigError, match="track.to.0. must be one of trackio, mlflow, swanlab, got 'wandb'"):
        Config.load("examples/cpu_tiny.yaml", ["track.to=[wandb]"])
    assert main(["track", str(finished_run(tmp_path))]) == 2
    assert "has no tracker; set track.to in its config, or name some with --to" in capfd.readouterr().err


# --- the libraries themselves

STORES = """
import glob, json, os, sqlite3, sys
from pathlib import Path
from mlflow import MlflowClient
from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.sdk.internal.core_python.store import DataStoreReader

runs = Path(sys.argv[1])
taken = {name: json.loads((runs / "a" / "trackers" / f"{name}.json").read_text()) for name in sys.argv[2:]}
got = {}
rows = sqlite3.connect(runs / "trackers" / "trackio" / "mine.db").execute("SELECT step, metrics, run_id FROM metrics")
got["trackio"] = [(s, k, v) for s, m, run in rows if run == taken["trackio"]["id"] for k, v in json.loads(m).items()]
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
client = MlflowClient((runs / "trackers" / "mlflow").as_uri())
run = client.get_run(taken["mlflow"]["id"])
got["mlflow"] = [(m.step, k, m.value) for k in run.data.metrics for m in client.get_metric_history(run.info.run_id, k)]
got["swanlab"] = []
for file in glob.glob(str(runs / "trackers" / "swanlab" / f"*{taken['swanlab']['id']}*" / "*.swanlab")):
    reader, record = DataStoreReader(), Record()
    reader.open(file)
    for raw in reader:
        record.ParseFromString(raw)
        if record.WhichOneof("record_type") == "scalar":
            got["swanlab"].append((record.scalar.step, record.scalar.key, record.scalar.value.number))
print(json.dumps({"rows": got, "status": run.info.status, "params": run.data.params, "tags": run.data.tags}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The Python of an environment over ours, with the libraries as pip installs them into it."""
    folder = tmp_path_factory.mktemp("trackers") / "venv"
    venv.create(folder, with_pip=True)
    (site,) = folder.glob("lib/*/site-packages")
    (site / "ours.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    (site / "scope.pth").write_text(str(Path.cwd()))
    packages = [t.package for t in trackers.TRACKERS.values()]
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages], check=True)
    return folder / "bin" / "python"


def stored(python: Path, runs: Path) -> dict:
    """What the stores of the three libraries hold of the run `a`: rows of (step, name, number) each, and more."""
    done = subprocess.run([python, "-c", STORES, runs, *trackers.TRACKERS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_stores_of_trackio_mlflow_and_swanlab_hold_every_number_once_also_after_a_resume(python, tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SWANLAB_MODE": "offline"}
    track = [python, "-m", "scope_openrlhf.run", "track", tmp_path / "a", "--to", *trackers.TRACKERS]
    run = finished_run(tmp_path, "track.project=mine")
    subprocess.run(track, env=environment, check=True)
    append(run, row(4, 5), row(5, 5))
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("steps: 3", "steps: 5"))
    subprocess.run(track, env=environment, check=True)
    found = stored(python, tmp_path)
    rows = {step: tracking.flat(row(step, 3 if step < 4 else 5)) for step in range(1, 6)}
    wanted = sorted((n, k, v) for n, r in rows.items() for k, v in r.items() if k != "step" and v is not None)
    scores = tracking.read_scores(run).numbers()
    for name in trackers.TRACKERS:
        got = sorted(map(tuple, found["rows"][name]))
        assert [r for r in got if not r[1].startswith("eval.")] == wanted, name
        assert [r for r in got if r[1].startswith("eval.")] == sorted((3, k, v) for k, v in scores.items()), name
    assert found["status"] == "FINISHED" and found["params"]["algorithm.tau"] == "1.0"
    assert (found["params"]["steps"], found["tags"]["steps"]) == ("3", "5")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, more, told",
    [
        ("mlflow", {"MLFLOW_TRACKING_URI": "http://me:secret@127.0.0.1:9"}, "MLFLOW_TRACKING_URI names its server"),
        ("swanlab", {}, "swanlab login or SWANLAB_API_KEY lets it in; SWANLAB_MODE=offline"),
        ("trackio", {"TRACKIO_DIR": "/proc/none"}, "TRACKIO_DIR names its folder"),
    ],
)
def test_a_library_without_its_server_key_or_folder_is_told_in_one_line(python, tmp_path, name, more, told):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **more}
    track = [python, "-m", "scope_openrlhf.run", "track", finished_run(tmp_path), "--to", name]
    done = subprocess.run(track, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: track.to: {name} does not start (") and told in line and "secret" not in line
