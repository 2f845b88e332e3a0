"""What routers outside and a trace's collector see of several bases in one process: the same as of one."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from tests.service.cluster.two_bases import Two
from tests.service.test_router_series import read
from tests.service.test_traces import EVALUATION, Collector, collector  # noqa: F401  the fixture

pytestmark = pytest.mark.timeout(300)


async def test_routers_outside_read_of_both_bases(two: Two, until: Any) -> None:
    """`max_lora` and the adapters are of both, in one series: a router takes one alone."""
    for name in ("b", "c"):
        two.house.adapter(name, base=two.digest)
        two.house.prod(name, adapter=name, base=two.digest)
    two.configs[0] = two.configs[0].model_copy(update={"router_series": True, "turn_seconds": 0.0})
    two.configs[1] = two.configs[1].model_copy(update={"turn_seconds": 0.0, "pin": ("far",)})
    for engine, waiting in ((two.tiny, 1), (two.other, 2)):
        page = f'vllm:num_requests_waiting{{engine="0",model_name="x"}} {waiting}.0\n'.encode()
        engine.metrics = partial(asyncio.sleep, 0, page)  # type: ignore[method-assign]
        engine.faults.hold = asyncio.Event()
    async with two.serving() as service:
        asked = [asyncio.create_task(service.chat(name)) for name in ("near", "far", "b", "c")]

        async def settled() -> dict[str, Any] | None:
            told = read((await service.client.get("/metrics")).text)
            ((labels, _),) = told["vllm:lora_requests_info"]
            counts = (len(names(labels, kind)) for kind in ("running", "waiting"))
            at_gates = service.app.state.parts.gate.waiting
            return told if (*counts, at_gates) == (3, 1, 1) else None

        await until(settled)
        told = await settled()
        assert told is not None
        for engine in (two.tiny, two.other):
            assert engine.faults.hold is not None
            engine.faults.hold.set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        loaded = read((await service.client.get("/metrics")).text)["vllm:lora_adapter_loaded"]
    ((labels, _),) = told["vllm:lora_requests_info"]
    running, waiting = (names(labels, kind) for kind in ("running", "waiting"))
    assert labels["max_lora"] == "4"
    assert "near" in running
    assert {*running, *waiting} == {"near", "far", "b", "c"}
    waits = {one["room"]: value for one, value in told["vllm:num_requests_waiting"]}
    assert waits == {"tiny": 1.0, "other": 3.0}
    assert {one["adapter_name"]: one["room"] for one, _ in loaded} == {
        "near": "tiny", "far": "other", "b": "other", "c": "other",
    }  # fmt: skip


def names(labels: dict[str, str], kind: str) -> list[str]:
    return labels[f"{kind}_lora_adapters"].split(",")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_trace_has_the_same_steps_as_with_one_base(
    two: Two,
    collector: Collector,  # noqa: F811
    stream: bool,
) -> None:
    two.house.adapter("later", base=two.digest)
    version = two.house.version("later", adapter="later", base=two.digest)
    two.configs[0] = two.configs[0].model_copy(update={"otlp_endpoint": collector.url})
    async with two.serving() as service:
        answer = await service.chat(version.ref, stream=stream, headers=EVALUATION)
        assert answer.status_code == 200
    found = collector.spans()
    request, engine = found["POST /v1/chat/completions"], found["chat later:1"]
    assert {span.trace_id for span in found.values()} == {request.trace_id}
    for step in ("resolve", "lease", "slot", "chat later:1"):
        assert found[step].parent_span_id == request.span_id, step
    assert found["load"].parent_span_id == found["lease"].span_id
    assert found["lease"].end_time_unix_nano >= found["load"].end_time_unix_nano
    assert engine.end_time_unix_nano >= found["slot"].end_time_unix_nano
