"""What a fleet holds: pins made at any gateway, what rooms tell of their memory, and their series on a gateway."""

from __future__ import annotations

from typing import Any

import pytest

from service.cluster.room import EngineRoom
from service.cluster.room_series import MOST_SAMPLES, of_rooms
from service.cluster.scaling import LATELY, Memory
from tests.service.cluster.rooms_here import a_fleet

pytestmark = pytest.mark.timeout(300)


def names(house: Any, *letters: str) -> None:
    for letter in letters:
        house.adapter(letter)
        house.prod(letter, adapter=letter)


async def test_a_pin_made_at_one_gateway_holds_in_every_room_and_in_those_that_start_later(
    house: Any, until: Any
) -> None:
    names(house, "a", "b")
    async with a_fleet(house) as fleet, fleet.gateway() as one, fleet.gateway() as other:
        pinned = await one.client.post("/admin/pin", json={"ref": "a"})
        assert pinned.json()["pinned"]
        assert pinned.json()["adapters"] == [house.adapters["a"]]
        await until(lambda: all(pins_of(room) == {house.adapters["a"]} for room in fleet.rooms.values()))
        await until(lambda: other.app.state.parts.warmer.pins == ("a",))
    async with a_fleet(house) as fleet, fleet.gateway() as gateway:
        assert all(pins_of(room) == {house.adapters["a"]} for room in fleet.rooms.values()), "when they are ready"
        assert (await gateway.client.post("/admin/unpin", json={"ref": "a"})).status_code == 200
        await until(lambda: not any(pins_of(room) for room in fleet.rooms.values()))
        missing = await gateway.client.post("/admin/unpin", json={"ref": "a"})
        assert missing.status_code == 404


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
