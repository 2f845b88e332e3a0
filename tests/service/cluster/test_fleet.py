"""Gateways before engine rooms: one answers, another where it is full or gone, and everything is given back."""

from __future__ import annotations

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from lifecycle import errors
from lifecycle.errors import DabtError, InvalidConfig, InvalidInput, LimitReached, Problem, Unavailable
from service.adapters.residency import internal_name
from service.cluster.asking import Ask
from service.cluster.room import LoneRoom
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from service.engine.interface import Call
from service.engine_side import base_of
from service.openai.http_errors import STATUS
from tests.service.cluster.rooms_here import a_fleet
from tests.service.conftest import fake_base

pytestmark = pytest.mark.timeout(300)


def hold(fleet: Any) -> None:
    """Engines take requests and do not answer them."""
    for engine in fleet.engines.values():
        engine.faults.hold = asyncio.Event()


def let_go(fleet: Any) -> None:
    for engine in fleet.engines.values():
        assert engine.faults.hold is not None
        engine.faults.hold.set()


def names(house: Any, *letters: str) -> None:
    for letter in letters:
        house.adapter(letter)
        house.prod(letter, adapter=letter)


def who_said(answer: Any) -> str:
    """The fake engine's answers begin with the adapter that gave them."""
    return str(answer.json()["choices"][0]["message"]["content"].split()[0])


async def test_requests_for_an_adapter_meet_in_one_room_and_no_other_loads_it(house: Any) -> None:
    names(house, "a", "b", "c", "d")
    async with a_fleet(house) as fleet, fleet.gateway() as gateway:
        for _ in range(3):
            for name in "abcd":
                answer = await gateway.chat(name)
                assert answer.status_code == 200
                assert who_said(answer) == internal_name(house.adapters[name])
        loads = [load.name for engine in fleet.engines.values() for load in engine.loads]
        assert sorted(loads) == sorted(internal_name(digest) for digest in house.adapters.values())


async def test_two_gateways_send_an_adapter_to_the_same_room_without_a_word_between_them(house: Any) -> None:
    names(house, "a", "b", "c", "d")
    async with a_fleet(house, rooms=3) as fleet:
        first, second = fleet.line(), fleet.line()
        async with fleet.gateway(first) as one, fleet.gateway(second) as other:
            first.went.clear(), second.went.clear()
            for name in "abcd":
                await one.chat(name)
                await other.chat(name)
        assert first.went == second.went
        assert len(set(first.went)) > 1


async def test_two_rooms_hold_different_adapters_and_so_at_least_half_as_many_again(house: Any) -> None:
    """`python -m benchmarks.cluster share` prints it for a thousand adapters on Ray."""
    letters = "abcdefghijklmnopqrstuvwx"
    names(house, *letters)
    held = {}
    for rooms in (1, 2):
        async with a_fleet(house, rooms, max_cpu_loras=8) as fleet, fleet.gateway() as gateway:
            for name in letters:
                assert (await gateway.chat(name)).status_code == 200
            cards = [room.card() for room in fleet.rooms.values()]
            held[rooms] = len({row.digest for card in cards for row in card.held})
            assert held[rooms] == sum(len(card.held) for card in cards), "none is held twice"
    assert held[1] == 8
    assert held[2] >= 12


async def test_requests_to_the_base_go_where_least_is_to_do(house: Any, until: Any) -> None:
    async with a_fleet(house) as fleet, fleet.gateway() as gateway:
        hold(fleet)
        asked = [asyncio.create_task(gateway.chat("tiny")) for _ in range(4)]
        await until(lambda: [len(engine.active) for engine in fleet.engines.values()] == [2, 2])
        let_go(fleet)
        assert {(await each).status_code for each in asked} == {200}


async def test_a_full_room_passes_a_request_on_and_full_rooms_refuse_it(house: Any, until: Any) -> None:
    names(house, "a")
    async with a_fleet(house, max_queue=1) as fleet, fleet.gateway() as gateway:
        hold(fleet)
        asked = [asyncio.create_task(gateway.chat("a")) for _ in range(2)]
        await until(lambda: [len(engine.active) for engine in fleet.engines.values()] == [1, 1])
        refused = await gateway.chat("a")
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "overloaded"
        assert refused.headers["retry-after"] == "1"
        let_go(fleet)
        assert {(await each).status_code for each in asked} == {200}


async def test_a_room_that_refuses_although_it_was_thought_to_have_room_is_passed_over(house: Any, until: Any) -> None:
    """What a gateway knows is as old as the last card."""
    names(house, "a")
    async with a_fleet(house, max_queue=1) as fleet:
        line = fleet.line()
        async with fleet.gateway(line) as gateway:
            await gateway.chat("a")
            home = line.went[-1]
            line.tell = lambda: None  # type: ignore[method-assign]
            for known in line.known._known.values():
                known.replica.room = 10
            engine = fleet.engines[home]
            engine.faults.load_errors = {}
            fleet.rooms[home].side.gate.max_waiting = 0
            fleet.rooms[home].side.supervisor._engine_state = "the engine is being looked at"
            line.went.clear()
            answer = await gateway.chat("a")
            assert answer.status_code == 200
            assert line.went[0] == home
            assert len(set(line.went)) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_dies_before_the_first_token_is_followed_by_another(house: Any, stream: bool) -> None:
    names(house, "a")
    async with a_fleet(house) as fleet:
        line = fleet.line()
        async with fleet.gateway(line) as gateway:
            await gateway.chat("a")
            fleet.engines[line.went[-1]].faults.break_stream_after = 0
            answer = await gateway.chat("a", stream=stream)
            assert answer.status_code == 200
            assert "error" not in answer.text
            assert internal_name(house.adapters["a"]) in answer.text


async def test_a_room_that_vanishes_before_the_first_token_is_followed_by_another(house: Any) -> None:
    names(house, "a")
    async with a_fleet(house) as fleet:
        line = fleet.line()
        async with fleet.gateway(line) as gateway:
            await gateway.chat("a")
            line.vanish_after[line.went[-1]] = 1
            answer = await gateway.chat("a")
            assert answer.status_code == 200
            assert who_said(answer) == internal_name(house.adapters["a"])
            assert line.went[-1] != line.went[-2]


@pytest.mark.parametrize("vanishes", [False, True])
async def test_an_answer_that_has_begun_ends_with_an_error_that_says_so(house: Any, vanishes: bool) -> None:
    names(house, "a")
    async with a_fleet(house) as fleet:
        line = fleet.line()
        async with fleet.gateway(line) as gateway:
            await gateway.chat("a")
            home = line.went[-1]
            if vanishes:
                line.vanish_after[home] = 3
            else:
                fleet.engines[home].faults.break_stream_after = 2
            line.went.clear()
            answer = await gateway.chat("a", stream=True)
            assert answer.status_code == 200
            events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
            assert [len(event["choices"]) for event in events[:-1]] == [1, 1]
            assert events[-1]["error"]["code"] == "engine_dead"
            assert "in the middle of this answer" in events[-1]["error"]["message"]
            assert line.went == [home], "nobody else is asked to go on with it"


async def test_a_request_that_ends_engines_ends_two_of_them_and_no_third(house: Any) -> None:
    async with a_fleet(house, rooms=3, restart_attempts=0) as fleet, fleet.gateway() as gateway:
        for engine in fleet.engines.values():
            engine.faults.break_stream_after = 0
        answer = await gateway.chat("tiny")
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "engine_dead"
        assert sorted(engine._dead.is_set() for engine in fleet.engines.values()) == [False, True, True]


async def test_a_caller_who_leaves_frees_the_room(house: Any, until: Any) -> None:
    names(house, "a")
    async with a_fleet(house, rooms=1) as fleet, fleet.gateway() as gateway:
        engine, room = fleet.engines["x"], fleet.rooms["x"]
        await gateway.chat("a")
        engine.faults.hold = asyncio.Event()
        asked = asyncio.create_task(gateway.chat("a"))
        await until(lambda: engine.active)
        assert (room.card().busy, room.card().slots_taken, room.card().held[0].leases) == (1, 1, 1)
        asked.cancel()
        await until(lambda: not engine.active)
        await until(lambda: (room.card().busy, room.card().slots_taken, room.card().held[0].leases) == (0, 0, 0))


async def test_an_adapter_that_does_not_load_is_tried_in_two_rooms_and_no_third(house: Any) -> None:
    names(house, "a")
    (house.store.get(house.adapters["a"]) / "adapter_model.safetensors").chmod(0o644)
    (house.store.get(house.adapters["a"]) / "adapter_model.safetensors").write_text("damaged")
    house.store._verified.clear()
    async with a_fleet(house, rooms=3) as fleet:
        line = fleet.line()
        async with fleet.gateway(line) as gateway:
            line.went.clear()
            answer = await gateway.chat("a")
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "adapter_unloadable"
            assert len(set(line.went)) == len(line.went) == 2


async def test_what_a_caller_did_wrong_is_told_as_one_engine_tells_it(house: Any) -> None:
    async with a_fleet(house) as fleet, fleet.gateway() as gateway:
        answer = await gateway.chat("tiny", "word " * 5000)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"
        assert answer.json()["error"]["param"] == "messages"


async def test_the_wait_in_a_room_counts_to_the_answer(house: Any, until: Any) -> None:
    names(house, "a", "b")
    async with a_fleet(house, rooms=1, max_loras=1) as fleet:
        engine, room = fleet.engines["x"], fleet.rooms["x"]

        async def tally(name: str) -> Any:
            call = Call("chat", {"messages": [{"role": "user", "content": "hi"}]}, name, None, name)
            frames = [frame async for frame in room.answer(Ask("stream", house.adapters[name], call))]
            return frames[-1]

        await tally("a"), await tally("b")
        engine.faults.hold = asyncio.Event()
        first = asyncio.create_task(tally("a"))
        await until(lambda: engine.active)
        second = asyncio.create_task(tally("b"))
        await until(lambda: room.card().waiting == 1)
        engine.faults.hold.set()
        assert (await first).queue == 0
        waited = await second
        assert waited.queue > 0
        assert waited.first_token > waited.queue


async def test_tokens_are_counted_in_some_room(house: Any) -> None:
    async with a_fleet(house) as fleet, fleet.gateway() as gateway:
        told = (await gateway.client.post("/tokenize", json={"model": "tiny", "prompt": "عيادة"})).json()
        assert bytes(told["tokens"]).decode() == "عيادة"


async def test_a_room_opens_when_what_it_must_hold_is_there_and_verified(house: Any) -> None:
    names(house, "a", "b", "c")
    async with a_fleet(house, pin=("a", "b"), preload=("c",)) as fleet:
        for room in fleet.rooms.values():
            held = {row.digest: row.pinned for row in room.card().held}
            assert held == {house.adapters["a"]: True, house.adapters["b"]: True, house.adapters["c"]: False}


async def test_a_room_that_cannot_hold_its_pins_stays_closed_and_says_all_of_it(house: Any) -> None:
    names(house, "a", "b", "c")
    engine = FakeEngine()
    for name in "ab":
        path = str(house.store.get(house.adapters[name]).resolve())
        engine.faults.load_errors[path] = f"{name} is broken"
    config = ServeConfig.model_validate(
        {"base": house.base, "max_cpu_loras": 4, "max_loras": 2, "pin": ("a", "b", "c")}
    )
    room = LoneRoom("x", config, engine, house.registry, house.store)
    with pytest.raises(Unavailable, match=r"(?s)does not hold what it must.*a is broken.*b is broken"):
        await room.open()
    assert engine._dead.is_set(), "what was started is stopped again"


async def test_an_alias_that_is_moved_is_loaded_where_its_requests_will_go(house: Any, until: Any) -> None:
    names(house, "a")
    async with a_fleet(house) as fleet, fleet.gateway() as gateway:
        digest = house.adapter("new")
        version = house.version("a", adapter="new")
        house.registry.promote(version.ref, actor="test", reason="for the test", force=True)
        here = internal_name(digest)
        await until(lambda: any(here in {load.name for load in e.loads} for e in fleet.engines.values()))
        assert (await gateway.chat("a")).headers["x-dabt-version"] == "a:2"
        assert sum(load.name == here for engine in fleet.engines.values() for load in engine.loads) == 1


async def test_a_promotion_reaches_every_gateway_and_no_answer_mixes_two(house: Any, until: Any) -> None:
    names(house, "a")
    house.adapter("new")
    second = house.version("a", adapter="new")
    said = {"a:1": internal_name(house.adapters["a"]), "a:2": internal_name(house.adapters["new"])}
    async with a_fleet(house) as fleet, fleet.gateway() as one, fleet.gateway() as other:
        seen: dict[int, list[str]] = {0: [], 1: []}

        async def ask_on(at: int, gateway: Any) -> None:
            while not seen[at] or seen[at][-1] != "a:2":
                answer = await gateway.chat("a")
                version = answer.json()["dabt"]["version"]
                assert who_said(answer) == said[version]
                assert answer.headers["x-dabt-version"] == version
                seen[at].append(version)

        asking = [asyncio.create_task(ask_on(at, gateway)) for at, gateway in enumerate((one, other))]
        await until(lambda: all(seen.values()))
        house.registry.promote(second.ref, actor="test", reason="for the test", force=True)
        await asyncio.gather(*asking)
        for versions in seen.values():
            assert versions == sorted(versions), "none goes back"


def other_base(folder: Path) -> ServeConfig:
    base = fake_base(folder)
    (base / "config.json").write_text('{"model_type": "llama", "hidden_size": 8}')
    return ServeConfig.model_validate({"base": base, "max_loras": 2, "max_cpu_loras": 4})


async def test_a_version_is_answered_by_the_engines_of_its_own_base(house: Any, tmp_path: Path) -> None:
    """One alias may stand on both: a full fine-tune beside an adapter over another base."""
    names(house, "a")
    config = other_base(tmp_path / "other")
    digest = base_of(config).digest
    second = house.version("a", base=digest)
    house.registry.promote(second.ref, actor="test", reason="for the test", force=True)
    async with a_fleet(house) as fleet, a_fleet(house, names="pq", base=config.base) as elsewhere:
        line, far = fleet.line(), elsewhere.line()
        async with fleet.gateway(line, (config, far)) as gateway:
            line.went.clear(), far.went.clear()
            evaluating = {"x-dabt-purpose": "evaluation"}
            assert (await gateway.chat("a:1", headers=evaluating)).status_code == 200
            assert (len(line.went), len(far.went)) == (1, 0)
            answer = await gateway.chat("a")
            assert answer.headers["x-dabt-version"] == "a:2"
            assert (await gateway.chat("other")).status_code == 200
            assert (len(line.went), len(far.went)) == (1, 2)
            listed = (await gateway.client.get("/v1/models", headers=evaluating)).json()["data"]
            parents = {card["id"]: card["parent"] for card in listed}
            assert parents == {"tiny": None, "other": None, "a": "other", "a:1": "tiny", "a:2": "other"}
            assert (await gateway.client.get("/v1/models/other")).json()["dabt"]["kind"] == "base"
            unknown = await gateway.chat("nobody")
            assert "this service has tiny, other, a" in unknown.json()["error"]["message"]
            told = (await gateway.client.get("/v1/dabt/deployment")).json()
            assert list(told["deployment"]["arguments"]["beside"]) == [digest]
            assert answer.headers["x-dabt-deployment"] == told["digest"]
            assert list((await gateway.client.get("/ready")).json()["engine"]["beside"]) == [digest]


async def test_whatever_decides_an_answer_of_another_base_is_another_deployment(house: Any, tmp_path: Path) -> None:
    digests = set()
    config = other_base(tmp_path / "other")
    for temperature in (0.5, 0.6):
        (config.base / "generation_config.json").write_text(f'{{"temperature": {temperature}}}')
        async with (
            a_fleet(house, 1) as fleet,
            a_fleet(house, 1, names="p", base=config.base) as elsewhere,
            fleet.gateway(None, (config, elsewhere.line())) as gateway,
        ):
            digests.add((await gateway.client.get("/v1/dabt/deployment")).json()["digest"])
    assert len(digests) == 2


async def test_a_version_over_a_base_that_no_engine_has_is_refused(house: Any, tmp_path: Path) -> None:
    config = other_base(tmp_path / "other")
    house.prod("far", base="sha256:" + "9" * 64)
    async with (
        a_fleet(house, 1) as fleet,
        a_fleet(house, 1, names="p", base=config.base) as elsewhere,
        fleet.gateway(None, (config, elsewhere.line())) as gateway,
    ):
        refused = await gateway.chat("far")
        assert refused.status_code == 403
        assert "than tiny and other, which run here" in refused.json()["error"]["message"]


def test_two_bases_of_one_kind_or_of_one_name_are_refused(house: Any, tmp_path: Path) -> None:
    config = ServeConfig.model_validate({"base": house.base})
    same = ServeConfig.model_validate({"base": fake_base(tmp_path / "again")})
    with pytest.raises(InvalidConfig, match="is the digest of two bases"):
        base_of(config, [same])
    other = other_base(tmp_path / "other").model_copy(update={"base_name": "tiny"})
    with pytest.raises(InvalidConfig, match="tiny is the name of two bases"):
        base_of(config, [other])


@pytest.mark.parametrize("kind", STATUS, ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_in_another_process(kind: type[DabtError]) -> None:
    if issubclass(kind, InvalidInput):
        error: DabtError = kind("all wrong", [Problem("prompt", "is missing", "write one")])
    elif issubclass(kind, LimitReached | Unavailable):
        error = kind("later", 7.0)
    else:
        error = kind("عيادة")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert errors.DabtError.__reduce__ is kind.__reduce__
