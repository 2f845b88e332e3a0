"""`dabt serve` as a process of its own, for engine tests that want another base or other flags than the shared one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.ports import free_port

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def served(base: str, home: Path, log: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """(process, its address), in float32 on a small cache; not ready yet. Ended when the block is left. `flags` may
    name further bases."""
    port = free_port()
    command = [sys.executable, "-m", "dabt", "serve", "--base", base, "--home", str(home), "--port", str(port)]
    command += ["--dtype", "float32", "--kv-cache-gib", "0.25", "--max-loras", "1", *flags]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": str(REPOSITORY)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(300)
        finally:
            process.kill()


def ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/ready", timeout=60).status_code == 200
    return False


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    while not ready(url):
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        time.sleep(0.2)
