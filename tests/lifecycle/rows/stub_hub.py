"""The part of a hub's API by which a data set is found and fetched, on this machine: what it has, and how it fails."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest

from lifecycle.rows import hub as rows_hub

Files = dict[str, bytes]


@dataclass
class StubHub:
    """Data sets by `org/name`, each with its commits, the newest last."""

    url: str = ""
    sets: dict[str, dict[str, Files]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    """Seen with the token `hf_good` alone."""
    cut: int | None = None
    """Bytes after which every answer breaks off."""
    status: int = 0
    """Of every answer, in place of it."""
    sizes: dict[str, int] = field(default_factory=dict)
    """What is said of files in place of their own."""
    asked: list[str] = field(default_factory=list)

    def put(self, name: str, files: Files) -> str:
        """The new commit."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.sets.setdefault(name, {})[commit] = files
        return commit

    def use(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        """The hub of this process; what comes from it lies in `folder`, where the process works."""
        from huggingface_hub import constants

        monkeypatch.chdir(folder)
        monkeypatch.setenv("DABT_HOME", str(folder / "home"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", self.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@contextmanager
def used(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[StubHub]:
    """A hub that everything asks in the place of the real one, with its caches in `folder`."""
    with _serving() as stub:
        stub.use(monkeypatch, folder)
        yield stub
    rows_hub._fetched.cache_clear()


@contextmanager
def _serving() -> Iterator[StubHub]:
    hub = StubHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: StubHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        hub, path = self.hub, unquote(self.path.partition("?")[0])
        hub.asked.append(f"{self.command} {path}")
        if hub.status:
            return self._send(hub.status, b"{}", body=body)
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "datasets"]
        name = "/".join(parts[2:4] if api else parts[1:3])
        if name not in hub.sets or (name in hub.private and "hf_good" not in self.headers.get("Authorization", "")):
            return self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"} if name not in hub.sets else {}, body=body)
        commits = hub.sets[name]
        revision = "main" if api and len(parts) == 4 else parts[5] if api else parts[4]
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
        files = commits[commit]
        if api:
            siblings = [{"rfilename": file, "size": hub.sizes.get(file, len(raw))} for file, raw in files.items()]
            told = {"id": name, "sha": commit, "siblings": siblings, "private": name in hub.private, "tags": []}
            return self._send(200, json.dumps(told).encode(), body=body)
        raw = files["/".join(parts[5:])]
        more = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(raw).hexdigest()}"', "Accept-Ranges": "bytes"}
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            more["Content-Range"] = f"bytes {start}-{len(raw) - 1}/{len(raw)}"
        return self._send(206 if start else 200, raw[start:], more, body=body)

    def _send(self, status: int, raw: bytes, headers: dict[str, str] | None = None, *, body: bool) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if body:
            cut = self.hub.cut
            self.wfile.write(raw if cut is None or "/resolve/" not in self.path else raw[:cut])
            self.close_connection = cut is not None
