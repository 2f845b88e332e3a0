"""Several pieces of work at once: all of their results, or the error of the first that failed, as it was raised."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def together(work: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """The results in the order given. Where a piece raises, the others are cancelled first."""
    pieces = list(work)
    if len(pieces) == 1:  # of most items: a task of its own would cost more than it gives
        return [await pieces[0]]
    tasks = [asyncio.ensure_future(piece) for piece in pieces]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
