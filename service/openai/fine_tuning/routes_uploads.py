"""`/v1/uploads`: a large file that comes in parts, in any order, and becomes a file when all of them are there.

Each part goes to the store as it comes, and is never in memory. The parts of an upload that is over are removed by
`lifecycle/jobs/purging.py`.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field, StringConstraints, ValidationError
from starlette.responses import JSONResponse, Response

from lifecycle.errors import DabtError, InvalidInput, Problem, TooLarge
from lifecycle.jobs.nouns import Upload, UploadedFile, UploadPart, new_id
from lifecycle.jobs.purging import purge
from lifecycle.store.artifacts import ArtifactStore, digest_of_folder
from lifecycle.validation import problems_of
from lifecycle.version import Frozen
from service.admin import registry_of
from service.openai.fine_tuning.asked import expiry_of
from service.openai.fine_tuning.form import received
from service.openai.fine_tuning.owner import owner_of, who
from service.openai.fine_tuning.routes_files import check_room, checked_purpose, expires_at_of, in_folder
from service.openai.fine_tuning.shapes import part_object, upload_object
from service.openai.http_input import json_object
from service.parts import parts_of

PART_BYTES = 64 * 2**20
_HOUR = timedelta(hours=1)
"""In which an upload is to be completed."""
_MOST_PARTS = 10_000

router = APIRouter(prefix="/v1/uploads")


class _NewUpload(Frozen):
    filename: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    purpose: str
    bytes: Annotated[int, Field(ge=1)]
    mime_type: str = ""
    """Not looked at: a file's reader goes by its name and its first bytes."""
    expires_after: dict[str, Any] | None = None


class _Completion(Frozen):
    part_ids: Annotated[list[str], Field(min_length=1, max_length=_MOST_PARTS)]
    md5: str | None = None
    """Of the whole file, in hexadecimal."""


@router.post("")
async def create(request: Request) -> Response:
    asked = _valid(_NewUpload, await json_object(request, request.app.state.body_limit))
    most = request.app.state.upload_limit
    if asked.bytes > most:
        raise TooLarge(f"The file is larger than the {most / 2**20:g} MiB that an upload may have here")
    purpose, created = checked_purpose(asked.purpose), datetime.now(UTC)
    expires_at = expiry_of(asked.expires_after or {}, created)
    await check_room(request, asked.bytes)
    upload = Upload(
        id=new_id("upload_"),
        owner=owner_of(request),
        filename=asked.filename,
        purpose=purpose,
        bytes=asked.bytes,
        expires_after=None if expires_at is None else round((expires_at - created).total_seconds()),
        created_at=created,
        expires_at=created + _HOUR,
    )
    await parts_of(request).at_registry.run(registry_of(request).uploads.create, upload, actor=who(request))
    return JSONResponse(upload_object(upload, None))


@router.post("/{id_}/parts")
async def add_part(request: Request, id_: str) -> Response:
    parts, uploads, owner = parts_of(request), registry_of(request).uploads, owner_of(request)
    parts.under_way.check()
    await parts.at_registry.run(uploads.check_open, id_, owner)
    with parts.under_way.counted(), parts.store.scratch() as scratch:
        form = await received(request, scratch, PART_BYTES, parts.at_store)
        part_id = new_id("part_")
        folder = in_folder(form.require_file("data"), part_id)
        digest = await parts.at_store.run(digest_of_folder, folder)
        part = UploadPart(id=part_id, upload=id_, digest=digest, bytes=form.bytes, created_at=datetime.now(UTC))
        await parts.at_registry.run(uploads.add_part, part, owner)  # so that its bytes are found, whatever dies now
        try:
            await parts.at_store.run(parts.store.put, folder)
            await parts.at_registry.run(uploads.check_open, id_, owner)
        except DabtError:  # it was ended meanwhile, say, and its parts are gone already
            with suppress(DabtError):
                await parts.at_registry.run(uploads.give_up, part_id)
                await parts.at_store.run(parts.store.remove, digest)
                await parts.at_registry.run(uploads.purged, part_id)
            raise
    return JSONResponse(part_object(part))


@router.post("/{id_}/complete")
async def complete(request: Request, id_: str) -> Response:
    """Completed before with the same parts is answered as it was then: its client has lost the answer."""
    asked = _valid(_Completion, await json_object(request, request.app.state.body_limit))
    parts, registry, owner = parts_of(request), registry_of(request), owner_of(request)
    parts.under_way.check()
    upload: Upload = await parts.at_registry.run(registry.uploads.get, id_, owner)
    if upload.status == "completed" and upload.parts == tuple(asked.part_ids):
        return JSONResponse(upload_object(upload, await parts.at_registry.run(registry.files.get, upload.file, owner)))
    await parts.at_registry.run(registry.uploads.check_open, id_, owner)
    of_it: list[UploadPart] = await parts.at_registry.run(registry.uploads.parts, id_, asked.part_ids)
    if (size := sum(part.bytes for part in of_it)) != upload.bytes:
        fault = f"have {size} bytes together, and the upload announced {upload.bytes}"
        raise _refused(Problem("part_ids", fault, "add what is missing, or name the parts that it is made of"))
    with parts.under_way.counted(), parts.store.scratch() as scratch:
        whole, md5 = await parts.at_store.run(_joined, parts.store, of_it, scratch)
        if asked.md5 is not None and asked.md5.lower() != md5:
            raise _refused(Problem("md5", f"is {md5} of the parts as they are named", "name them in their order"))
        file_id, created = new_id("file-"), datetime.now(UTC)
        folder = in_folder(whole, file_id)
        file = UploadedFile(
            id=file_id,
            owner=owner,
            purpose=upload.purpose,
            filename=upload.filename,
            bytes=upload.bytes,
            digest=await parts.at_store.run(digest_of_folder, folder),
            created_at=created,
            expires_at=expires_at_of(upload.purpose, created, upload.expires_after),
        )
        complete_it = registry.uploads.complete
        await parts.at_registry.run(registry.files.expect, file)  # so that its bytes are found, whatever dies now
        try:
            await parts.at_store.run(parts.store.put, folder)
            done = await parts.at_registry.run(complete_it, id_, owner, file, asked.part_ids, actor=who(request))
        except DabtError:
            with suppress(DabtError):
                await parts.at_registry.run(registry.files.give_up, file.id)
                await parts.at_store.run(purge, parts.store, registry, actor=who(request))
            raise
    await parts.at_store.run(purge, parts.store, registry, actor=who(request))
    return JSONResponse(upload_object(done, file))


@router.post("/{id_}/cancel")
async def cancel(request: Request, id_: str) -> Response:
    parts, registry = parts_of(request), registry_of(request)
    ended = await parts.at_registry.run(registry.uploads.cancel, id_, owner_of(request), actor=who(request))
    await parts.at_store.run(purge, parts.store, registry, actor=who(request))
    return JSONResponse(upload_object(ended, None))


def _joined(store: ArtifactStore, parts: Sequence[UploadPart], folder: Path) -> tuple[Path, str]:
    """One file of all of them in `folder`, and its MD5."""
    whole = folder / "received"
    with whole.open("xb") as out:
        for part in parts:
            with (store.get(part.digest) / part.id).open("rb") as piece:
                shutil.copyfileobj(piece, out, 2**20)
    with whole.open("rb") as written:
        return whole, hashlib.file_digest(written, "md5").hexdigest()


def _valid(kind: Any, body: dict[str, Any]) -> Any:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise InvalidInput("The request is not valid:", problems_of(error, body)) from error


def _refused(problem: Problem) -> InvalidInput:
    return InvalidInput("The upload cannot be completed:", [problem])
