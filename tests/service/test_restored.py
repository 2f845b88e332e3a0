"""A service over what `dabt restore` put back answers as the one before did, and `dabt gc` beside it takes nothing."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import timedelta

from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.upkeep.backup import back_up
from lifecycle.upkeep.collection import Rule, collect
from lifecycle.upkeep.restore import restore
from tests.service.conftest import House

NOW = Rule(grace=timedelta(0))


async def answers(running, key: dict[str, str]) -> list[tuple[int, str, str]]:
    told = []
    for model in ("triage", "triage:1", "digest", "nothing"):
        answer = await running.chat(model, "مرحبا", headers=key)
        body = answer.json()
        text = body["choices"][0]["message"]["content"] if answer.status_code == 200 else body["error"]["code"]
        told.append((answer.status_code, text, body.get("dabt", {}).get("version", "")))
    return told


async def test_a_service_over_a_restored_home_answers_as_before_and_asks_for_the_same_keys(house, start, tmp_path):
    for name in ("one", "two", "three"):
        house.adapter(name)
    house.prod("triage", adapter="one")
    house.prod("triage", adapter="two")
    house.prod("digest", adapter="three")
    key = house.key("app")
    async with start(house) as running:
        done = back_up(house.home, tmp_path / "backup")
        before = await answers(running, key)
    assert len(done.backup.artifacts) == 3
    house.registry.close()
    shutil.rmtree(house.home.root)
    restore(house.home, tmp_path / "backup", actor="amal")
    with closing(Registry.open(house.home.registry_url)) as registry:
        again = House(house.home, house.base, registry, ArtifactStore(house.home.artifacts_url, house.home.cache))
        async with start(again) as running:
            assert await answers(running, key) == before
            assert (await running.chat("triage")).status_code == 401
    assert [status for status, *_ in before] == [200, 403, 200, 404]
    assert len({text for _, text, _ in before}) == 4


async def test_collecting_beside_a_service_takes_nothing_that_it_serves(house, start):
    for name in ("one", "two", "old"):
        house.adapter(name)
    house.prod("triage", adapter="one")
    house.prod("triage", adapter="two")
    old = house.version("triage", adapter="old")
    async with start(house) as running:
        assert (await running.chat("triage")).json()["dabt"]["version"] == "triage:2"
        house.registry.retire(old.ref, actor="amal", reason="old")
        gone = collect(house.registry, house.store, NOW, actor="amal").leftovers
        assert [leftover.digest for leftover in gone] == [old.spec.adapter]
        house.registry.rollback("triage", actor="amal", reason="back")
    async with start(house) as running:
        answer = await running.chat("triage")
        assert (answer.status_code, answer.json()["dabt"]["version"]) == (200, "triage:1")
