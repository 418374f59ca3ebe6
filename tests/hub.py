"""A stand-in of a model hub over HTTP: what huggingface_hub's client asks to create, preupload, commit and look up."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

STATUS = {"exists": 409, "errors": 400, "missing": 404}
"""What a key of a reply means."""
LARGE = (".safetensors", ".bin")


def git_oid(content: bytes) -> str:
    """What git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """Repositories in memory. refuse: {part of a path: status} of requests that fail."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.public: dict[str, bool] = {}
        self.stored: dict[str, bytes] = {}
        """What came over LFS, by its sha256."""
        self.commits: list[str] = []
        self.asked: list[str] = []
        self.refuse: dict[str, int] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub.asked.append(f"{self.command} {self.path}")
                status = next((s for part, s in hub.refuse.items() if part in self.path), 0)
                if self.command != "PUT" and self.headers.get("Authorization") != "Bearer right":
                    status = 401
                reply = {"error": "no"} if status else hub.do(self.path, body)
                text = json.dumps(reply).encode()
                self.send_response(status or next((s for key, s in STATUS.items() if key in reply), 200))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def do(self, path: str, body: bytes) -> dict:
        """The reply to a request that is let through."""
        repo = path.removeprefix("/api/models").strip("/").split(".git/")[0]
        repo = "/".join(repo.split("/")[:2])
        if path == "/api/repos/create":
            wanted = json.loads(body)
            repo = f"{wanted['organization']}/{wanted['name']}"
            known = repo in self.repos
            self.public.setdefault(repo, wanted.get("visibility") != "private")
            self.repos.setdefault(repo, {})
            return {"url": f"{self.address}/{repo}"} | ({"exists": True} if known else {})
        if path == "/api/validate-yaml":
            return self.validate(json.loads(body)["content"])
        if path.startswith("/lfs/"):
            oid = path.removeprefix("/lfs/")
            assert hashlib.sha256(body).hexdigest() == oid
            self.stored[oid] = body
            return {}
        if repo not in self.repos:
            return {"missing": True}
        files = self.repos[repo]
        if "/preupload/" in path:
            wanted = [f["path"] for f in json.loads(body)["files"]]
            return {"files": [self.mode(name, files.get(name)) for name in wanted]}
        if path.endswith("/info/lfs/objects/batch"):
            return {"transfer": "basic", "objects": [self.upload(o) for o in json.loads(body)["objects"]]}
        if "/commit/" in path:
            return self.commit(repo, [json.loads(line) for line in body.splitlines()])
        return {"id": repo, "private": not self.public[repo], "sha": self.commits[-1] if self.commits else "0" * 40,
                "siblings": [], "tags": []}  # fmt: skip

    def mode(self, name: str, known: bytes | None) -> dict:
        large = name.endswith(LARGE)
        oid = None if known is None else hashlib.sha256(known).hexdigest() if large else git_oid(known)
        return {"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def upload(self, wanted: dict) -> dict:
        if wanted["oid"] in self.stored:
            return wanted
        return wanted | {"actions": {"upload": {"href": f"{self.address}/lfs/{wanted['oid']}"}}}

    def commit(self, repo: str, lines: list[dict]) -> dict:
        for line in lines:
            what = line["value"]
            if line["key"] == "file":
                self.repos[repo][what["path"]] = base64.b64decode(what["content"])
            if line["key"] == "lfsFile":
                self.repos[repo][what["path"]] = self.stored[what["oid"]]
        self.commits.append(hashlib.sha1(json.dumps(lines).encode()).hexdigest())
        oid = self.commits[-1]
        return {"commitUrl": f"{self.address}/{repo}/commit/{oid}", "commitOid": oid}

    def validate(self, card: str) -> dict:
        """The hub's rules for what a card's metadata must hold, as far as ours has it."""
        data = yaml.safe_load(card.split("---\n")[1])
        faults = [
            f'"{key}" must be ids of the hub' for key in ("base_model", "datasets") if str(data.get(key))[:1] == "."
        ]
        for entry in data.get("model-index", []):
            for result in entry["results"]:
                faults += [f"no {part}.type" for part in ("task", "dataset") if not result.get(part, {}).get("type")]
                faults += ["no dataset.name"] if not result["dataset"].get("name") else []
                faults += [f"no {k}" for m in result["metrics"] for k in ("type", "value") if k not in m]
        return {"errors": [{"message": fault} for fault in faults], "warnings": []} if faults else {"warnings": []}
