"""Uploads, by OpenAI's client: a file in parts, which becomes a file when all of them are there."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import select, update

from lifecycle.errors import Unavailable
from lifecycle.jobs.purging import purge
from lifecycle.registry import tables
from lifecycle.store.artifacts import ArtifactStore
from tests.service.fine_tuning.conftest import rows

pytestmark = pytest.mark.timeout(300)

MIME = "application/jsonl"


async def begun(client: Any, size: int, **more: Any) -> Any:
    return await client.uploads.create(bytes=size, filename="train.jsonl", mime_type=MIME, purpose="fine-tune", **more)


def artifacts(house: Any) -> list[str]:
    """What lies in the store."""
    folder = house.home.root / "artifacts"
    assert list((folder / "tmp").iterdir()) == []
    return sorted(path.name for path in folder.glob("sha256/*.json"))


def over(house: Any, upload: str) -> None:
    """Its hour is over."""
    with house.registry._database.write() as tx:
        past = datetime.now(UTC) - timedelta(seconds=1)
        tx.execute(update(tables.uploads).where(tables.uploads.c.id == upload).values(expires_at=past))


async def test_the_clients_own_chunks_become_a_file_that_a_job_reads(
    house: Any, client_of: Any, tmp_path: Path
) -> None:
    path = tmp_path / "أسئلة.jsonl"
    path.write_bytes(rows(40))
    async with client_of(house) as client:
        done = await client.uploads.upload_file_chunked(
            file=path, mime_type=MIME, purpose="fine-tune", part_size=500, md5=hashlib.md5(rows(40)).hexdigest()
        )
        assert (done.status, done.object, done.bytes) == ("completed", "upload", len(rows(40)))
        assert done.file == await client.files.retrieve(done.file.id)
        assert (done.file.filename, done.file.bytes, done.file.purpose) == (path.name, len(rows(40)), "fine-tune")
        assert (await client.files.content(done.file.id)).read() == rows(40)
        assert [file.id async for file in client.files.list()] == [done.file.id]
        job = await client.fine_tuning.jobs.create(model="tiny", training_file=done.file.id)
        assert job.training_file == done.file.id
    assert len(artifacts(house)) == 1  # the parts are gone
    sent = [request for request in client.asked.requests if request.url.path.endswith("/parts")]
    assert len(sent) == -(-len(rows(40)) // 500)


async def test_parts_are_put_together_in_the_order_that_is_named(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        upload = await begun(client, 6, expires_after={"anchor": "created_at", "seconds": 3600})
        assert upload.to_dict() == {
            "id": upload.id,
            "object": "upload",
            "bytes": 6,
            "created_at": upload.created_at,
            "expires_at": upload.created_at + 3600,
            "filename": "train.jsonl",
            "purpose": "fine-tune",
            "status": "pending",
            "file": None,
        }
        late, early, unused = [
            await client.uploads.parts.create(upload.id, data=data) for data in (b"def", b"abc", b"xyz")
        ]
        assert (late.object, late.upload_id) == ("upload.part", upload.id)
        order = [early.id, late.id]
        with pytest.raises(openai.BadRequestError, match=hashlib.md5(b"abcdef").hexdigest()) as caught:
            await client.uploads.complete(upload.id, part_ids=order, md5="0" * 32)
        assert caught.value.param == "md5"
        done = await client.uploads.complete(upload.id, part_ids=order, md5=hashlib.md5(b"abcdef").hexdigest().upper())
        assert (await client.files.content(done.file.id)).read() == b"abcdef"
        assert done.file.expires_at == done.file.created_at + 3600
        # An answer that was lost is asked for again; anything else comes too late.
        assert await client.uploads.complete(upload.id, part_ids=order) == done
        for late_call in (
            client.uploads.complete(upload.id, part_ids=[unused.id]),
            client.uploads.parts.create(upload.id, data=b"x"),
            client.uploads.cancel(upload.id),
        ):
            with pytest.raises(openai.BadRequestError, match="is completed"):
                await late_call
    assert len(artifacts(house)) == 1
    trail = [entry.action for entry in house.registry.audit(upload.id)]
    assert trail == ["upload.completed", "upload.create"]


async def test_parts_that_are_not_the_file_are_refused_and_can_be_mended(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        upload, other = await begun(client, 6), await begun(client, 3)
        first = await client.uploads.parts.create(upload.id, data=b"abc")
        foreign = await client.uploads.parts.create(other.id, data=b"abc")
        for ids, said in (
            ([first.id], "have 3 bytes together, and the upload announced 6"),
            ([first.id, first.id], "comes twice"),
            ([first.id, foreign.id], "is no part of"),
            ([], "1 or more items"),
        ):
            with pytest.raises(openai.BadRequestError, match=said) as caught:
                await client.uploads.complete(upload.id, part_ids=ids)
            assert caught.value.param == "part_ids"
        second = await client.uploads.parts.create(upload.id, data=b"def")
        assert (await client.uploads.complete(upload.id, part_ids=[first.id, second.id])).status == "completed"
        with pytest.raises(openai.BadRequestError, match="more than 2 times the bytes"):
            await client.uploads.parts.create(other.id, data=b"x" * 4)


async def test_a_cancelled_or_expired_upload_takes_nothing_and_its_bytes_are_gone(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        cancelled, expired = await begun(client, 3), await begun(client, 3)
        parts = {each.id: await client.uploads.parts.create(each.id, data=b"abc") for each in (cancelled, expired)}
        ended = await client.uploads.cancel(cancelled.id)
        assert ended.status == (await client.uploads.cancel(cancelled.id)).status == "cancelled"
        assert len(artifacts(house)) == 1
        over(house, expired.id)
        for upload in (cancelled, expired):
            for call in (
                client.uploads.complete(upload.id, part_ids=[parts[upload.id].id]),
                client.uploads.parts.create(upload.id, data=b"abc"),
            ):
                with pytest.raises(openai.BadRequestError, match=r"is cancelled|is expired"):
                    await call
        purge(house.store, house.registry)  # as a worker does between two jobs
        assert artifacts(house) == []
        assert (await client.files.list()).data == []


async def test_a_part_is_known_before_its_bytes_are_there(house: Any, client_of: Any, monkeypatch: Any) -> None:
    """So that what dies between leaves bytes that the next sweep removes."""
    put, known = ArtifactStore.put, []

    def dying(store: ArtifactStore, folder: Path) -> str:
        with house.registry._database.read() as tx:
            ids = {row.id for row in tx.execute(select(tables.upload_parts))}
        known.append({path.name for path in folder.iterdir()} <= ids)
        put(store, folder)
        raise Unavailable("the store is away")

    async with client_of(house) as client:
        upload = await begun(client, 3)
        with monkeypatch.context() as patched:
            patched.setattr(ArtifactStore, "put", dying)
            patched.setattr(ArtifactStore, "remove", lambda *_: (_ for _ in ()).throw(Unavailable("and stays away")))
            with pytest.raises(openai.InternalServerError):
                await client.uploads.parts.create(upload.id, data=b"abc")
        assert known == [True] * 3  # the client has tried again, and what was given up counts for nothing
        assert len(artifacts(house)) > 0
        over(house, upload.id)
        purge(house.store, house.registry)
        assert artifacts(house) == []


async def test_limits_are_of_the_whole_and_of_each_part(house: Any, client_of: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("service.openai.fine_tuning.routes_uploads.PART_BYTES", 2**20)
    async with client_of(house, max_upload_mib=2) as client:
        upload = await begun(client, 2 * 2**20)
        await client.uploads.parts.create(upload.id, data=b"x" * 2**20)
        for size in (2**20 + 1, 3 * 2**20):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.uploads.parts.create(upload.id, data=b"x" * size)
            assert caught.value.status_code == 413
        with pytest.raises(openai.APIStatusError) as caught:
            await begun(client, 2 * 2**20 + 1)
        assert caught.value.status_code == 413
        for wrong, param in (
            ({"bytes": 0}, "bytes"),
            ({"purpose": "fun"}, "purpose"),
            ({"filename": ""}, "filename"),
            ({"expires_after": {"anchor": "created_at", "seconds": 3599}}, "expires_after.seconds"),
        ):
            whole = {"bytes": 1, "filename": "a", "mime_type": MIME, "purpose": "fine-tune", **wrong}
            with pytest.raises(openai.BadRequestError) as refused:
                await client.uploads.create(**whole)
            assert refused.value.param == param
    assert len(artifacts(house)) == 1


async def test_uploads_are_their_senders_alone_and_count_as_storage(house: Any, client_of: Any) -> None:
    one = house.key("one", role="trainer", limits={"storage_mib": 1})
    two = house.key("two", role="trainer")
    async with (
        client_of(house, key=one) as patient,
        client_of(house, key=two, running=patient.running) as other,
    ):
        client = patient.with_options(max_retries=0)
        upload = await begun(client, 2**19)
        part = await client.uploads.parts.create(upload.id, data=b"x" * 2**19)
        for call in (
            other.uploads.parts.create(upload.id, data=b"x"),
            other.uploads.complete(upload.id, part_ids=[part.id]),
            other.uploads.cancel(upload.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await call
        with pytest.raises(openai.RateLimitError, match="may keep 1 MiB"):
            await begun(client, 2**19 + 1)
        await begun(client, 2**19)
        with pytest.raises(openai.RateLimitError):
            await client.files.create(file=("a", b"x"), purpose="fine-tune")
        assert (await client.uploads.complete(upload.id, part_ids=[part.id])).status == "completed"
