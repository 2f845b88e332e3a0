"""From the bytes of a request to a JSON object, once: size, encoding, syntax and shape are checked here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from lifecycle.errors import InvalidInput, Problem, TooLarge, TooSlow
from lifecycle.text import strict_json
from lifecycle.version import Frozen

T = TypeVar("T")
Body = TypeVar("Body", bound=Frozen)

log = structlog.get_logger(__name__)

_THROWN_AWAY = 64 * 2**20
"""Bytes over the limit that are still received."""
_PATIENCE = 5.0
"""Seconds for which they are."""


async def json_object(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object of at most `limit` bytes.

    Raises `TooLarge`, `TooSlow` or `InvalidInput`, saying what is wrong.
    """
    patience = request.app.state.config.client_seconds
    try:
        async with asyncio.timeout(patience):
            body = await _bytes(request, limit)
    except TimeoutError as error:
        raise TooSlow(f"The body had not arrived whole after {patience:g} s; send it again") from error
    if not body.strip():
        raise InvalidInput("The request has no body; send a JSON object")
    value = parse_json(bytes(body))
    if not isinstance(value, dict):
        raise InvalidInput("The body must be a JSON object")
    if request.app.state.config.log_bodies:
        log.info("request body", body=json.dumps(value, ensure_ascii=False))
    return value


def parse_json(body: bytes) -> Any:
    """What a body says (`lifecycle/text/strict_json.py`). Raises `InvalidInput`, saying what is wrong."""
    try:
        return strict_json.parse(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The body is not UTF-8: byte {error.start} does not belong there") from error
    except ValueError as error:
        raise InvalidInput(f"The body {error}") from error


async def _bytes(request: Request, limit: int) -> bytearray:
    """At most `limit` bytes. A larger body is read on for a while and thrown away, because most clients look for an
    answer only once they have sent everything, and would see a broken connection instead of the reason.
    """
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() and len(announced) < 20 else 0
    # A client that waits for leave to send needs no patience, and one that has very much to send gets none.
    if size > limit + _THROWN_AWAY or (size > limit and "expect" in request.headers):
        raise _too_large(limit)
    body = bytearray()
    seen = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as patience:
            async for piece in request.stream():
                seen += len(piece)
                if seen <= limit:
                    body += piece
                    continue
                body.clear()
                if patience.when() is None:
                    patience.reschedule(asyncio.get_running_loop().time() + _PATIENCE)
                if seen > limit + _THROWN_AWAY:
                    break
    if seen > limit:
        raise _too_large(limit)
    return body


async def admin_body(request: Request, kind: type[Body]) -> Body:
    """The body as a `kind`, all of its faults at once: a key that it does not know, such as a path, is one of them.

    It must be declared as JSON, which a web page elsewhere cannot send here without being asked first (CORS).
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidInput("Send the header content-type: application/json")
    body = await json_object(request, request.app.state.body_limit)
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        problems = [Problem(".".join(map(str, one["loc"])) or "body", one["msg"]) for one in error.errors()]
        raise InvalidInput("The request is not valid:", problems) from error


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled, and has ended, when the client goes away: `ClientDisconnect` then.

    `receive` must have given the whole body already.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        for one in (task, gone):
            if not one.done():
                one.cancel()
                await asyncio.wait({one})


async def _disconnected(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than the {limit / 2**20:g} MiB that this service takes")
