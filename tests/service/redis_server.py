"""A real redis-server for the tests that need one."""

from __future__ import annotations

import subprocess
from pathlib import Path


def start_redis(server: str, port: int, folder: Path) -> subprocess.Popen[str]:
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen([server, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "Ready to accept connections" in line:
            return process
    raise AssertionError("redis-server did not start")
