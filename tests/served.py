"""The tiny teacher behind a real `vllm serve`, for tests and benchmarks."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from socket import socket


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
