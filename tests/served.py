"""Servers for tests and benchmarks: the tiny teacher behind a real `vllm serve`, and fakes that say what they are told.

A fake stands where a fault must be provoked.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any


@contextlib.contextmanager
def serve(*flags: str) -> Iterator[str]:
    """URL of the served teacher, which ends with the block. flags: more of `vllm serve`."""
    with socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = os.environ | {"VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    # what `vllm serve` runs; that command itself asks for the metadata of a distribution called vllm, which the CPU
    # build is not
    server = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--port", str(port), "--host", "127.0.0.1"]
    model = ["--model", "examples/tiny/teacher", "--max-model-len", "128", "--enforce-eager"]
    command = [*server, *model, "--no-enable-prefix-caching", *flags]
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1)
                break
            except OSError:
                assert process.poll() is None, f"vllm serve ended with exit code {process.returncode}"
                time.sleep(1)
        yield url
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


@contextlib.contextmanager
def faked(answer: Callable[[str, dict], bytes | Iterable[bytes]]) -> Iterator[str]:
    """URL of a server that sends, for a path and the request's body, the bytes that `answer` gives: all of HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or "{}")
            said = answer(self.path, body)
            with contextlib.suppress(OSError):  # who asked may have given up
                for part in [said] if isinstance(said, bytes) else said:
                    self.wfile.write(part)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def http(body: Any, *headers: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """An answer of a server. body: bytes as they are, anything else as JSON; headers: further ones."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(text)}", "connection: close"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + text


def sound(path: str, body: dict) -> Any:
    """What a vLLM says that serves the model m at temperature 0.6, reads every text as 3, 5 and 7, and writes 7 and 9.

    It scores every token with -1, and as many others as the likeliest ones, from -0.1 on.
    """
    if path == "/v1/models":
        return {"object": "list", "data": [{"id": "m", "root": "org/m", "max_model_len": 4096}]}
    if path == "/collective_rpc":
        return {"results": [{"temperature": 0.6, "since": 1.5}]}
    if path == "/tokenize":
        return {"tokens": [3, 5, 7], "count": 3, "max_model_len": 4096}
    top = range(body.get("prompt_logprobs") or 0)
    scored = [
        {str(token): {"logprob": -1.0, "rank": 99}} | {str(100 + i): {"logprob": -0.1 - i, "rank": i + 1} for i in top}
        for token in body["prompt"][1:]
    ]
    choice = {
        "index": 0,
        "text": "so 2",
        "finish_reason": "stop",
        "token_ids": [7, 9],
        "prompt_logprobs": [None, *scored],
    }
    usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": 2}
    return {"model": "m", "choices": [choice], "usage": usage}
