"""A run's numbers go to trackers: each tracker follows metrics.jsonl in a process of its own.

So nothing that a tracker does can hold the run up or end it, and no row is lost: what a tracker did not take stands in
the file and is sent again. What it has taken is noted in trackers/<name>.json of the run's folder, where a resumed run
goes on.
"""

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from scope_openrlhf.files.disk import write_whole
from scope_openrlhf.files.growing import Growing
from scope_openrlhf.run.listing import config_of
from scope_openrlhf.run.page import flat
from scope_openrlhf.run.scores import read_scores
from scope_openrlhf.run.terminal import quiet
from scope_openrlhf.run.trackers import TRACKERS, Start, Tracker
from scope_openrlhf.settings import api_keys
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.parse import flatten

LOCAL = "trackers"
"""Folder beside the runs where trackers keep theirs; inside a run's folder what they have taken of it."""
START_SECONDS, END_SECONDS = 180.0, 60.0
"""Longest wait for a tracker before the engines start, and after the run."""
LONGEST_PAUSE = 60.0
"""Seconds between two attempts, once a tracker has failed often."""
READY, LACKS = "ready ", "lacks "
"""How the lines begin that a tracker's process says to the run; its library may print others."""


@dataclass
class Taken:
    """What a tracker has of a run."""

    id: str = ""
    """The tracker's own id of it."""
    project: str = ""
    name: str = ""
    step: int = 0
    """The last step that it took."""
    scores: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "Taken":
        """What the file holds, nothing where there is none. Raises ConfigError."""
        try:
            return cls(**json.loads(file.read_text())) if file.exists() else cls()
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"{file} cannot be read ({error}); delete it, and the tracker begins anew") from None

    def write(self, file: Path) -> None:
        write_whole(file, json.dumps(asdict(self)) + "\n")


class Follower:
    """Sends a tracker what it lacks of a run."""

    def __init__(self, run: Path, name: str, taken: Taken, tracker: Tracker) -> None:
        self.run, self.name, self.taken, self.tracker = run, name, taken, tracker
        self._rows = Growing(run / "metrics.jsonl")

    @property
    def lacking(self) -> list[int]:
        """Steps that the tracker lacks. Those that a resumed run does again it has already."""
        self._rows.look()
        return sorted(step for step in self._rows.places if step > self.taken.step)

    def send(self) -> None:
        """Send the rows of these steps. Raises whatever the tracker's library raises."""
        for step in self.lacking:
            (row,) = self._rows.rows([step])
            # what is missing stays missing; the step is the axis
            numbers = {k: v for k, v in flat(row).items() if k != "step" and v is not None}
            self.tracker.log(step, numbers)
            self.taken.step = step
            self.taken.write(taken_file(self.run, self.name))

    def send_scores(self) -> None:
        """Send the scores of a run that is done, unless the tracker has them."""
        found = read_scores(self.run)
        if found and (numbers := found.numbers()) != self.taken.scores:
            self.tracker.log(self.taken.step, numbers)
            self.taken.scores = numbers
            self.taken.write(taken_file(self.run, self.name))

    def follow(self, ended: threading.Event, tell: TextIO) -> None:
        """Send what comes until the run has ended, and tell of the first failure."""
        failures, due = 0, 0.0
        while True:
            last = ended.wait(1.0)
            if last or time.monotonic() >= due:
                try:
                    self.send()
                    failures = 0
                except Exception as error:  # of a library and of the network: any
                    failures += 1
                    due = time.monotonic() + min(2.0**failures, LONGEST_PAUSE)
                    if failures == 1:
                        text = f"  {self.name}: {said(error)}; it is tried again, the run goes on"
                        print(text, file=tell, flush=True)
            if last:
                return

    def close(self) -> str:
        """Send the scores and close the tracker's run; what it lacks after that, empty for nothing."""
        whole = (self.run / "summary.json").exists()
        trouble = ""
        try:
            if whole and not self.lacking:
                self.send_scores()
            self.tracker.finish(whole)
        except Exception as error:  # as above
            trouble = said(error)
        if many := len(self.lacking):
            return f"{many} of {len(self._rows.places)} steps; scope-train track {self.run} sends them"
        return trouble and f"the end of the run ({trouble}); scope-train track {self.run} tries again"


def taken_file(run: Path, name: str) -> Path:
    """Where it is noted what a tracker has taken of a run."""
    return run / LOCAL / f"{name}.json"


def said(error: BaseException) -> str:
    """An error as one line without our keys."""
    text = " ".join(str(error).split()) or "no message"
    return api_keys.masked(f"{type(error).__name__}: {text}")[:300]


def serve(run: Path, name: str, project: str, ended: threading.Event, out: TextIO, err: TextIO) -> None:
    """Be the process of a tracker: say on `out` that it is ready, follow the run, say at the end what it lacks.

    Raises ConfigError if the tracker does not start.
    """
    file = taken_file(run, name)
    file.parent.mkdir(exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"track.to: another process sends {run} to {name}; wait for it") from None
        taken = Taken.read(file)
        config = {key: value for key, value in flatten(config_of(run)).items() if value not in (None, "", [], {})}
        start = Start(
            id=taken.id, project=taken.project or project, name=taken.name or run.name, config=config,
            folder=(run.parent / LOCAL / name).absolute(),
        )  # fmt: skip
        try:
            tracker = TRACKERS[name](start)
        except Exception as error:  # of a library that we do not know: any
            again = f"; if its run was deleted there, delete {file}" if taken.id else ""
            raise ConfigError(
                f"track.to: {name} does not start ({said(error)}). {TRACKERS[name].mend}{again}"
            ) from None
        taken.id, taken.project, taken.name = tracker.id, start.project, start.name
        taken.write(file)
        print(f"{READY}{tracker.where}", file=out, flush=True)
        follower = Follower(run, name, taken, tracker)
        follower.follow(ended, err)
        if lack := follower.close():
            print(f"{LACKS}{lack}", file=out, flush=True)


@contextlib.contextmanager
def tracked(run: Path, names: Sequence[str], project: str, out: TextIO) -> Iterator[None]:
    """Have trackers follow a run while it is open. Raises ConfigError if one does not start."""
    children: dict[str, subprocess.Popen[str]] = {}
    try:
        for name in dict.fromkeys(names):
            command = [sys.executable, "-m", "scope_openrlhf.run.tracking", str(run), name, project]
            # its standard input ends when this process does, in whichever way
            children[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out,
                                              text=True, start_new_session=True)  # fmt: skip
        for name, child in children.items():
            print(f"  {name}: {_ready(name, child)}", file=out, flush=True)
        yield
    finally:
        for child in children.values():
            if child.stdin:
                child.stdin.close()
        by = time.monotonic() + END_SECONDS
        for name, child in children.items():
            if lack := _last_word(child, run, by):
                print(f"  {name}: {lack}", file=out, flush=True)


def _ready(name: str, child: subprocess.Popen[str]) -> str:
    """Where a tracker shows the run, once it has started. Raises ConfigError if it does not."""
    assert child.stdout
    if not select.select([child.stdout], [], [], START_SECONDS)[0]:
        child.kill()
        raise ConfigError(f"track.to: {name} has not started within {START_SECONDS:g} s. {TRACKERS[name].mend}")
    line = child.stdout.readline().strip()
    if not line.startswith(READY):
        raise ConfigError(line or f"track.to: {name} ended as it started, with exit code {child.wait()}")
    return line.removeprefix(READY)


def _last_word(child: subprocess.Popen[str], run: Path, by: float) -> str:
    """What a tracker says at the end, empty where it has all; it is given time until `by` of the monotonic clock."""
    assert child.stdout
    try:
        child.wait(max(by - time.monotonic(), 1.0))
    except subprocess.TimeoutExpired:
        child.kill()
        return f"has not finished within {END_SECONDS:g} s; scope-train track {run} sends what it lacks"
    if child.returncode < 0 or child.returncode == 1:
        return f"ended with exit code {child.returncode}; scope-train track {run} sends what it lacks"
    return next((line.strip() for line in child.stdout if line.startswith(LACKS)), "")


def main() -> int:
    """The process of one tracker: RUN NAME PROJECT. It ends soon after its standard input does."""
    run, name, project = Path(sys.argv[1]), *sys.argv[2:]
    ended = threading.Event()

    def wait_for_the_end() -> None:
        while os.read(0, 1024):
            pass
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with quiet(run / "logs" / f"track-{name}.log") as (out, err):
        try:
            serve(run, name, project, ended, out, err)
            return 0
        except ConfigError as error:
            print(error, file=out, flush=True)
            return 2


if __name__ == "__main__":
    sys.exit(main())
