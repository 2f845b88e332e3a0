"""`dabt serve` as a child process of an example: started, waited for, and always stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import httpx
from rich.console import Console

from lifecycle.commands.lines import lines
from lifecycle.errors import Unavailable
from lifecycle.home import Home

START_SECONDS = 300.0
STOP_SECONDS = 40.0


class ServiceProcess:
    """The service on a free loopback port; its log goes to a file in the home."""

    def __init__(self, base: str, home: Home, console: Console) -> None:
        self.base, self.home, self.console = base, home, console
        self.base_name = "base"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.log = home.root / "service.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Begin; `wait_until_ready` says when it is up."""
        command = [sys.executable, "-m", "dabt", "serve", "--base", self.base, "--base-name", self.base_name]
        command += ["--port", str(self.port), "--home", str(self.home.root)]
        quiet = {"HF_HUB_OFFLINE": "1"} if Path(self.base).exists() else {}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | quiet, start_new_session=True
            )

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait_until_ready(self) -> None:
        """Returns when /ready says yes. Raises `Unavailable`, with the end of the log, when the service gives up."""
        assert self._process is not None, "start() comes first"
        said, deadline = "", time.monotonic() + START_SECONDS
        with self.console.status("starting") as status, lines(self.console) as told:
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    raise Unavailable(f"The service ended while starting. The end of {self.log}:\n{self._tail()}")
                try:
                    answer = httpx.get(f"{self.url}/ready", timeout=5)
                    if answer.status_code == httpx.codes.OK:
                        self.console.print(f"  ready at {self.url}/v1", highlight=False)
                        return
                    waits = _words(answer.json().get("waiting_for") or "the engine")
                except (httpx.HTTPError, ValueError):
                    waits = "the process to listen"
                if waits != said:
                    said = waits
                    status.update(f"  waiting for {waits}")
                    told.step(f"  waiting for {waits}")
                time.sleep(0.3)
        raise Unavailable(f"The service was not ready after {START_SECONDS:.0f} s; see {self.log}")

    def wait(self) -> None:
        """Until the service ends or the user interrupts."""
        if self._process is not None:
            self._process.wait()

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])


def _words(waiting_for: object) -> str:
    """One reason or several, as /ready has them."""
    return "; ".join(map(str, waiting_for)) if isinstance(waiting_for, list) else str(waiting_for)
