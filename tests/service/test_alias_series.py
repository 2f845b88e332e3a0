"""Aliases as series: where traffic goes, as of the last reading of the registry."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle.states import State
from service.catalogue import Snapshot
from service.observability import alias_series


async def test_the_page_says_where_each_alias_points_and_follows_a_move(house: Any, start: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        before = (await running.client.get("/metrics")).text
        house.prod("triage", prompt={"system": "Be brief."})
        running.app.state.parts.catalogue.refresh()
        after = (await running.client.get("/metrics")).text
    assert 'dabt_alias_weight{alias="prod",name="triage",version="triage:1"} 1.0' in before
    assert 'dabt_alias_weight{alias="prod",name="triage",version="triage:2"} 1.0' in after
    assert 'version="triage:1"} 1.0' not in after
    assert "dabt_registry_versions 2.0" in after
    assert "dabt_registry_aliases 1.0" in after


async def test_past_the_bound_aliases_are_counted_and_not_shown(
    house: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alias_series, "MAX_ALIAS_SERIES", 2)
    for name in ("a", "b", "c"):
        house.prod(name)
    async with start(house) as running:
        page = (await running.client.get("/metrics")).text
    assert page.count("dabt_alias_weight{") == 2
    assert "dabt_registry_aliases 3.0" in page


async def test_a_doubted_version_behind_an_alias_is_a_series_of_its_own_and_no_other_is(
    house: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        house.prod(name)
    async with start(house) as running:
        catalogue = running.app.state.parts.catalogue
        assert "dabt_alias_doubted{" not in (await running.client.get("/metrics")).text
        catalogue.snapshot = with_state(catalogue.snapshot, {"a": State.DOUBTED, "b": State.APPROVED})
        page = (await running.client.get("/metrics")).text
        catalogue.snapshot = with_state(catalogue.snapshot, dict.fromkeys("abc", State.DOUBTED))
        monkeypatch.setattr(alias_series, "MAX_ALIAS_SERIES", 2)
        many = (await running.client.get("/metrics")).text
    assert 'dabt_alias_doubted{alias="prod",name="a",version="a:1"} 1.0' in page
    assert page.count("dabt_alias_doubted{") == 1
    assert many.count("dabt_alias_doubted{") == 2


def with_state(snapshot: Snapshot, states: dict[str, State]) -> Snapshot:
    versions = {
        name: {
            number: version.model_copy(update={"state": states.get(name, version.state)})
            for number, version in of_name.items()
        }
        for name, of_name in snapshot.versions.items()
    }
    return snapshot.model_copy(update={"versions": versions})
