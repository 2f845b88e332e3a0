"""The process: signals, exit codes and addresses, with the fake engine behind a real socket."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.timeout(300)

PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from lifecycle.errors import DabtError, EngineDead
from lifecycle.home import Home
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from service.server import serve

root, base, mode = sys.argv[1:4]
home = Home(root=Path(root), registry_url=f"sqlite:///{root}/registry.db", artifacts_url=f"{root}/artifacts")
engine = FakeEngine()
if mode == "broken":
    engine.faults.start_error = EngineDead("vLLM did not start: no memory")
if mode == "slow":
    # Answers wait until SIGUSR1.
    engine.faults.hold = asyncio.Event()
    start = engine.start
    async def gated_start():
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, engine.faults.hold.set)
        return await start()
    engine.start = gated_start
try:
    serve(ServeConfig(base=Path(base), port=int(sys.argv[4]), restart_attempts=0, drain_seconds=20), home, engine)
except DabtError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
"""


class Server:
    def __init__(self, house: Any, mode: str = "plain", port: int = 0) -> None:
        arguments = [sys.executable, "-c", PROGRAM, str(house.home.root), str(house.base), mode, str(port)]
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            arguments, stderr=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
        )
        self.log: list[str] = []
        self.url = ""

    def until(self, pattern: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(pattern, line):
                return found.group(found.lastindex or 0)
        raise AssertionError(f"the process ended without {pattern!r}:\n{''.join(self.log)}")

    def ready(self) -> httpx.Client:
        url = self.until(r"event=listening.*url=(\S+)")
        self.until("engine ready")
        while httpx.get(f"{url}/ready", timeout=60).status_code != 200:
            pass
        return httpx.Client(base_url=url, timeout=60)

    def end(self) -> int:
        code = self.process.wait()
        assert self.process.stderr is not None
        self.log += self.process.stderr.readlines()
        return code


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()


def ask(client: httpx.Client, text: str = "hi") -> httpx.Response:
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}]}
    return client.post("/v1/chat/completions", json=body)


def test_an_idle_server_ends_with_exit_code_0_at_sigterm(house: Any, servers: list[Server]) -> None:
    server = Server(house)
    servers.append(server)
    with server.ready() as client:
        assert ask(client).status_code == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 0


def test_sigterm_under_load_loses_no_admitted_request(house: Any, servers: list[Server]) -> None:
    server = Server(house, "slow")
    servers.append(server)
    answers: list[httpx.Response] = []
    with server.ready() as client:
        admitted = threading.Thread(target=lambda: answers.append(ask(client)))
        admitted.start()
        while "dabt_requests_in_flight 1.0" not in client.get("/metrics").text:
            pass
        server.process.send_signal(signal.SIGTERM)
        server.until("stopping")
        refused = ask(client, "too late")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert client.get("/ready").status_code == 503
        assert admitted.is_alive()
        server.process.send_signal(signal.SIGUSR1)
        admitted.join()
    assert [answer.status_code for answer in answers] == [200]
    assert server.end() == 0


def test_an_engine_that_does_not_start_ends_the_process_with_its_reason(house: Any, servers: list[Server]) -> None:
    server = Server(house, "broken")
    servers.append(server)
    assert server.end() == 1
    assert server.log[-1] == "error: vLLM did not start: no memory\n"


def test_a_port_in_use_is_known_before_the_engine_starts(house: Any, servers: list[Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(house, port=taken.getsockname()[1])
        servers.append(server)
        assert server.end() == 1
    text = "".join(server.log)
    assert "cannot be had" in text
    assert "engine ready" not in text
