"""The trackers that a run's numbers can go to, each a few lines over its own library, which is an extra."""

import importlib.util
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from scope_openrlhf.settings.errors import ConfigError

# The libraries are not part of the locks and take seconds to import, so each is imported where its tracker starts.


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a tracker's run begins with, or goes on with."""

    project: str
    name: str
    config: dict[str, Any]
    """Dotted key -> value."""
    folder: Path
    """Where a tracker keeps runs on this machine, unless its own environment variables name another place."""
    id: str = ""
    """The tracker's own id of the run that goes on. Empty: a new run."""


class Tracker(Protocol):
    """A run of a tracker that was started. What its library cannot do, it raises as the library's own error."""

    package: ClassVar[str]
    """What is installed to have it."""
    mend: ClassVar[str]
    """What to do where it does not start."""
    id: str
    where: str
    """How one looks at the run."""

    def __init__(self, start: Start) -> None: ...

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Add the numbers of a step."""

    def finish(self, whole: bool) -> None:
        """Wait until all is written, and close the run. whole: training and evaluation have come to their end."""


class Trackio(Tracker):
    """Hugging Face's trackio: SQLite here, or a Space. It buffers what a Space does not take, and sends it later."""

    package = "trackio"
    mend = "TRACKIO_DIR names its folder; hf auth login lets it into the Space that TRACKIO_SPACE_ID names"

    def __init__(self, start: Start) -> None:
        elsewhere = os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL")
        folder = os.environ.setdefault("TRACKIO_DIR", str(start.folder))
        Path(folder).mkdir(parents=True, exist_ok=True)
        import trackio  # as above

        with warnings.catch_warnings(record=True) as said:  # where a server does not answer it warns, and goes on
            warnings.simplefilter("always")
            self._run = trackio.init(
                project=start.project, name=start.name, config=start.config, embed=False,
                resume="must" if start.id else "never", auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip
        if elsewhere and said:
            raise ConnectionError(str(said[0].message))
        self.id = self._run.id
        if start.id not in ("", self.id):  # it finds runs by their name alone
            raise LookupError(f"its run {start.name} is another one now")
        self.where = f"TRACKIO_DIR={folder} trackio show --project {start.project}"
        if elsewhere:
            self.where = f"project {start.project}, where TRACKIO_SPACE_ID or TRACKIO_SERVER_URL say"

    def log(self, step: int, numbers: dict[str, float]) -> None:
        self._run.log(numbers, step=step)

    def finish(self, whole: bool) -> None:
        self._run.finish()


class Mlflow(Tracker):
    """MLflow, over the client alone: a server, or a folder here."""

    package = "mlflow-skinny"
    mend = "MLFLOW_TRACKING_URI names its server, which must run (mlflow server); without it runs are kept in a folder"
    at_once = 100
    """Parameters that a request may hold."""

    def __init__(self, start: Start) -> None:
        # it would try for minutes, and what it did not take is sent again anyway
        for name, value in (("MAX_RETRIES", "1"), ("TIMEOUT", "20")):
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # all that works without the whole of mlflow
        from mlflow import MlflowClient  # as above
        from mlflow.entities import Metric, Param

        self._metric = Metric
        uri = os.environ.get("MLFLOW_TRACKING_URI") or start.folder.as_uri()
        self._client = client = MlflowClient(tracking_uri=uri)
        config = {key: str(value)[:6000] for key, value in start.config.items()}  # the longest that MLflow takes
        if start.id:
            began = client.get_run(start.id).data.params
            client.update_run(start.id, status="RUNNING")
            for key, value in config.items():  # what a run began with stays; tags say what it went on with
                if began.get(key, value) != value:
                    client.set_tag(start.id, key, value)
        self.id = start.id or self._create(start)
        if not start.id:
            for some in _pieces([Param(key, value) for key, value in config.items()], self.at_once):
                client.log_batch(self.id, params=some)
        self.where = f"experiment {start.project}, run {self.id}, of " + (
            "the server that MLFLOW_TRACKING_URI names"
            if os.environ.get("MLFLOW_TRACKING_URI")
            else f"mlflow ui --backend-store-uri {start.folder}"
        )

    def _create(self, start: Start) -> str:
        """A new run, in the experiment that the project is."""
        found = self._client.get_experiment_by_name(start.project)
        experiment = found.experiment_id if found else self._client.create_experiment(start.project)
        return self._client.create_run(experiment, run_name=start.name).info.run_id

    def log(self, step: int, numbers: dict[str, float]) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(self.id, metrics=[self._metric(key, v, now, step) for key, v in numbers.items()])

    def finish(self, whole: bool) -> None:
        self._client.set_terminated(self.id, "FINISHED" if whole else "KILLED")


class Swanlab(Tracker):
    """SwanLab: its cloud, a server of one's own, or (SWANLAB_MODE=offline) files here for `swanlab sync`."""

    package = "swanlab"
    mend = "swanlab login or SWANLAB_API_KEY lets it in; SWANLAB_MODE=offline keeps runs here, for swanlab sync"

    def __init__(self, start: Start) -> None:
        folder = os.environ.setdefault("SWANLAB_LOG_DIR", str(start.folder))
        Path(folder).mkdir(parents=True, exist_ok=True)
        import swanlab  # as above

        # numbers alone: neither what the machine is nor what this process prints
        quiet = dict.fromkeys(("hardware", "runtime", "requirements", "conda", "git", "swanlab", "monitor"), False)
        settings = swanlab.Settings(interactive=False, probe=quiet, terminal={"proxy_type": "none"})  # type: ignore
        self._run = swanlab.init(
            project=start.project, name=start.name, config=start.config, settings=settings, id=start.id or None,
            resume="must" if start.id else "never",
        )  # fmt: skip
        self.id = self._run.id
        self.where = self._run.url if self._run.mode == "online" else f"swanlab sync {self._run.dir}"

    def log(self, step: int, numbers: dict[str, float]) -> None:
        self._run.log(numbers, step=step)

    def finish(self, whole: bool) -> None:
        self._run.finish("success" if whole else "aborted")


TRACKERS: dict[str, type[Tracker]] = {"trackio": Trackio, "mlflow": Mlflow, "swanlab": Swanlab}
"""By the name that `track.to` gives; it is also what Python imports."""


def require_installed(names: Sequence[str]) -> None:
    """Raise ConfigError for a tracker whose library is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"track.to: {name} is not installed; {sys.executable} -m pip install {TRACKERS[name].package}, or "
                "take it out"
            )


def _pieces(rows: list[Any], most: int) -> Iterator[list[Any]]:
    """The rows in pieces of at most so many."""
    return (rows[i : i + most] for i in range(0, len(rows), most))
