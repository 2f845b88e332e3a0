"""What a fleet holds: pins made at any gateway, what rooms tell of their memory, and their series on a gateway."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lifecycle.errors import Unavailable
from lifecycle.manifests import AdapterManifest, GoldenPrompt
from service.cluster.asking import Card
from service.cluster.fleet import FleetAdapters, FleetEngine
from service.cluster.room import EngineRoom, LoneRoom
from service.cluster.room_series import MOST_SAMPLES, of_rooms
from service.cluster.scaling import LATELY, Memory
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from tests.service.cluster.rooms_here import a_fleet

pytestmark = pytest.mark.timeout(300)

IMPOSSIBLE = GoldenPrompt(prompt_ids=(1,), completion_ids=(2,), adapter_logprobs=(-90.0,), base_logprobs=(-91.0,))
"""What no engine computes."""


def names(house: Any, *letters: str) -> None:
    for letter in letters:
        house.adapter(letter)
        house.prod(letter, adapter=letter)


async def test_a_pin_made_at_one_gateway_holds_in_every_room_and_in_those_that_start_later(
    house: Any, until: Any
) -> None:
    names(house, "a", "b")
    async with a_fleet(house) as fleet, fleet.gateway() as one, fleet.gateway() as other:
        pinned = await one.client.post("/admin/pin", json={"ref": "a", "reason": "the emergency line"})
        assert pinned.json()["pinned"]
        assert pinned.json()["adapters"] == [house.adapters["a"]]
        assert house.registry.audit("a")[0].reason == "the emergency line"
        await until(lambda: all(pins_of(room) == {house.adapters["a"]} for room in fleet.rooms.values()))
        await until(lambda: other.app.state.parts.warmer.pins == ("a",))
    async with a_fleet(house) as fleet, fleet.gateway() as gateway:
        assert all(pins_of(room) == {house.adapters["a"]} for room in fleet.rooms.values()), "when they are ready"
        assert (await gateway.client.post("/admin/unpin", json={"ref": "a"})).status_code == 200
        await until(lambda: not any(pins_of(room) for room in fleet.rooms.values()))
        missing = await gateway.client.post("/admin/unpin", json={"ref": "a"})
        assert missing.status_code == 404


async def test_a_pin_made_in_the_registry_is_followed_by_rooms_that_run_although_nobody_asks_for_it(
    house: Any, until: Any
) -> None:
    names(house, "a", "b")
    async with a_fleet(house, pin=("b",)) as fleet:
        house.registry.pins.set("a", actor="amal", reason="as `dabt pin` does")
        both = {house.adapters["a"], house.adapters["b"]}
        await until(lambda: all(pins_of(room) == both for room in fleet.rooms.values()))
        house.registry.pins.end("a", actor="amal")
        await until(lambda: all(pins_of(room) == {house.adapters["b"]} for room in fleet.rooms.values()))
        assert house.registry.pins.all() == (), "the file's own pin is not the registry's to end"


async def test_a_room_that_starts_is_closed_until_all_that_is_pinned_in_the_registry_is_loaded_and_verified(
    house: Any, until: Any
) -> None:
    names(house, "a", "b")
    house.registry.pins.set("prod", actor="amal")
    engine = FakeEngine()
    engine.faults.hold_load = asyncio.Event()
    config = ServeConfig.model_validate({"base": house.base, "max_cpu_loras": 4, "max_loras": 2})
    room = LoneRoom("x", config, engine, house.registry, house.store)
    opening = asyncio.create_task(room.open())
    await until(lambda: engine.loads)
    assert room.card().capacity == 0, "no gateway sends it anything"
    assert not opening.done()
    engine.faults.hold_load.set()
    await opening
    assert pins_of(room) == {house.adapters["a"], house.adapters["b"]}
    await room.close()


async def test_a_room_does_not_open_where_what_is_pinned_in_the_registry_fails_its_golden_prompts(house: Any) -> None:
    names(house, "a")
    house.adapter("broken", golden=(IMPOSSIBLE,))
    house.prod("b", adapter="broken")
    for name in "ab":
        house.registry.pins.set(name, actor="amal")
    config = ServeConfig.model_validate({"base": house.base, "max_cpu_loras": 4, "max_loras": 2})
    room = LoneRoom("x", config, FakeEngine(), house.registry, house.store)
    with pytest.raises(Unavailable, match=r"does not hold what it must.*golden"):
        await room.open()


async def test_a_pin_that_would_leave_a_room_no_place_to_swap_in_is_refused(house: Any) -> None:
    names(house, "a", "b")
    async with a_fleet(house, max_cpu_loras=2) as fleet:
        line = fleet.line()
        line.tell()
        async with fleet.gateway(line) as gateway:
            assert (await gateway.client.post("/admin/pin", json={"ref": "a"})).status_code == 200
            refused = await gateway.client.post("/admin/pin", json={"ref": "b"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")
            assert house.registry.pins.all() == ("a",)


def test_what_fits_is_counted_for_each_base_by_the_smallest_of_its_rooms() -> None:
    """One base has a room of three places and one of two; another has one of four; a third has none now."""
    places = {"one": [3, 2], "two": [4], "none": []}

    def line(base: str) -> Any:
        return SimpleNamespace(
            cards=lambda: [Card(f"{base}-{at}", 1, 0, 0, each, 1, 0) for at, each in enumerate(places[base])]
        )

    adapters = FleetAdapters(FleetEngine({base: line(base) for base in places}))
    manifest = lambda digest: AdapterManifest.model_construct(base=digest.partition(":")[0])  # noqa: E731
    adapters.join(cast(Any, None), cast(Any, SimpleNamespace(catalogue=SimpleNamespace(known_manifest=manifest))))
    wanted = [f"{base}:{at}" for at in range(5) for base in places]
    assert adapters.fitting(wanted) == [
        *("one:0", "two:0", "none:0", "one:1", "two:1", "none:1"),
        *("two:2", "none:2", "two:3", "none:3", "none:4"),
    ]
    assert [each for each in adapters.fitting(wanted, spare=1) if not each.startswith("none")] == [
        *("one:0", "two:0", "two:1", "two:2"),
    ]


async def test_a_room_tells_how_many_adapters_it_was_asked_for_beside_its_pins(house: Any) -> None:
    names(house, "a", "b", "c")
    async with a_fleet(house, rooms=1, pin=("a",)) as fleet, fleet.gateway() as gateway:
        for name in ("a", "b", "c", "b", "tiny"):
            assert (await gateway.chat(name)).status_code == 200
        assert fleet.rooms["x"].memory(LATELY) == Memory(places=3, called=2)


def pins_of(room: EngineRoom) -> set[str]:
    """What it holds and will not let go."""
    return {row.digest for row in room.card().held if row.pinned}


async def test_what_rooms_tell_is_seen_at_every_gateway(house: Any) -> None:
    names(house, "a")
    async with a_fleet(house) as fleet, fleet.gateway() as gateway:
        await gateway.chat("a")
        await gateway.chat("tiny")
        told = (await gateway.client.get("/admin/residency")).json()
        assert [row["digest"] for row in told["adapters"]] == [house.adapters["a"]]
        assert told["places"] == 8
        page = (await gateway.client.get("/metrics")).text
        assert 'dabt_room_capacity{room="x"} 512' in page
        assert 'dabt_room_capacity{room="y"} 512' in page


async def test_engines_own_series_are_on_a_gateways_page_by_room(house: Any) -> None:
    names(house, "a")
    async with a_fleet(house) as fleet, fleet.gateway() as gateway:
        await gateway.chat("a")
        page = (await gateway.client.get("/metrics")).text
        for room in ("x", "y"):
            assert f'fake_engine_up{{room="{room}"}} 1.0' in page
            assert f'dabt_room_adapter_loads_total{{room="{room}"}}' in page
        kinds = [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")]
        assert len(kinds) == len(set(kinds)), "each series is described once"
        busy = [line for line in page.splitlines() if line.startswith("dabt_room_busy{")]
        assert [line.split()[-1] for line in busy] == ["0", "0"], "reading the page is no request"


async def test_a_gateway_answers_for_its_metrics_although_a_room_is_gone(house: Any) -> None:
    async with a_fleet(house) as fleet:
        line = fleet.line()
        async with fleet.gateway(line) as gateway:
            line.vanish_after["x"] = 1
            page = (await gateway.client.get("/metrics")).text
            assert 'fake_engine_up{room="y"} 1.0' in page
            assert 'fake_engine_up{room="x"}' not in page


def test_of_a_rooms_page_no_more_is_shown_than_there_is_room_for() -> None:
    text = "# TYPE vllm:many gauge\n" + "".join(f'vllm:many{{at="{at}"}} 1\n' for at in range(MOST_SAMPLES + 5))
    page = of_rooms({"x": text.encode(), "y": b"# TYPE vllm:many gauge\nvllm:many 2\n"}).decode()
    assert page.count('room="x"') == MOST_SAMPLES
    assert 'vllm:many{room="y"} 2.0' in page
