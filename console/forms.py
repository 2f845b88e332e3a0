"""A form that a page sent: text fields, of a bounded size."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from fastapi import Request

from lifecycle.errors import InvalidInput, TooLarge, TooSlow

_MOST_BYTES = 1 << 20


async def form_of(request: Request) -> dict[str, str]:
    """The fields, the last of each name. Raises as `fields_of`."""
    return dict(await fields_of(request))


async def fields_of(request: Request) -> list[tuple[str, str]]:
    """The fields in their order. Raises `TooLarge`, `TooSlow`, and `InvalidInput` for what is no text."""
    body, patience = bytearray(), request.app.state.config.client_seconds
    try:
        async with asyncio.timeout(patience):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise TooLarge(f"a form may have {_MOST_BYTES} bytes")
    except TimeoutError as error:
        raise TooSlow(f"The body had not arrived whole after {patience:g} s; send it again") from error
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError as error:
        raise InvalidInput(f"the form cannot be read: {error}") from None
