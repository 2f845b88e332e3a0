"""A real S3 server on loopback (SeaweedFS), and a line to it that can be slow, cut or answered by somebody else."""

from __future__ import annotations

import json
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_port

OWNER, READER = ("owner-key", "owner-secret"), ("reader-key", "reader-secret")
GRPC = 10_000
"""So far above a port of SeaweedFS is its port for gRPC."""
BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


@contextmanager
def running() -> Iterator[str]:
    """The URL of a server whose `OWNER` may do all, and whose `READER` may only read."""
    folder = Path(tempfile.mkdtemp(prefix="dabt-s3-"))
    identities = [
        {"name": "owner", "actions": ["Admin", "Read", "Write", "List"], "credentials": [_credentials(OWNER)]},
        {"name": "reader", "actions": ["Read", "List"], "credentials": [_credentials(READER)]},
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}), encoding="utf-8")
    s3, *ports = (free_port(above=GRPC) for _ in range(4))
    options = [f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false"]
    options += [f"-{what}.port={port}" for what, port in zip(("master", "volume", "filer"), ports, strict=True)]
    options += [f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}", "-s3.autoCreateBucket=false"]
    with (folder / "log").open("wb") as log:
        command = [str(Path(sys.executable).with_name("weed")), "mini", *options]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        url = f"http://127.0.0.1:{s3}"
        while not _answers(url):
            assert process.poll() is None, (folder / "log").read_text(errors="replace")[-2000:]
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _credentials(pair: tuple[str, str]) -> dict[str, str]:
    return {"accessKey": pair[0], "secretKey": pair[1]}


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5)
    except urllib.error.HTTPError:
        return True  # it asks who we are
    except OSError:
        return False
    return True


@dataclass
class Line:
    """What stands between a client and the server, a connection at a time; every answer closes its connection.

    `spoil` is given the number of the connection and the whole answer, and returns what is sent on, or None for a line
    that is cut before anything came.
    """

    server: str
    spoil: Callable[[int, bytes], bytes | None] = lambda _, answer: answer
    number: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def open(self) -> Iterator[str]:
        line = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with line.lock:
                    line.number += 1
                    number = line.number
                answer = line.spoil(number, line.answer(self.request))
                if answer is not None:
                    with suppress(OSError):
                        self.request.sendall(answer)

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as proxy:
            proxy.daemon_threads = True
            thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{proxy.server_address[1]}"
            finally:
                proxy.shutdown()
                thread.join()

    def answer(self, client: socket.socket) -> bytes:
        """The server's whole answer to the one request that the client sends."""
        host, port = self.server.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as server:
            head, rest = _head(client)
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"expect:"))]
            length = next(
                (int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0
            )
            if b"expect: 100-continue" in head.lower():
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while len(rest) < length and (more := client.recv(1 << 16)):
                rest += more
            server.sendall(b"\r\n".join([lines[0], b"Connection: close", *lines[1:]]) + b"\r\n\r\n" + rest)
            answer = b""
            while more := server.recv(1 << 16):
                answer += more
            return answer


def _head(client: socket.socket) -> tuple[bytes, bytes]:
    came = b""
    while b"\r\n\r\n" not in came and (more := client.recv(1 << 16)):
        came += more
    head, _, rest = came.partition(b"\r\n\r\n")
    return head, rest
