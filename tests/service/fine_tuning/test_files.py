"""Files, by OpenAI's client: sent, listed, read and deleted, each by its owner alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import update

from lifecycle.registry import tables
from tests.service.fine_tuning.conftest import rows

pytestmark = pytest.mark.timeout(300)


async def test_a_file_comes_back_with_every_key_and_its_bytes(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        made = await client.files.create(file=("أسئلة.jsonl", rows()), purpose="fine-tune")
        got = await client.files.retrieve(made.id)
        content = await client.files.content(made.id)
        done = await client.files.wait_for_processing(made.id)
    assert made == got == done
    assert made.id.startswith("file-")
    assert made.model_dump(exclude={"id", "created_at"}) == {
        "bytes": len(rows()),
        "filename": "أسئلة.jsonl",
        "object": "file",
        "purpose": "fine-tune",
        "status": "processed",
        "expires_at": None,
        "status_details": None,
    }
    assert abs(made.created_at - datetime.now(UTC).timestamp()) < 60
    assert content.read() == rows()


async def test_lists_are_newest_first_in_pages_and_by_purpose(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        ids = [(await client.files.create(file=(f"{n}.jsonl", rows()), purpose="fine-tune")).id for n in range(5)]
        other = await client.files.create(file=("other", b"x"), purpose="user_data")
        page = await client.files.list(limit=2, purpose="fine-tune")
        assert [file.id for file in page.data] == [ids[4], ids[3]]
        assert page.has_more is True
        assert page.to_dict()["first_id"] == ids[4]
        assert page.to_dict()["last_id"] == ids[3]
        assert [file.id async for file in client.files.list(limit=2, purpose="fine-tune")] == ids[::-1]
        assert [file.id async for file in client.files.list(order="asc")] == [*ids, other.id]
        assert (await client.files.list(purpose="fine-tune-results")).data == []
        for wrong in ({"limit": 0}, {"limit": 10_001}, {"after": "file-none"}, {"order": "up"}):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.files.list(**wrong)
            assert caught.value.param == next(iter(wrong))


async def test_a_deleted_file_is_gone_with_its_bytes_and_equal_files_are_apart(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        one, two = [await client.files.create(file=("a.jsonl", rows()), purpose="fine-tune") for _ in range(2)]
        digests = {id_: house.registry.files.get(id_, "").digest for id_ in (one.id, two.id)}
        gone = await client.files.delete(one.id)
        assert gone.model_dump() == {"id": one.id, "deleted": True, "object": "file"}
        for call in (client.files.retrieve, client.files.content, client.files.delete):
            with pytest.raises(openai.NotFoundError):
                await call(one.id)
        assert not house.store.has(digests[one.id])
        assert (await client.files.content(two.id)).read() == rows()
    actions = [entry.action for entry in house.registry.audit()]
    assert actions[:4] == ["file.purge", "file.delete", "file.add", "file.add"]


async def test_a_file_expires_when_it_was_asked_to(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        after = {"anchor": "created_at", "seconds": 3600}
        made = await client.files.create(file=("a.jsonl", rows()), purpose="fine-tune", expires_after=after)
        assert made.expires_at == made.created_at + 3600
        batch = await client.files.create(file=("a.jsonl", rows()), purpose="batch")
        assert batch.expires_at == batch.created_at + 30 * 24 * 3600
        with house.registry._database.write() as tx:
            past = datetime.now(UTC) - timedelta(seconds=1)
            tx.execute(update(tables.files).where(tables.files.c.id == made.id).values(expires_at=past))
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(made.id)
        assert [file.id async for file in client.files.list()] == [batch.id]
        for wrong in ({"anchor": "created_at", "seconds": 3599}, {"anchor": "now", "seconds": 3600}):
            with pytest.raises(openai.BadRequestError, match="expires_after"):
                await client.files.create(file=("a.jsonl", rows()), purpose="fine-tune", expires_after=wrong)


@pytest.mark.parametrize(("size", "taken"), [(2**20, True), (2**20 + 1, False), (3 * 2**20, False)])
async def test_a_file_over_the_limit_is_refused_and_leaves_nothing(
    house: Any, client_of: Any, size: int, taken: bool
) -> None:
    async with client_of(house, max_file_mib=1) as client:
        if taken:
            assert (await client.files.create(file=("a", b"x" * size), purpose="fine-tune")).bytes == size
        else:
            with pytest.raises(openai.APIStatusError) as caught:
                await client.files.create(file=("a", b"x" * size), purpose="fine-tune")
            assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")
            assert (await client.files.list()).data == []
    assert list((house.home.root / "artifacts" / "tmp").iterdir()) == []


async def test_what_is_no_form_is_told_in_a_sentence(house: Any, start: Any) -> None:
    part = b'--b\r\ncontent-disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
    file = part % (b"file", b'; filename="a"', b"x")
    purpose = part % (b"purpose", b"", b"fine-tune")
    form = {"content-type": "multipart/form-data; boundary=b"}
    bodies = [
        (b"{}", {"content-type": "application/json"}, "multipart/form-data"),
        (b"", {"content-type": "multipart/form-data"}, "multipart/form-data"),
        (b"nothing", form, "no multipart form"),
        (file + purpose, form, "ends in the middle"),
        (file + file + purpose + b"--b--", form, "more than one file"),
        (purpose + b"--b--", form, "file: is missing"),
        (file + b"--b--", form, "purpose: is missing"),
        (file + part % (b"purpose", b"", b"fun") + b"--b--", form, "'fun' is not taken"),
        (file + part % (b"purpose", b"", b"x" * 5000) + b"--b--", form, "purpose: is too long"),
        (file + purpose + purpose + b"--b--", form, "purpose: comes twice"),
        (b"".join(part % (b"%d" % n, b"", b"x") for n in range(17)) + b"--b--", form, "more than 16 fields"),
    ]
    async with start(house) as running:
        for body, headers, said in bodies:
            reply = await running.client.post("/v1/files", content=body, headers=headers)
            assert (reply.status_code, said in reply.json()["error"]["message"]) == (400, True), (said, reply.text)
        for name in (b"../../etc/passwd", b"C:\\\\data\\\\passwd"):
            body = part % (b"file", b'; filename="%b"' % name, b"x") + purpose + b"--b--"
            reply = await running.client.post("/v1/files", content=body, headers=form)
            assert reply.json()["filename"] == "passwd"
    assert list((house.home.root / "artifacts" / "tmp").iterdir()) == []


async def test_a_client_that_falls_silent_is_told_so(house: Any, start: Any) -> None:
    async def silent() -> AsyncIterator[bytes]:
        import asyncio

        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx'
        await asyncio.Event().wait()

    async with start(house, client_seconds=0.05) as running:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        reply: httpx.Response = await running.client.post("/v1/files", content=silent(), headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (408, "request_timeout")


async def test_files_are_their_senders_alone_and_a_trainers_key_is_needed(house: Any, client_of: Any) -> None:
    one, two = (house.key(name, role="trainer") for name in ("one", "two"))
    caller = house.key("app", role="evaluator")
    async with client_of(house, key=one) as mine:
        made = await mine.files.create(file=("a.jsonl", rows()), purpose="fine-tune")
        async with client_of(house, key=two, running=mine.running) as theirs:
            assert (await theirs.files.list()).data == []
            for call in (theirs.files.retrieve, theirs.files.content, theirs.files.delete):
                with pytest.raises(openai.NotFoundError):
                    await call(made.id)
        async with client_of(house, key=caller, running=mine.running) as app:
            with pytest.raises(openai.PermissionDeniedError, match="needs a trainer's or more"):
                await app.files.list()
        assert [file.id async for file in mine.files.list()] == [made.id]
        # A key of the same name has nothing of it; one that was made to share has all.
        house.registry.keys.revoke("one", actor="test")
        again = house.key("one", role="trainer")
        heir = house.key("one-2", role="trainer", shares_with=house.registry.keys.all()[0].id)
        await mine.running.app.state.parts.catch_up()
        with pytest.raises(openai.AuthenticationError):
            await mine.files.list()
        async with client_of(house, key=again, running=mine.running) as namesake:
            assert (await namesake.files.list()).data == []
            with pytest.raises(openai.NotFoundError):
                await namesake.files.content(made.id)
        async with client_of(house, key=heir, running=mine.running) as rotated:
            assert (await rotated.files.retrieve(made.id)).id == made.id


async def test_a_key_keeps_no_more_than_its_storage(house: Any, client_of: Any) -> None:
    key = house.key("one", role="trainer", limits={"storage_mib": 1})
    async with client_of(house, key=key) as patient:
        client = patient.with_options(max_retries=0)
        half = b"x" * 2**19
        first = await client.files.create(file=("a", half), purpose="fine-tune")
        await client.files.create(file=("a", half), purpose="fine-tune")
        with pytest.raises(openai.RateLimitError, match="may keep 1 MiB"):
            await client.files.create(file=("a", b"x"), purpose="fine-tune")
        await client.files.delete(first.id)
        await client.files.create(file=("a", half), purpose="fine-tune")


async def test_a_store_that_is_away_or_full_is_503_and_no_file_is_listed(
    house: Any, client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(house) as patient:
        client = patient.with_options(max_retries=0)

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("service.openai.fine_tuning.form._Parts.write", full)
        with pytest.raises(openai.InternalServerError, match="is full"):
            await client.files.create(file=("a", b"x"), purpose="fine-tune")
        monkeypatch.undo()
        monkeypatch.setattr(house.store, "_local", house.home.root / "registry.db")
        with pytest.raises(openai.InternalServerError, match="cannot be written"):
            await client.files.create(file=("a", b"x"), purpose="fine-tune")
        monkeypatch.undo()
        assert (await client.files.list()).data == []
