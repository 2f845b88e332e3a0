"""SIGTERM while requests are under way: they finish, new ones are told to come again, and the process ends with 0."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.service.faults.conftest import Begin, chat, metric
from tests.waiting import seen

pytestmark = pytest.mark.timeout(300)

CROWD = 8
"""Of each kind."""


def whole(url: str, model: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json=chat(model), timeout=60)


def streamed(url: str, model: str) -> list[Any]:
    """The events of a stream, the closing [DONE] as a word."""
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=chat(model, stream=True), timeout=60) as reply:
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(events: list[Any]) -> str:
    return "".join(choice["delta"]["content"] for event in events[:-1] for choice in event["choices"])


@pytest.mark.parametrize("model", ["tiny", "triage"])
def test_admitted_requests_finish_and_new_ones_are_told_to_come_again(house: Any, begin: Begin, model: str) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    service = begin(config={"max_loras": 2, "max_cpu_loras": 2})
    with service.ready() as client, ThreadPoolExecutor(2 * CROWD) as pool:
        wanted = client.post("/v1/chat/completions", json=chat(model)).json()["choices"][0]["message"]["content"]
        service.tell("hold")
        answers = [pool.submit(whole, service.url, model) for _ in range(CROWD)]
        streams = [pool.submit(streamed, service.url, model) for _ in range(CROWD)]
        seen(lambda: metric(client, "dabt_requests_in_flight") >= 2 * CROWD)
        service.terminate()
        service.until("stopping")
        kept_alive, anew = client.post("/v1/chat/completions", json=chat(model)), whole(service.url, model)
        for late in (kept_alive, anew):
            assert (late.status_code, late.headers["retry-after"]) == (503, "5")
            assert late.json()["error"]["code"] == "overloaded"
        assert client.get("/ready").json()["waiting_for"] == ["the service is stopping"]
        assert not any(job.done() for job in answers + streams)
        service.tell("release")
        for answer in answers:
            assert answer.result().status_code == 200
            assert answer.result().json()["choices"][0]["message"]["content"] == wanted
        for stream in streams:
            assert text_of(stream.result()) == wanted
            assert stream.result()[-1] == "[DONE]"
    assert service.end() == 0


def test_what_does_not_finish_within_the_limit_ends_with_an_error_that_can_be_read(house: Any, begin: Begin) -> None:
    service = begin(config={"drain_seconds": 0.2})
    with service.ready() as client, ThreadPoolExecutor(2) as pool:
        service.tell("hold")
        answer, stream = pool.submit(whole, service.url, "tiny"), pool.submit(streamed, service.url, "tiny")
        seen(lambda: metric(client, "dabt_requests_in_flight") >= 2)
        service.terminate()
        assert answer.result().status_code == 503
        assert answer.result().json()["error"]["code"] == "engine_dead"
        assert int(answer.result().headers["retry-after"]) > 0
        # Nothing of it had been sent, so it is told as the other is.
        assert stream.result()[-1]["error"]["code"] == "engine_dead"
    assert service.end() == 0
    assert not any("is being restarted" in line or "engine restarted" in line for line in service.log)


def test_a_stream_that_is_cut_off_in_the_middle_ends_with_an_error_event(house: Any, begin: Begin) -> None:
    service = begin(config={"drain_seconds": 0.2})
    with service.ready() as client:
        body = chat("tiny", stream=True, min_tokens=16_000)  # far more than the buffers between the two take
        with client.stream("POST", "/v1/chat/completions", json=body) as reply:
            lines = reply.iter_lines()
            assert next(lines).startswith("data: {")
            service.terminate()
            service.until("cut off at the drain limit")
            rest = [line for line in lines if line]
    assert json.loads(rest[-2].removeprefix("data: "))["error"]["code"] == "engine_dead"
    assert rest[-1] == "data: [DONE]"
    assert service.end() == 0


def test_what_waits_for_a_locked_registry_does_not_keep_the_process_alive(house: Any, begin: Begin) -> None:
    house.prod("triage", prompt={"system": "one"})
    service = begin(lock_wait=3600)
    with service.ready() as client:
        lock = sqlite3.connect(house.home.root / "registry.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")

        move = {"ref": "triage:1", "reason": "for the test", "alias": "other", "force": True}
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.post, "/admin/promote", json=move)
            with httpx.Client(base_url=service.url, timeout=60) as other:
                seen(lambda: metric(other, "dabt_registry_calls"))
            service.terminate()
            assert waiting.result().status_code == 503
        assert service.end() == 0
        lock.close()
    assert [alias.alias for alias in house.registry.aliases("triage")] == ["prod"]
