"""A registry that is locked, away, replaced or damaged: serving goes on from the last known state, changes refuse."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifecycle.registry import Registry, database
from tests.lifecycle.conftest import postgres, postgres_url  # noqa: F401

pytestmark = pytest.mark.timeout(300)

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
if sys.argv[2] == "exclusive":
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


@contextmanager
def locked(file: Path, how: str = "immediate") -> Iterator[None]:
    """Another process holds the write lock."""
    command = [sys.executable, "-c", HOLDER, str(file), how]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    try:
        yield
    finally:
        holder.kill()
        holder.communicate()


def file_of(house: Any) -> Path:
    return Path(house.home.root / "registry.db")


async def promote(running: Any, ref: str, alias: str = "prod") -> httpx.Response:
    order = {"ref": ref, "alias": alias, "reason": "for the test", "force": True}
    reply: httpx.Response = await running.client.post("/admin/promote", json=order)
    return reply


def two_versions(house: Any) -> None:
    """`triage:1` in production, and `triage:2` that could be; each has an adapter."""
    house.adapter("one")
    house.adapter("two")
    house.prod("triage", adapter="one")
    house.version("triage", adapter="two")


async def test_while_another_process_holds_the_lock_requests_are_answered_and_changes_refused(
    house: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WAIT", 1.0)  # longer than the service itself writes
    two_versions(house)
    house.registry.close()
    house.registry = Registry.open(house.home.registry_url)  # its connections wait for as long as is set above
    async with start(house) as running:
        with locked(file_of(house)):
            refused = await promote(running, "triage:2")
            answer = await running.chat("triage")
            assert (await running.client.get("/ready")).status_code == 200
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert "held by another writer" in refused.json()["error"]["message"]
        assert answer.json()["dabt"]["version"] == "triage:1"
        assert (await promote(running, "triage:2")).status_code == 200
        assert (await running.chat("triage")).json()["dabt"]["version"] == "triage:2"


async def test_changes_that_wait_for_the_lock_hold_up_nobody_else(house: Any, start: Any, until: Any) -> None:
    """More of them than a process has threads for everything else; each would wait half a minute."""
    two_versions(house)
    async with start(house) as running:
        with locked(file_of(house)):
            changes = [asyncio.create_task(promote(running, "triage:2")) for _ in range(40)]
            await until(lambda: running.app.state.parts.at_registry.calls() == 40)
            assert (await running.chat("triage")).status_code == 200, "its adapter is fetched, loaded and verified now"
            assert (await running.client.get("/metrics")).status_code == 200
            assert not any(change.done() for change in changes)
        assert {reply.status_code for reply in await asyncio.gather(*changes)} == {200}
        assert (await running.chat("triage")).json()["dabt"]["version"] == "triage:2"


async def test_more_changes_than_may_wait_are_told_to_come_again(house: Any, start: Any, until: Any) -> None:
    two_versions(house)
    async with start(house) as running:
        with locked(file_of(house)):
            changes = [asyncio.create_task(promote(running, "triage:2")) for _ in range(72)]
            await until(lambda: running.app.state.parts.at_registry.calls() == 72)
            refused = await promote(running, "triage:2")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        await asyncio.gather(*changes)


@pytest.mark.parametrize("fault", ["moved away", "emptied", "overwritten"])
async def test_without_its_file_requests_are_answered_changes_refused_and_nothing_is_lost(
    house: Any, start: Any, until: Any, tmp_path: Path, fault: str
) -> None:
    two_versions(house)
    file = file_of(house)
    async with start(house) as running:
        catalogue = running.app.state.parts.catalogue
        house.registry._database._engine.dispose()  # so that the log is in the file, as after a checkpoint
        kept = tmp_path / "kept.db"
        with sqlite3.connect(file) as source, sqlite3.connect(kept) as copy:
            source.backup(copy)
        source.close(), copy.close()
        await until(lambda: catalogue.problem is None)
        if fault == "moved away":
            file.rename(tmp_path / "away.db")
        elif fault == "emptied":
            replace(file, b"")
        else:
            replace(file, b"no database, and long enough to be looked at" * 200)
        await until(lambda: catalogue.problem is not None)
        assert (await running.client.get("/ready")).status_code == 200
        assert (await running.client.get("/ready")).json()["registry"]["problem"]
        answer = await running.chat("triage")
        assert (answer.status_code, answer.json()["dabt"]["version"]) == (200, "triage:1")
        refused = await promote(running, "triage:2")
        assert refused.status_code == 503
        shutil.copyfile(kept, file.with_suffix(".new"))
        file.with_suffix(".new").replace(file)
        await until(lambda: catalogue.problem is None)
        assert {version.ref for version in house.registry.versions()} == {"triage:1", "triage:2"}
        assert (await promote(running, "triage:2")).status_code == 200
        assert (await running.chat("triage")).json()["dabt"]["version"] == "triage:2"


def replace(file: Path, content: bytes) -> None:
    """As by a careless hand: another file under the same name."""
    file.with_suffix(".other").write_bytes(content)
    file.with_suffix(".other").replace(file)


async def test_a_registry_that_is_put_back_from_a_copy_is_followed(
    house: Any, start: Any, until: Any, tmp_path: Path
) -> None:
    two_versions(house)
    file, kept = file_of(house), tmp_path / "kept.db"
    with sqlite3.connect(file) as source, sqlite3.connect(kept) as copy:
        source.backup(copy)
    source.close(), copy.close()
    async with start(house) as running:
        assert (await promote(running, "triage:2")).status_code == 200
        for log in ("registry.db-wal", "registry.db-shm"):  # of the old one; SQLite would apply it to the copy
            file.with_name(log).unlink(missing_ok=True)
        kept.replace(file)
        catalogue = running.app.state.parts.catalogue
        await until(lambda: catalogue.snapshot.aliases["triage"]["prod"].targets[0].number == 1)
        assert (await running.chat("triage")).json()["dabt"]["version"] == "triage:1"


class Cable:
    """Between the service and a server on loopback, and it can be cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._ends: list[socket.socket] = []
        self.cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self.cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)

    def pull(self) -> None:
        self.cut = True
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.pull()
        self._listener.close()


@pytest.mark.e2e
async def test_a_database_server_that_cannot_be_reached_is_gone_on_without_and_found_again(
    house: Any, start: Any, until: Any, request: pytest.FixtureRequest
) -> None:
    url = str(request.getfixturevalue("postgres_url"))
    port = int(url.split("127.0.0.1:")[1].split("/", maxsplit=1)[0])
    cable = Cable(port)
    house.registry.close()
    house.registry = Registry.open(url.replace(f":{port}/", f":{cable.port}/"))
    two_versions(house)
    async with start(house) as running:
        catalogue = running.app.state.parts.catalogue
        cable.pull()
        await until(lambda: catalogue.problem is not None)
        assert (await running.client.get("/ready")).status_code == 200
        assert (await running.chat("triage")).json()["dabt"]["version"] == "triage:1"
        refused = await promote(running, "triage:2")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        cable.cut = False
        await until(lambda: catalogue.problem is None)
        assert (await promote(running, "triage:2")).status_code == 200
    cable.close()
