"""From the bytes of a request to a JSON object, once: size, encoding, syntax and shape are checked here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from lifecycle.errors import InvalidInput
from service.http_errors import TooLarge

T = TypeVar("T")


async def json_object(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object of at most `limit` bytes. Raises `TooLarge` or `InvalidInput`, saying what is wrong."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise _too_large(limit)
    if not body.strip():
        raise InvalidInput("The request has no body; send a JSON object")
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The body is not UTF-8: byte {error.start} does not belong there") from error
    except RecursionError as error:
        raise InvalidInput("The body is nested too deeply") from error
    except ValueError as error:
        raise InvalidInput(f"The body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput("The body must be a JSON object")
    return value


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


def _no_constant(name: str) -> float:
    raise InvalidInput(f"The body is not JSON: it has no {name}")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than the {limit / 2**20:g} MiB that this service takes")
