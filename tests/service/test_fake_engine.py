"""What the fake engine alone promises; what all engines do is in `test_engine_contract.py`."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from service.engine import fake_engine
from service.engine.fake_engine import FakeEngine
from service.engine.interface import Call


async def test_a_token_that_is_taken_late_makes_no_later_one_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a real engine, which does not wait for the process that takes its tokens."""
    dues: list[float] = []

    async def late(due: float) -> None:
        dues.append(due)
        await asyncio.sleep(0.002)

    monkeypatch.setattr(fake_engine, "_until", late)
    engine = FakeEngine(step_seconds=0.001)
    await engine.start()
    body = {"messages": [{"role": "user", "content": "hi"}]}
    async for _ in engine.stream(Call("chat", body, "base", None, "call-1")):
        pass
    assert len(dues) == 8
    assert [after - before for before, after in itertools.pairwise(dues)] == pytest.approx([0.001] * 7)
