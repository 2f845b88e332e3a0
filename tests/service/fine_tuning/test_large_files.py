"""A large file goes to the store in pieces and comes back so: the service never has it whole in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)

MIB = 2**20
SMALL, LARGE = 4, 12
"""MiB."""
PIECE = b"x" * (64 * 2**10)
HEAD = b'--b\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n'
FORM = {"content-type": "multipart/form-data; boundary=b"}


async def form(field: bytes, mib: int) -> AsyncIterator[bytes]:
    yield HEAD % (b"purpose", b"") + b"fine-tune\r\n" if field == b"file" else b""
    yield HEAD % (field, b'; filename="a"')
    for _ in range(mib * MIB // len(PIECE)):
        yield PIECE
    yield b"\r\n--b--"


async def as_a_file(client: Any, mib: int) -> str:
    reply = await client.post("/v1/files", content=form(b"file", mib), headers=FORM)
    assert reply.json()["bytes"] == mib * MIB
    return str(reply.json()["id"])


async def as_an_upload(client: Any, mib: int) -> str:
    told = {"bytes": mib * MIB, "filename": "a", "mime_type": "application/jsonl", "purpose": "fine-tune"}
    upload = (await client.post("/v1/uploads", json=told)).json()["id"]
    parts = [await client.post(f"/v1/uploads/{upload}/parts", content=form(b"data", mib // 2), headers=FORM)]
    parts += [await client.post(f"/v1/uploads/{upload}/parts", content=form(b"data", mib // 2), headers=FORM)]
    done = await client.post(f"/v1/uploads/{upload}/complete", json={"part_ids": [part.json()["id"] for part in parts]})
    assert done.json()["file"]["bytes"] == mib * MIB
    return str(done.json()["file"]["id"])


@pytest.mark.parametrize("send", [as_a_file, as_an_upload])
async def test_a_larger_file_takes_no_more_memory(
    house: Any, start: Any, send: Callable[[Any, int], Awaitable[str]]
) -> None:
    async with start(house) as running:

        async def most(mib: int) -> int:
            tracemalloc.start()
            try:
                await send(running.client, mib)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        await most(SMALL)  # what is imported once
        small, large = await most(SMALL), await most(LARGE)
    assert large < small + MIB
