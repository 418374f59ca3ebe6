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
    """Its URL; it ends with the block."""
    with socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = os.environ | {"VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    # what `vllm serve` runs; that command itself asks for the metadata of a distribution called vllm, which the CPU build is not
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", "examples/tiny/teacher", "--port", str(port), "--host", "127.0.0.1",
               "--max-model-len", "128", "--enforce-eager", "--no-enable-prefix-caching", *flags]  # fmt: skip
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
