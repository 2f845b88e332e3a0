"""From the bytes of a request to a JSON object, once: size, encoding, syntax and shape are checked here.

Every route that takes a body reads it here. A body costs the others next to nothing: it is counted in slices as it
comes (`body_bounds.py`), refused before it is parsed when it holds too much, and parsed beside the event loop when it
is large.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from lifecycle.errors import InvalidInput, TooLarge, TooSlow
from lifecycle.text import strict_json
from lifecycle.validation import problems_of
from lifecycle.version import Frozen
from service.openai.body_bounds import SLICE, Bounds, Counter

T = TypeVar("T")
Body = TypeVar("Body", bound=Frozen)

log = structlog.get_logger(__name__)

_THROWN_AWAY = 64 * 2**20
"""Bytes over the limit that are still received."""
_PATIENCE = 5.0
"""Seconds for which they are."""
MOST_CONTAINERS = 2**16
MOST_VALUES = 2**18
_ADMIN = Bounds(bytes=2**20, containers=4096, values=2**14)
"""Of a body for an admin route: the largest gate is far below it."""
_SMALL = Bounds(bytes=64 * 2**10, containers=512, values=4096)
"""What is parsed on the event loop: it takes less than a millisecond, and a thread would take longer."""
_beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bodies")
"""One: large bodies take turns, so that many of them at once hold up nobody but each other."""
_writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bodies-log")
"""For `--log-bodies`. Another one, because whoever reads the log may be slow."""


async def begin() -> None:
    """Start the thread for large bodies. The first of them would wait for that on the event loop."""
    await asyncio.get_running_loop().run_in_executor(_beside, int)


async def json_object(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object of at most `limit` bytes.

    Raises `TooLarge`, `TooSlow` or `InvalidInput`, saying what is wrong.
    """
    return await _object(request, Bounds(limit, MOST_CONTAINERS, MOST_VALUES))


async def _object(request: Request, bounds: Bounds) -> dict[str, Any]:
    patience = request.app.state.config.client_seconds
    counter = Counter()
    try:
        async with asyncio.timeout(patience):
            body = bytes(await _bytes(request, bounds, counter))
    except TimeoutError as error:
        raise TooSlow(f"The body had not arrived whole after {patience:g} s; send it again") from error
    if not body.strip():
        raise InvalidInput("The request has no body; send a JSON object")
    if _excess(len(body), counter, _SMALL):
        value = await asyncio.get_running_loop().run_in_executor(_beside, parse_json, body)
    else:
        value = parse_json(body)
    if not isinstance(value, dict):
        raise InvalidInput("The body must be a JSON object")
    if request.app.state.config.log_bodies:
        await asyncio.get_running_loop().run_in_executor(_writing, copy_context().run, _log_body, value)
    return value


def _log_body(value: dict[str, Any]) -> None:
    """In a thread: a large body takes as long to write as to parse, and a slow reader of the log even longer."""
    log.info("request body", body=json.dumps(value, ensure_ascii=False))


def parse_json(body: bytes) -> Any:
    """What a body says (`lifecycle/text/strict_json.py`). Raises `InvalidInput`, saying what is wrong."""
    try:
        return strict_json.parse(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The body is not UTF-8: byte {error.start} does not belong there") from error
    except ValueError as error:
        raise InvalidInput(f"The body {error}") from error


async def _bytes(request: Request, bounds: Bounds, counter: Counter) -> bytearray:
    """The body, counted. One that has too much is read on for a while and thrown away, because most clients look for
    an answer only once they have sent everything, and would see a broken connection instead of the reason.
    """
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() and len(announced) < 20 else 0
    # A client that waits for leave to send needs no patience, and one that has very much to send gets none.
    if size > bounds.bytes + _THROWN_AWAY or (size > bounds.bytes and "expect" in request.headers):
        raise _too_large(bounds)
    body = bytearray()
    seen = 0
    refusal: InvalidInput | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as patience:
            async for piece in request.stream():
                seen += len(piece)
                if refusal is None and (refusal := await _counted(piece, seen, bounds, counter)) is None:
                    body += piece
                    continue
                body.clear()
                if patience.when() is None:
                    patience.reschedule(asyncio.get_running_loop().time() + _PATIENCE)
                if seen > bounds.bytes + _THROWN_AWAY:
                    break
    if refusal is not None:
        raise refusal
    return body


async def _counted(piece: bytes, seen: int, bounds: Bounds, counter: Counter) -> InvalidInput | None:
    """Why the body cannot be taken, now that `piece` is there. Others have their turn between two slices."""
    if seen > bounds.bytes:
        return _too_large(bounds)
    for at in range(0, len(piece), SLICE):
        counter.add(piece[at : at + SLICE])
        if excess := _excess(seen, counter, bounds):
            return excess
        if at + SLICE < len(piece):
            await asyncio.sleep(0)
    return None


def _excess(size: int, counter: Counter, bounds: Bounds) -> InvalidInput | None:
    if size > bounds.bytes:
        return _too_large(bounds)
    if counter.depth > strict_json.MOST_LEVELS:
        return InvalidInput(f"The body {strict_json.TOO_DEEP}")
    if counter.containers > bounds.containers:
        most = f"{bounds.containers} objects and lists"
    elif counter.values > bounds.values:
        most = f"{bounds.values} values"
    else:
        return None
    return TooLarge(f"The body holds more than {most}, which is the most that this route takes; send it in parts")


async def admin_body(request: Request, kind: type[Body]) -> Body:
    """The body as a `kind`, all of its faults at once: a key that it does not know, such as a path, is one of them.

    It must be declared as JSON, which a web page elsewhere cannot send here without being asked first (CORS).
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidInput("Send the header content-type: application/json")
    body = await _object(request, replace(_ADMIN, bytes=min(_ADMIN.bytes, request.app.state.body_limit)))
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise InvalidInput("The request is not valid:", problems_of(error, body)) from error


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled, and has ended, when the client goes away: `ClientDisconnect` then.

    `receive` must have given the whole body already. The work is done in the caller's own task: another one would begin
    only after all that the event loop has to do already.
    """
    here = asyncio.current_task()
    assert here is not None
    left, over = False, False

    def leave(gone: asyncio.Task[None]) -> None:
        nonlocal left
        if not over and not gone.cancelled():
            left = True
            here.cancel()

    gone = asyncio.ensure_future(until_disconnected(receive))
    gone.add_done_callback(leave)
    cancelled_before = here.cancelling()
    try:
        return await work
    finally:
        over = True
        gone.cancel()
        # Whatever the work made of it. Who cancels this task from outside is obeyed.
        if left and here.uncancel() <= cancelled_before:
            raise ClientDisconnect


async def until_disconnected(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return


def _too_large(bounds: Bounds) -> TooLarge:
    return TooLarge(f"The body is larger than the {bounds.bytes / 2**20:g} MiB that this route takes")
