"""The load generator: what it reads from a stream, and what it makes of a service over the fake engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import load
from benchmarks.load import Ask, Run, Told
from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from tests.service.conftest import House, house
from tests.service.socketed import socketed

__all__ = ["house"]


@pytest.fixture
def url(house: House) -> Iterator[str]:
    house.adapter("red")
    house.prod("triage", adapter="red")
    config = ServeConfig(base=house.base, base_name="base", embedding_model="none")
    with socketed(create_app(config, FakeEngine(), house.registry, house.store)) as address:
        yield address


def event(body: Any) -> bytes:
    return b"data: " + (body if isinstance(body, bytes) else json.dumps(body).encode()) + b"\n\n"


def chunk(*tokens: int) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": "x"}, "token_ids": list(tokens)}]}


def test_an_event_came_when_its_last_byte_did_however_the_bytes_were_cut() -> None:
    stream = event(chunk(1)) + event(chunk(2, 3)) + event(b"[DONE]")
    for size in (1, 7, len(stream)):
        pieces = [(float(at), stream[at : at + size]) for at in range(0, len(stream), size)]
        tokens, arrivals, error = load.read(pieces)
        assert (tokens, error) == ((1, 2, 3), "")
        ends = [len(event(chunk(1))) - 1, len(event(chunk(1)) + event(chunk(2, 3))) - 1]
        assert arrivals == tuple(float(end // size * size) for end in ends)


def test_events_without_tokens_are_no_first_token() -> None:
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "token_ids": None}]}
    usage = {"choices": [], "usage": {}}
    came = [(1.0, event(role)), (2.0, event(chunk(5))), (3.0, event(usage)), (4.0, event(b"[DONE]"))]
    assert load.read(came) == ((5,), (2.0,), "")


def test_an_error_inside_a_stream_and_a_stream_without_an_end_are_failures() -> None:
    broken = [(1.0, event(chunk(1)) + event({"error": {"code": "engine_dead"}}) + event(b"[DONE]"))]
    assert "engine_dead" in load.read(broken)[2]
    assert "without [DONE]" in load.read([(1.0, event(chunk(1)))])[2]


def told(tokens: tuple[int, ...], began: float, first: float, ended: float, error: str = "") -> Told:
    return Told(Ask("base", "hello", 2), began, ended, tokens, (began + first,) if tokens else (), error)


def test_throughput_counts_the_tokens_of_all_over_the_time_from_first_to_last() -> None:
    run = Run((told((1, 2), 10.0, 0.1, 11.0), told((1, 2), 10.5, 0.3, 12.0)))
    assert run.seconds == 2.0
    assert run.throughput == 2.0
    assert run.first_token(0.5) == pytest.approx(0.2)


def test_a_refusal_and_a_short_answer_are_failures_and_not_wrong_answers() -> None:
    run = Run((told((), 0, 0, 1, "503: busy"), told((1,), 0, 0.1, 1), told((1, 9), 0, 0.1, 1), told((1, 2), 0, 0.1, 1)))
    assert run.failed == list(run.told[:2])
    assert run.differing({run.told[0].ask: (1, 2)}) == [run.told[2]]


def test_no_first_token_at_all_is_an_endless_wait() -> None:
    assert Run((told((), 0, 0, 1, "503: busy"),)).first_token(0.5) == float("inf")


def test_every_request_is_made_once_and_answered_by_the_model_it_asked_for(url: str) -> None:
    asks = [Ask(model, f"message {at}", 3) for at in range(20) for model in ("base", "triage")]
    run = load.run(url, asks, concurrent=8)
    assert run.failed == []
    assert sorted((one.ask for one in run.told), key=repr) == sorted(asks, key=repr)
    by_model = {model: {one.tokens[0] for one in run.told if one.ask.model == model} for model in ("base", "triage")}
    assert by_model["base"].isdisjoint(by_model["triage"])  # the fake engine's first word names who answers
    assert all(one.headers["x-dabt-version"] == one.ask.model.replace("triage", "triage:1") for one in run.told)


def test_a_refused_request_says_why_and_stops_no_other(url: str) -> None:
    run = load.run(url, [Ask("nobody", "hello", 2), Ask("base", "hello", 2)], concurrent=2)
    (refused,) = run.failed
    assert refused.ask.model == "nobody"
    assert refused.error.startswith("404: ")


def test_a_server_that_is_not_there_is_a_failure_of_each_request() -> None:
    run = load.run("http://127.0.0.1:9", [Ask("base", "hello", 2)] * 3, concurrent=2)
    assert [bool(one.error) for one in run.told] == [True] * 3
    assert run.throughput == 0
