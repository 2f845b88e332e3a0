"""Who answers while the service is being put together: alive, and not ready.

The port is bound with the process's first breath, and orchestrators ask at once; but importing, downloading a base,
hashing its weights and opening a registry that is away take from a second to minutes. Until `server.py` takes over the
same socket, a thread answers `/health` with 200, `/ready` and everything else with 503. It imports next to nothing.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import suppress

from lifecycle.errors import InvalidConfig, Problem, Unavailable

STARTING = "the service is starting, and takes no requests yet"
_RETRY_AFTER = 2
_PATIENCE = 5.0
"""Seconds for a client to send its head, and then to have read the answer."""
_LAST_PATIENCE = 1.0
"""Seconds for those who are being answered when the service takes over."""
_LARGEST_HEAD = 64 * 2**10
_BACKLOG = 128
"""Connections that wait to be accepted: during the hand-over too."""


class FirstAnswers:
    """Listens from when it is made until `hand_over`."""

    def __init__(self, host: str, port: int) -> None:
        """Raises `InvalidConfig` when the address cannot be had."""
        self.listener = _listen(host, port)
        """For who comes next, after `hand_over`."""
        self._loop = asyncio.new_event_loop()
        self._ended: asyncio.Event | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="first answers", daemon=True)
        self._thread.start()
        self._begun.wait()

    @property
    def url(self) -> str:
        host, port = self.listener.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def hand_over(self) -> socket.socket:
        """Stop. Who connects from now on waits until somebody else accepts it from the socket, which stays open."""
        if self._thread.is_alive() and self._ended is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()
        return self.listener

    def close(self) -> None:
        self.hand_over().close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        """Accepts one by one, so that at the end nobody is between being accepted and being answered: asyncio's own
        server drops whoever is.
        """
        self._ended = asyncio.Event()
        answering: set[asyncio.Task[None]] = set()

        def accept() -> None:
            with suppress(OSError):  # whoever came has left again
                connection, _ = self.listener.accept()
                task = asyncio.create_task(_answer(connection))
                answering.add(task)
                task.add_done_callback(answering.discard)

        loop = asyncio.get_running_loop()
        loop.add_reader(self.listener, accept)
        self._begun.set()
        await self._ended.wait()
        loop.remove_reader(self.listener)
        if answering:
            await asyncio.wait(answering, timeout=_LAST_PATIENCE)


async def _answer(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection, limit=_LARGEST_HEAD)
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        async with asyncio.timeout(_PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            writer.write(_response(method, target.partition("?")[0]))
            writer.write_eof()
            while await reader.read(_LARGEST_HEAD):  # closed with something unread, the answer would be lost
                pass
    writer.close()


def _response(method: str, path: str) -> bytes:
    status, body, more = "503 Service Unavailable", _not_ready(path), f"retry-after: {_RETRY_AFTER}\r\n"
    if path == "/health":
        status, body, more = "200 OK", {"status": "ok"}, ""
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n{more}"
    return f"{head}connection: close\r\n\r\n".encode() + (b"" if method == "HEAD" else content)


def _not_ready(path: str) -> dict[str, object]:
    if path == "/ready":
        return {"ready": False, "code": "starting", "waiting_for": [STARTING]}
    error = {"message": STARTING, "type": "service_unavailable_error", "param": None, "code": Unavailable.code}
    return {"error": error}


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        place = Problem("port", f"{host}:{port} cannot be had ({error.strerror})", "choose another --port")
        raise InvalidConfig("The service cannot listen:", [place]) from error
    return listener
