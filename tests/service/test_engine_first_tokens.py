"""In each step of the real engine first tokens stand before the others, so that they are sent before them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tests.service.asking import chat

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

LONG = 300


def test_those_of_several_requests_keep_their_order_and_so_do_the_others() -> None:
    from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
    from vllm.v1.metrics.stats import PrefillStats

    from service.engine.vllm.first_tokens import send_first

    def output(name: str, prefill: PrefillStats | None = None) -> Any:
        return EngineCoreOutput(request_id=name, new_token_ids=[1], prefill_stats=prefill)

    step = EngineCoreOutputs(
        outputs=[output("a"), output("first", PrefillStats()), output("b"), output("second", PrefillStats())]
    )
    given = iter([step, EngineCoreOutputs()])

    async def get_output_async() -> Any:
        return next(given)

    llm = SimpleNamespace(engine_core=SimpleNamespace(get_output_async=get_output_async))
    send_first(llm)
    taken = asyncio.run(llm.engine_core.get_output_async())
    assert [each.request_id for each in taken.outputs] == ["first", "second", "a", "b"]
    assert asyncio.run(llm.engine_core.get_output_async()).outputs == []


def test_the_real_engine_tells_of_a_prompt_once_and_its_first_token_comes_first(
    real: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = real.engine._llm.output_processor
    process, steps = processor.process_outputs, list[list[tuple[str, bool]]]()

    def recorded(outputs: Any, *args: Any, **kwargs: Any) -> Any:
        asked = [each for each in outputs if each.request_id.startswith("chatcmpl-")]  # the service watches too
        steps.append([(each.request_id, each.prefill_stats is not None) for each in asked])
        return process(outputs, *args, **kwargs)

    monkeypatch.setattr(processor, "process_outputs", recorded)
    base, asked = real.engine._config.served_name, 1
    with (
        real.client() as client,
        real.client() as other,
        client.stream("POST", "/v1/chat/completions", json=chat(base, "a", stream=True, max_tokens=LONG)) as long,
    ):
        lines = long.iter_lines()
        assert next(lines).startswith("data: {")
        while not shared(steps) and asked < LONG:
            assert other.post("/v1/chat/completions", json=chat(base, "b", max_tokens=2)).status_code == 200
            asked += 1
        for _ in lines:
            pass
    assert shared(steps)
    assert all(step == sorted(step, key=lambda each: not each[1]) for step in steps)
    assert sum(first for step in steps for _, first in step) == asked
    assert sum(len(step) for step in steps) == LONG + 2 * (asked - 1)


def shared(steps: list[list[tuple[str, bool]]]) -> bool:
    """Whether a first token came in one step with another request's later one."""
    return any({first for _, first in step} == {True, False} for step in steps)
