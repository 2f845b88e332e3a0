"""`/v1/files`: sent in pieces to the store, listed, read and deleted, each by its owner alone."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, JSONResponse, Response

from lifecycle.errors import DabtError, InvalidInput, LimitReached, Problem
from lifecycle.jobs.nouns import UploadedFile, new_id
from lifecycle.jobs.purging import purge
from lifecycle.store.artifacts import digest_of_folder
from service.admin import registry_of
from service.openai.fine_tuning.asked import cursor_of, expiry_of
from service.openai.fine_tuning.form import received
from service.openai.fine_tuning.owner import owner_of, who
from service.openai.fine_tuning.shapes import file_object, list_object
from service.parts import parts_of
from service.request_context import context_of

PURPOSES = ("fine-tune", "evals", "user_data", "batch", "assistants", "vision")
_BATCH_SECONDS = 30 * 24 * 3600
"""After which files for a batch expire, unless told otherwise."""

router = APIRouter()


@router.post("/v1/files")
async def create(request: Request) -> Response:
    parts = parts_of(request)
    parts.under_way.check()
    with parts.under_way.counted(), parts.store.scratch() as scratch:
        form = await received(request, scratch, request.app.state.file_limit, parts.at_store)
        sent = form.require_file("file")
        created = datetime.now(UTC)
        purpose = checked_purpose(form.fields.get("purpose"))
        expires = {key: form.fields.get(f"expires_after[{key}]") for key in ("anchor", "seconds")}
        expires_at = expiry_of(expires, created) or expires_at_of(purpose, created)
        await check_room(request, form.bytes)
        id_ = new_id("file-")
        folder = in_folder(sent, id_)
        file = UploadedFile(
            id=id_,
            owner=owner_of(request),
            purpose=purpose,
            filename=form.filename,
            bytes=form.bytes,
            digest=await parts.at_store.run(digest_of_folder, folder),
            created_at=created,
            expires_at=expires_at,
        )
        await keep(request, file, folder)
    return JSONResponse(file_object(file))


@router.get("/v1/files")
async def listed(request: Request) -> Response:
    cursor = cursor_of(request, limit=10_000, most=10_000)
    purpose = request.query_params.get("purpose")
    page = await parts_of(request).at_registry.run(registry_of(request).files.all, owner_of(request), cursor, purpose)
    return JSONResponse(list_object(map(file_object, page.items), page.has_more, ends=True))


@router.get("/v1/files/{id_}")
async def retrieve(request: Request, id_: str) -> Response:
    return JSONResponse(file_object(await _file(request, id_)))


@router.get("/v1/files/{id_}/content")
async def content(request: Request, id_: str) -> Response:
    parts, file = parts_of(request), await _file(request, id_)
    folder: Path = await parts.at_store.run(parts.store.get, file.digest)
    return FileResponse(folder / file.id, media_type="application/octet-stream", filename=file.filename)


@router.delete("/v1/files/{id_}")
async def delete(request: Request, id_: str) -> Response:
    """Gone for its owner at once; its bytes, when no unfinished job reads them."""
    parts, registry = parts_of(request), registry_of(request)
    await parts.at_registry.run(registry.files.delete, id_, owner_of(request), actor=who(request))
    await parts.at_store.run(purge, parts.store, registry, actor=who(request))
    return JSONResponse({"id": id_, "object": "file", "deleted": True})


def expires_at_of(purpose: str, created: datetime, seconds: int | None = None) -> datetime | None:
    """Of a file that is kept for `seconds`, or for as long as its purpose says."""
    seconds = seconds or (_BATCH_SECONDS if purpose == "batch" else None)
    return None if seconds is None else created + timedelta(seconds=seconds)


def checked_purpose(purpose: Any) -> str:
    """Raises `InvalidInput` for one that no file here has."""
    if purpose in PURPOSES:
        return str(purpose)
    fault = "is missing" if purpose is None else f"{purpose!r} is not taken"
    raise InvalidInput("The request is not valid:", [Problem("purpose", fault, f"one of {', '.join(PURPOSES)}")])


async def check_room(request: Request, more: int) -> None:
    """Raises `LimitReached` when so many bytes more are over the key's storage."""
    if (most := _storage(request)) is None:
        return
    used = await _used(request)
    if used + more > most:
        raise _full(request, used)


async def keep(request: Request, file: UploadedFile, folder: Path) -> None:
    """The file of `folder`: its row first, so that what dies before its bytes are whole leaves none that nobody knows.

    Raises `LimitReached` when others have taken the room meanwhile, and what the store and the registry raise.
    """
    parts, registry, most = parts_of(request), registry_of(request), _storage(request)
    if most is not None:
        most -= await parts.at_registry.run(registry.uploads.reserved, file.owner)
    if not await parts.at_registry.run(registry.files.expect, file, most=most):
        raise _full(request, await _used(request))
    try:
        await parts.at_store.run(parts.store.put, folder)
    except DabtError:
        with suppress(DabtError):  # the row is given up a day later
            await parts.at_registry.run(registry.files.give_up, file.id)
            await parts.at_store.run(purge, parts.store, registry, actor=who(request))
        raise
    await parts.at_registry.run(registry.files.add, file, actor=who(request))


def in_folder(sent: Path, id_: str) -> Path:
    """The file alone in a folder beside it, called by its id, as the store has it."""
    folder = sent.parent / "folder"
    folder.mkdir()
    shutil.move(sent, folder / id_)
    return folder


async def _used(request: Request) -> int:
    """Bytes of the owner's files, and of those that open uploads will be."""
    registry, run, owner = registry_of(request), parts_of(request).at_registry.run, owner_of(request)
    return int(await run(registry.files.used, owner)) + int(await run(registry.uploads.reserved, owner))


def _storage(request: Request) -> int | None:
    """Bytes that the key may keep."""
    key = context_of(request).key
    return None if key is None or key.limits.storage_mib is None else key.limits.storage_mib * 2**20


def _full(request: Request, used: int) -> LimitReached:
    key, most = context_of(request).key, _storage(request) or 0
    said = f"the {key} may keep {most / 2**20:g} MiB of files, and has {used / 2**20:.1f}; delete some first"
    return LimitReached(said, retry_after=60.0)


async def _file(request: Request, id_: str) -> UploadedFile:
    registry = registry_of(request)
    file: UploadedFile = await parts_of(request).at_registry.run(registry.files.get, id_, owner_of(request))
    return file
