"""Gateways before engine rooms, when one machine of theirs fails: cut from the registry, without disk, or slow."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest

from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from service.adapters.residency import internal_name
from tests.lifecycle.conftest import postgres, postgres_url  # noqa: F401
from tests.service.cluster.rooms_here import a_fleet
from tests.service.faults.test_disk import MIB, adapter, fill
from tests.service.faults.test_registry import Cable, promote, two_versions

pytestmark = pytest.mark.timeout(300)


def who_said(answer: Any) -> str:
    return str(answer.json()["choices"][0]["message"]["content"].split()[0])


@pytest.mark.e2e
async def test_a_gateway_that_is_cut_from_the_registry_answers_as_before_and_loses_no_write(
    house: Any,
    until: Any,
    postgres_url: str,  # noqa: F811
) -> None:
    """The other gateway goes on; what it was told meanwhile is what both serve once the line is back."""
    port = postgres_url.split("127.0.0.1:")[1].split("/", maxsplit=1)[0]
    cable = Cable(int(port))
    house.registry.close()
    house.registry = there = Registry.open(postgres_url)
    two_versions(house)
    said = {f"triage:{at}": internal_name(house.adapters[name]) for at, name in enumerate(("one", "two"), start=1)}
    async with a_fleet(house) as fleet, fleet.gateway() as well:
        house.registry = cut = Registry.open(postgres_url.replace(f":{port}/", f":{cable.port}/"))
        async with fleet.gateway() as lost:
            assert (await lost.chat("triage")).json()["dabt"]["version"] == "triage:1"
            catalogue = lost.app.state.parts.catalogue
            cable.pull()
            await until(lambda: catalogue.problem is not None)
            done, wrong = asyncio.Event(), []

            async def ask_on(gateway: Any) -> int:
                asked = 0
                while not done.is_set() or not asked:
                    answer = await gateway.chat("triage")
                    asked += 1
                    version = answer.json().get("dabt", {}).get("version")
                    if answer.status_code != 200 or who_said(answer) != said[version]:
                        wrong.append(answer.text)
                return asked

            asking = [asyncio.create_task(ask_on(gateway)) for gateway in (lost, well)]
            acknowledged = []
            for at in range(8):
                assert (await promote(well, "triage:2", f"other{at}")).status_code == 200
                acknowledged.append(f"other{at}")
                refused = await promote(lost, "triage:2", f"never{at}")
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
            assert (await promote(well, "triage:2")).status_code == 200
            assert (await well.chat("triage")).json()["dabt"]["version"] == "triage:2"
            assert (await lost.chat("triage")).json()["dabt"]["version"] == "triage:1", "the last known state"
            assert (await lost.client.get("/ready")).json()["registry"]["problem"]
            cable.cut = False
            await until(lambda: catalogue.problem is None)
            assert (await lost.chat("triage")).json()["dabt"]["version"] == "triage:2"
            done.set()
            assert all(await asyncio.gather(*asking))
            assert wrong == []
            names = {alias.alias for alias in there.aliases("triage")}
            assert names == {"prod", *acknowledged}, "what was acknowledged is there, and what was refused is not"
        cut.close()
    house.registry = there
    cable.close()


async def test_a_room_whose_disk_is_full_is_passed_over_and_all_are_answered(
    house: Any, small_disk: Path, tmp_path: Path, until: Any
) -> None:
    bucket = f"memory://{uuid.uuid4().hex}"
    house.store = ArtifactStore(bucket, tmp_path / "cache")
    names = "abcdef"
    for name in names:
        adapter(house, tmp_path, name, MIB // 4)
    stores = {"x": ArtifactStore(bucket, small_disk / "cache"), "y": ArtifactStore(bucket, tmp_path / "y")}
    fill(small_disk)
    async with a_fleet(house, stores=stores, max_cpu_loras=8) as fleet:
        line = fleet.line()
        async with fleet.gateway(line) as gateway:
            answers = [(name, await gateway.chat(name)) for _ in range(2) for name in names]
            assert {answer.status_code for _, answer in answers} == {200}
            assert all(who_said(answer) == internal_name(house.adapters[name]) for name, answer in answers)
            assert "x" in line.went, "it was asked, and said no"
            assert fleet.engines["x"].loads == []
            told = fleet.rooms["x"].card().failures
            assert told
            assert all("is full" in why for why in told.values())
            assert (await gateway.chat("tiny")).status_code == 200


async def test_a_slow_room_gives_right_answers_and_keeps_nobody_from_the_others(house: Any, until: Any) -> None:
    for name in "abcd":
        house.adapter(name)
        house.prod(name, adapter=name)
    async with a_fleet(house, max_loras=4) as fleet:
        line = fleet.line()
        async with fleet.gateway(line) as gateway:
            for name in "abcd":
                await gateway.chat(name)
            homes = dict(zip("abcd", line.went[-4:], strict=True))
            slow = homes["a"]
            fleet.engines[slow].faults.hold = asyncio.Event()
            line.went.clear()
            waiting = [asyncio.create_task(gateway.chat("a")) for _ in range(8)]
            await until(lambda: len(line.went) >= 8)
            # More than its share of what is under way it is not given: the rest are answered elsewhere, at once.
            done, still = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert done
            others = [await gateway.chat(name) for name in "bcd" for _ in range(3)]
            assert {answer.status_code for answer in others} == {200}
            fleet.engines[slow].faults.hold.set()
            answers = await asyncio.gather(*waiting)
            assert {answer.status_code for answer in answers} == {200}
            assert {who_said(answer) for answer in answers} == {internal_name(house.adapters["a"])}
            assert len(set(line.went)) == 2
            assert still
