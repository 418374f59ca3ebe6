"""API keys stay in the environment: the config refuses them, and nothing that a run writes or says holds one."""

import asyncio
import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scope_openrlhf.host import flags, luggage
from scope_openrlhf.models import loading
from scope_openrlhf.run import plan
from scope_openrlhf.settings import api_keys
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.teacher import identity, probe, score_log
from scope_openrlhf.teacher.client import TeacherClient
from scope_openrlhf.teacher.contract import TeacherError
from scope_openrlhf.teacher.http_endpoint import HttpEndpoint

STUDENT = "examples/tiny/student"
TOKENIZER = loading.load_tokenizer(STUDENT)
KEY = "sk-marker-0123456789"


@pytest.fixture
def server(monkeypatch):
    """URL of a fake vLLM, and the list of what it was asked.

    It has temperature 1 and wants KEY, which is in the environment; below /loud it repeats what it was given.
    """
    asked: list[tuple[str, str]] = []
    for name in (api_keys.TEACHER, api_keys.EVAL, api_keys.WANDB, "HF_TOKEN"):
        monkeypatch.setenv(name, KEY)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            key = self.headers["authorization"]
            asked.append((self.path, key))
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or "{}")
            if self.path.startswith("/loud") or key != f"Bearer {KEY}":
                self.answer(401, {"error": {"message": f"{key} is no key of ours"}})
            elif self.path.startswith("/moved"):
                self.answer(307, {}, location="/elsewhere")
            elif self.path == "/v1/completions":
                self.answer(
                    200,
                    {
                        "choices": [
                            {
                                "prompt_logprobs": [
                                    None,
                                    *({t: {"logprob": -1.0, "rank": 1}} for t in body["prompt"][1:]),
                                ]
                            }
                        ]
                    },
                )
            elif self.path == "/tokenize":
                self.answer(200, {"tokens": TOKENIZER(body["prompt"])["input_ids"]})
            else:
                self.answer(200 if self.path == "/v1/models" else 404, {"data": [{"id": "m"}]})

        do_GET = do_POST

        def answer(self, status, body, **headers):
            self.send_response(status)
            text = json.dumps(body).encode()
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(text)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    started = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=started.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{started.server_port}", asked
    started.shutdown()


def ask(url: str) -> None:
    async def once():
        endpoint = HttpEndpoint(url, 1.0)
        try:
            await endpoint._call("POST", "/v1/completions", {"prompt": [1, 2]})
        finally:
            await endpoint.close()

    asyncio.run(once())


def holding(folder: Path, text: str) -> list[Path]:
    return [f for f in folder.rglob("*") if f.is_file() and text.encode() in f.read_bytes()]


def test_nothing_that_a_run_with_a_served_teacher_writes_holds_a_key(server, tmp_path, capfd):
    overrides = [
        "teacher.path=",
        f"teacher.urls=[{server[0]}]",
        "teacher.temperature=1",
        f"teacher.score_log={tmp_path}/scores",
        "steps=1",
    ]
    config = Config.load("examples/cpu_tiny.yaml", [f"runs={tmp_path}", "name=r", *overrides])
    config.run_dir.mkdir()
    made = plan.make_plan(config)
    (teacher,) = made.run.teachers.values()
    problem = luggage.read_prompts(config.run_dir / "prompts.jsonl")[0]
    lines, logprobs = probe.probe_run(teacher, made.run.student, problem, 127)
    assert set(logprobs) == {-1.0} and {key for _, key in server[1]} == {f"Bearer {KEY}"}

    async def score():
        endpoint, log = (
            HttpEndpoint(server[0], 1.0),
            score_log.ScoreLog(teacher.score_log, identity.teacher_identity(teacher)),
        )
        await TeacherClient([endpoint], 30.0, log=log).score([1, 2, 3])
        await endpoint.close()
        log.close()

    asyncio.run(score())
    assert {f.name for f in holding(tmp_path, server[0])} >= {"config.yaml", "scores"}
    assert not holding(tmp_path, KEY) and KEY not in "".join(capfd.readouterr())
    assert KEY not in repr((made, lines, identity.identities(made.run.teachers), flags.to_argv(made.config)))


def test_a_server_that_repeats_the_key_is_quoted_without_it(server):
    from scope_eval.server import Server

    with pytest.raises(TeacherError, match="answered 401: .*Bearer <SCOPE_TEACHER_API_KEY> is no key of ours"):
        ask(f"{server[0]}/loud")
    with pytest.raises(ConfigError, match="Bearer <SCOPE_.*_API_KEY> is no key of ours"):
        Server(f"{server[0]}/loud", "")


def test_a_key_does_not_follow_a_redirect(server):
    with pytest.raises(TeacherError, match="answered 307"):
        ask(f"{server[0]}/moved")
    assert [path for path, _ in server[1]] == ["/moved/v1/completions"]


@pytest.mark.parametrize(
    "url", [f"http://me:{KEY}@host:8000", f"http://host:8000/?api_key={KEY}", f"http://host:8000/#{KEY}"]
)
def test_a_key_in_an_address_is_refused_and_not_repeated(url):
    from scope_eval.server import Server

    raw = {"name": "r", "data": {"path": "d"}, "student": {"path": "s"}}
    for message, refused in (
        (r"teacher\.urls .*SCOPE_TEACHER_API_KEY", lambda: Config.from_dict(raw | {"teacher": {"urls": [url]}})),
        (
            r"teachers\.a\.urls .*SCOPE_TEACHER_API_KEY",
            lambda: Config.from_dict(raw | {"teachers": {"a": {"urls": ["http://b", url]}}}),
        ),
        (r"teacher\.urls must be a list", lambda: Config.from_dict(raw | {"teacher": {"urls": url}})),
        (r"--base-url .*SCOPE_EVAL_API_KEY", lambda: Server(url, "")),
    ):
        with pytest.raises(ConfigError, match=message) as error:
            refused()
        assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "url", ["", "host:8000", "10.0.0.7:8000", "ftp://h", "http://", "http://[", "http://h:x", "http:// h"]
)
def test_what_is_no_address_is_refused_before_anybody_is_asked(url):
    from scope_eval.server import Server

    raw = {"name": "r", "data": {"path": "d"}, "student": {"path": "s"}, "teacher": {"urls": ["https://h/v1", url]}}
    with pytest.raises(ConfigError, match="teacher.urls must be an address that begins with http://"):
        Config.from_dict(raw)
    with pytest.raises(ConfigError, match="--base-url must be an address that begins with http://"):
        Server(url, "")


def with_flags(flags: dict) -> Config:
    return dataclasses.replace(Config.load("examples/cpu_tiny.yaml", []), openrlhf=flags)


def test_a_key_of_wandb_in_the_config_is_refused_and_its_variable_switches_wandb_on(monkeypatch):
    with pytest.raises(ConfigError, match="put the key into the environment as WANDB_API_KEY") as error:
        flags.to_argv(with_flags({"logger.wandb.key": KEY}))
    assert KEY not in str(error.value)
    named = with_flags({"logger.wandb.key": "WANDB_API_KEY"})
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="WANDB_API_KEY is not in the environment"):
        flags.to_argv(named)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert flags.to_argv(named)[:2] == ["--logger.wandb.key", "WANDB_API_KEY"]
