"""`scope-train data --fetch`: a dataset of a hub becomes the file of a config, with the columns that this one names."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from scope_openrlhf.data.fetch import fetch
from scope_openrlhf.data.files import read_file
from scope_openrlhf.settings.errors import ConfigError

COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """What a client of datasets asks of a hub with one dataset: owner/name, whose files these are."""

    files: dict[str, bytes] = {}

    def answer(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path = self.path.partition("?")[0]
        name = path.partition("/resolve/")[2].partition("/")[2]
        tree = [{"type": "file", "path": n, "size": len(b), "oid": oid(b)} for n, b in self.files.items()]
        if "/paths-info/" in path:
            tree = [entry for entry in tree if entry["path"] in unquote(asked)]
        info = {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": n} for n in self.files], "private": False,
                "disabled": False, "downloads": 0, "gated": False, "likes": 0, "tags": []}  # fmt: skip
        known = path.startswith("/api/datasets/owner/name")
        body = (
            self.files.get(name)
            if name
            else json.dumps(tree if re.search("/(tree|paths-info)/", path) else info).encode()
        )
        found = body is not None and (known or bool(name))
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("X-Repo-Commit", COMMIT)
        if not found:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", f'"{oid(body or b"")}"')
        self.end_headers()
        if self.command != "HEAD" and found:
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = answer

    def log_message(self, *_) -> None: ...


def oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def hub(tmp_path):
    """The address of a hub whose owner/name has DeepMath's columns."""
    import datasets

    row = {"question": "1+1?", "final_answer": "2", "difficulty": 1.0, "r1_solution_1": "It is 2." * 100}
    datasets.Dataset.from_list([row] * 64).to_parquet(str(tmp_path / "train.parquet"))
    Hub.files = {"data/train-00000-of-00001.parquet": (tmp_path / "train.parquet").read_bytes()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_dataset_of_the_hub_becomes_the_file_of_a_recipe_which_then_plans_with_it(hub, tmp_path):
    """Two lines to training: this one, and `run`. In a process of its own, which reads HF_ENDPOINT as it starts."""
    data = tmp_path / "data" / "d.parquet"
    words = [f"data.path={data}", "student.path=", "--fetch", "owner/name"]
    command = ["data", "--config", "examples/scope_r1_1.5b_24gb.yaml", *words]
    environment = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    ran = subprocess.run(
        [sys.executable, "-m", "scope_openrlhf.run", *command], env=os.environ | environment, capture_output=True,
        text=True,
    )  # fmt: skip
    assert f"written: {data}, 64 rows" in ran.stdout, ran.stderr
    assert read_file(data)[0] == {"question": "1+1?", "final_answer": "2"}


@pytest.mark.parametrize(
    ("dataset", "to", "message"),
    [
        ("owner/name", "there.parquet", "is there already; remove it, or leave --fetch out"),
        ("owner/name", "new.jsonl", "--fetch writes parquet, data.path is"),
        ("../owner/name", "new.parquet", "is no dataset of the hub; name one as owner/name or owner/name/file"),
        ("owner/name/../../x", "new.parquet", "is no dataset of the hub"),
        ("name", "new.parquet", "is no dataset of the hub"),
    ],
)
def test_what_cannot_be_fetched_is_told_before_the_hub_is_asked(tmp_path, dataset, to, message):
    (tmp_path / "there.parquet").touch()
    with pytest.raises(ConfigError, match=message):
        fetch(dataset, tmp_path / to, ())


def test_a_hub_that_does_not_answer_leaves_no_file(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="the hub does not give --fetch owner/name"):
        fetch("owner/name", tmp_path / "d.parquet", ())
    assert list(tmp_path.iterdir()) == []
