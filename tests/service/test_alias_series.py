"""Aliases as series: where traffic goes, as of the last reading of the registry."""

from __future__ import annotations

from typing import Any

import pytest

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
