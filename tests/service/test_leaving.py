"""Work that is done for a client ends when he leaves, and nothing of that reaches what comes after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from lifecycle.errors import InvalidInput
from service.openai.http_input import unless_disconnected


class Client:
    """Stays until `leave` is set."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.leave.wait()
        return {"type": "http.disconnect"}


async def asked(client: Client, work: Callable[[], Awaitable[Any]]) -> Any:
    """What came of it, when the task has gone on afterwards: nobody's cancelling is left over."""
    task = asyncio.current_task()
    assert task is not None
    try:
        return await unless_disconnected(client.receive, work())  # type: ignore[arg-type]
    except ClientDisconnect:
        return "left"
    finally:
        if not task.cancelling():
            for _ in range(3):
                await asyncio.sleep(0)


async def test_the_work_begins_before_anything_else_does() -> None:
    began = []

    async def work() -> str:
        began.append("work")
        await asyncio.sleep(0)
        return "done"

    asyncio.get_running_loop().call_soon(began.append, "others")
    assert await asked(Client(), work) == "done"
    assert began == ["work", "others"]


async def test_what_the_work_raises_is_raised() -> None:
    async def work() -> None:
        raise InvalidInput("no")

    with pytest.raises(InvalidInput, match="no"):
        await asked(Client(), work)


@pytest.mark.parametrize("makes_of_it", ["nothing", "an error", "an answer"])
async def test_the_work_has_ended_when_its_client_has_left(makes_of_it: str) -> None:
    client, ended = Client(), []

    async def work() -> str:
        asyncio.get_running_loop().call_soon(client.leave.set)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # clean-up may take its time
            ended.append(True)
            if makes_of_it == "an error":
                raise InvalidInput("the client left") from None
            if makes_of_it == "an answer":
                return "an answer"
            raise
        return ""

    assert await asked(client, work) == "left"
    assert ended == [True]


@pytest.mark.parametrize("client_too", [False, True])
async def test_who_cancels_the_task_from_outside_is_obeyed(client_too: bool) -> None:
    client, ended, begun = Client(), [], asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = asyncio.create_task(asked(client, work))
    await begun.wait()
    if client_too:
        client.leave.set()
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_a_client_who_leaves_at_the_very_end_has_left_or_not() -> None:
    outcomes = []
    for turns in range(8):
        client = Client()

        async def work(turns: int = turns, leave: Callable[[], None] = client.leave.set) -> str:
            await asyncio.sleep(0)  # until somebody waits for his leaving
            leave()
            for _ in range(turns):
                await asyncio.sleep(0)
            return "done"

        outcomes.append(await asked(client, work))
    assert (outcomes[0], outcomes[-1]) == ("done", "left")
    assert set(outcomes) == {"done", "left"}
