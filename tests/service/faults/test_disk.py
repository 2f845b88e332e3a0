"""A disk that is full, for real: of the local copies, of the registry, and behind the log."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifecycle.errors import Unavailable
from lifecycle.store.artifacts import ArtifactStore
from tests.ports import free_port
from tests.service.conftest import make_house
from tests.service.faults.conftest import Begin, chat

pytestmark = pytest.mark.timeout(300)

MIB = 2**20


def fill(disk: Path) -> Path:
    """Take what is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return ballast


def adapter(house: Any, tmp_path: Path, name: str, size: int) -> None:
    folder = tmp_path / f"made-{name}"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(name.encode() * size)
    house.adapter(name, folder)
    house.prod(name, adapter=name)


async def test_a_full_disk_of_local_copies_fails_who_needs_it_and_nobody_else(
    house: Any, start: Any, small_disk: Path, tmp_path: Path, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.adapters.residency._FIRST_PAUSE", 0.1)
    house.store = ArtifactStore(f"memory://{uuid.uuid4().hex}", small_disk / "cache")
    adapter(house, tmp_path, "a", MIB // 2)
    adapter(house, tmp_path, "b", MIB // 2)
    async with start(house) as running:
        assert (await running.chat("a")).status_code == 200
        ballast = fill(small_disk)
        refused = await running.chat("b")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "adapter_unloadable")
        assert "is full" in refused.json()["error"]["message"]
        assert int(refused.headers["retry-after"]) > 0
        assert (await running.chat("a")).status_code == 200
        assert (await running.client.get("/ready")).status_code == 200
        assert list((small_disk / "cache/artifacts/tmp").iterdir()) == [], "nothing half-written is left"
        ballast.unlink()

        async def served() -> bool:
            return bool((await running.chat("b")).status_code == 200)

        await until(served)


def test_a_store_on_a_full_disk_takes_nothing_half(small_disk: Path, tmp_path: Path) -> None:
    store = ArtifactStore(str(small_disk / "store"), tmp_path / "cache")
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"x" * MIB)
    ballast = fill(small_disk)
    with pytest.raises(Unavailable):
        store.put(folder)
    ballast.unlink()
    digest = store.put(folder)
    store.verify(digest)
    assert list((small_disk / "store/tmp").iterdir()) == []


async def test_a_registry_on_a_full_disk_refuses_changes_and_loses_nothing(
    house: Any, start: Any, small_disk: Path
) -> None:
    there = make_house(small_disk / "home", house.base)
    there.prod("triage", prompt={"system": "one"})
    async with start(there) as running:
        ballast = fill(small_disk)
        orders = [{"ref": "triage:1", "alias": f"other{at}", "reason": "x" * 4000, "force": True} for at in range(20)]
        replies = [await running.client.post("/admin/promote", json=order) for order in orders]
        done = [order["alias"] for order, reply in zip(orders, replies, strict=True) if reply.status_code == 200]
        refused = [reply for reply in replies if reply.status_code != 200]
        assert refused, "the disk took all of them"
        assert {(reply.status_code, reply.json()["error"]["code"]) for reply in refused} == {(503, "unavailable")}
        assert "full" in refused[0].json()["error"]["message"]
        assert (await running.chat("triage")).status_code == 200
        ballast.unlink()
        assert (await running.client.post("/admin/promote", json=orders[-1])).status_code == 200
        told = {"prod", *done, orders[-1]["alias"]}
        assert {alias.alias for alias in there.registry.aliases("triage")} == told, "what was said is what is there"
    there.registry.close()


def test_a_full_disk_behind_the_log_costs_lines_and_no_answers(begin: Begin) -> None:
    port = free_port()
    with Path("/dev/full").open("w") as full:
        service = begin(stderr=full, config={"port": port, "log_level": "debug"})
        service.url = f"http://127.0.0.1:{port}"
        with service.ready() as client:
            for _ in range(20):
                assert client.post("/v1/chat/completions", json=chat("tiny")).status_code == 200
            assert client.post("/v1/chat/completions", json=chat("nobody")).status_code == 404
        service.terminate()
        assert service.end() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{service.url}/health", timeout=60)
