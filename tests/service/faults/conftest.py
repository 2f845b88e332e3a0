"""Fixtures: the service as a process of its own, a small disk, and a raw connection to a service."""

from __future__ import annotations

import codecs
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.waiting import seen

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("program.py")


class Process:
    """`program.py` over the house's registry and store; its log is read all the time, so that it never has to wait."""

    def __init__(self, house: Any, *, prefix: list[str] | None = None, stderr: Any = subprocess.PIPE, **given: Any):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **given.pop("environment", {})}
        config = {"base": str(house.base), "port": 0, "embedding_model": "none", **given.pop("config", {})}
        argument = json.dumps({"home": str(house.home.root), "config": config, **given})
        self.process = subprocess.Popen(
            [*(prefix or []), sys.executable, str(PROGRAM), argument],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip
        self.log: list[str] = []
        self._said = threading.Condition()
        if stderr is subprocess.PIPE:
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
            self.url = self.until(r"event=listening.*url=(\S+)")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.log.append(line)
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def until(self, pattern: str) -> str:
        """The first group of the first line of the log that matches."""
        with self._said:
            while True:
                for line in self.log:
                    if found := re.search(pattern, line):
                        return found.group(found.lastindex or 0)
                assert self._reader.is_alive(), f"ended without {pattern!r}:\n{''.join(self.log)}"
                self._said.wait(0.1)

    def forget_log(self) -> None:
        """What it has said until now is not found by `until`."""
        with self._said:
            self.log.clear()

    def ready(self) -> httpx.Client:
        with httpx.Client(base_url=self.url, timeout=60) as looking:
            seen(lambda: self._is_ready(looking))
        return httpx.Client(base_url=self.url, timeout=60)

    def _is_ready(self, client: httpx.Client) -> bool:
        assert self.process.poll() is None, "".join(self.log)
        try:
            return client.get("/ready").status_code == 200
        except httpx.ConnectError:
            return False  # bound, and not listening yet

    def tell(self, command: str) -> None:
        """Returns when the engine has done it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == f"did {command}\n"

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        code = self.process.wait()
        if hasattr(self, "_reader"):
            self._reader.join()
        return code


Begin = Callable[..., Process]


@pytest.fixture
def begin(house: Any) -> Iterator[Begin]:
    """`begin(config={…}, …)`: the service as a process, killed at the end of the test if it still runs."""
    begun: list[Process] = []

    def one(**given: Any) -> Process:
        begun.append(Process(house, **given))
        return begun[-1]

    yield one
    for process in begun:
        process.process.kill()
        process.process.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no filesystem can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Wire:
    """A connection by hand, for a client that does what no library would."""

    def __init__(self, url: str, *, receive_buffer: int | None = None) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.socket()
        self._text = codecs.getincrementaldecoder("utf-8")()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((host, int(port)))

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode())

    def post(self, body: dict[str, Any], path: str = "/v1/chat/completions", headers: str = "") -> None:
        text = json.dumps(body)
        self.send(f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {len(text)}\r\n\r\n{text}")

    def receive(self) -> str:
        """What comes next; empty once the other side has ended the connection."""
        try:
            while piece := self.socket.recv(65536):
                if text := self._text.decode(piece):
                    return text
            return ""
        except ConnectionResetError:
            return ""

    def until(self, end: str) -> str:
        """What comes, up to this text; the connection must not end before it."""
        received = ""
        while end not in received:
            piece = self.receive()
            assert piece, received
            received += piece
        return received

    def rest(self) -> str:
        """Everything, until the other side ends the connection."""
        pieces = []
        while piece := self.receive():
            pieces.append(piece)
        return "".join(pieces)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def metric(client: httpx.Client, name: str) -> float:
    """A series without labels."""
    page = client.get("/metrics").text
    return float(next(line.rsplit(" ", 1)[1] for line in page.splitlines() if line.startswith(f"{name} ")))


def chat(model: str, text: str = "hi", **extra: object) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **extra}
