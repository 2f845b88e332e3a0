"""What may go wrong while a file for fine-tuning is sent: no half file is listed, and its bytes are collected."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from lifecycle.errors import Unavailable
from lifecycle.jobs.purging import purge
from lifecycle.registry import tables
from tests.service.faults.conftest import Begin, Wire

pytestmark = pytest.mark.timeout(300)

FORM = {"content-type": "multipart/form-data; boundary=b"}
HEAD = (
    '--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    '--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
)
END = "\r\n--b--\r\n"


@pytest.mark.e2e
def test_a_service_that_is_killed_during_an_upload_leaves_no_half_file_and_its_bytes_are_collected(
    begin: Begin, house: Any
) -> None:
    running = begin()
    running.ready().close()
    root, size = house.home.root / "artifacts", 4 * 2**20
    with Wire(running.url) as wire:
        length = len(HEAD) + size + len(END)
        wire.send(
            f"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM['content-type']}\r\n"
            f"content-length: {length}\r\n\r\n{HEAD}"
        )
        wire.send("x" * (size // 2))
        while not any(path.stat().st_size for path in (root / "tmp").glob("*/received")):
            assert running.process.poll() is None
        running.process.kill()
        running.end()
    with house.registry._database.read() as tx:
        assert list(tx.execute(tables.files.select())) == []
    assert not (root / "sha256").exists()
    (leftover,) = (root / "tmp").iterdir()
    again = begin()
    with again.ready() as client:
        assert client.get("/v1/files").json()["data"] == []
        two_days_ago = time.time() - 48 * 3600
        os.utime(leftover, (two_days_ago, two_days_ago))
        reply = client.post("/v1/files", content=HEAD + "x" + END, headers=FORM)
        assert reply.status_code == 200, reply.text
    assert not leftover.exists()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_registry_that_goes_away_around_the_bytes_makes_no_file_and_keeps_none_of_them(
    house: Any, start: Any, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the service dies there: the bytes are whole, and nobody was told."""
    files = house.registry.files

    def away(*_: Any, **__: Any) -> None:
        raise Unavailable("the registry cannot be reached")

    async with start(house) as running:
        monkeypatch.setattr(files, "expect" if when == "before" else "add", away)
        reply: httpx.Response = await running.client.post("/v1/files", content=HEAD + "x" + END, headers=FORM)
        monkeypatch.undo()
        assert reply.status_code == 503
        assert (await running.client.get("/v1/files")).json()["data"] == []
    bytes_there = [*(house.home.root / "artifacts").glob("sha256/*/file-*")]
    assert len(bytes_there) == (0 if when == "before" else 1)
    purge(house.store, house.registry)
    assert all(path.exists() for path in bytes_there), "it may be on its way still"
    with house.registry._database.write() as tx:
        tx.execute(update(tables.files).values(created_at=datetime.now(UTC) - timedelta(days=2)))
    purge(house.store, house.registry)
    assert [*(house.home.root / "artifacts").glob("sha256/*/file-*")] == []
    assert files.left() == []


async def test_a_store_that_fails_in_the_middle_leaves_no_bytes_and_gives_the_room_back(
    house: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = house.key("one", role="trainer", limits={"storage_mib": 1})
    owner = house.registry.keys.all()[0].owner

    def half(*_: Any) -> None:
        raise Unavailable("the store cannot be reached")

    async with start(house) as running:
        monkeypatch.setattr(house.store, "put", half)
        for _ in range(2):
            body = HEAD + "x" * (3 * 2**18) + END
            reply = await running.client.post("/v1/files", content=body, headers={**FORM, **key})
            assert reply.status_code == 503, reply.text
        monkeypatch.undo()
        assert house.registry.files.used(owner) == 0
        reply = await running.client.post("/v1/files", content=body, headers={**FORM, **key})
        assert reply.status_code == 200, reply.text
    assert house.registry.files.used(owner) == 3 * 2**18


async def test_two_uploads_at_once_have_no_more_room_than_one_after_the_other(house: Any, start: Any) -> None:
    import asyncio

    key = house.key("one", role="trainer", limits={"storage_mib": 1})
    async with start(house) as running:
        body = HEAD + "x" * (3 * 2**18) + END
        replies = await asyncio.gather(
            *(running.client.post("/v1/files", content=body, headers={**FORM, **key}) for _ in range(4))
        )
    assert sorted(reply.status_code for reply in replies) == [200, 429, 429, 429]
