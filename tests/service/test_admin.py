"""The admin routes: traffic moves at once, and with a reason. Who may move it is `test_access.py`'s."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle.version import Digest

pytestmark = pytest.mark.timeout(300)


async def test_promote_and_rollback_over_http_move_the_traffic_at_once(house: Any, start: Any) -> None:
    for name in ("one", "two"):
        house.adapter(name)
        house.version("triage", adapter=name)
    async with start(house) as running:
        refused = await running.client.post("/admin/promote", json={"ref": "triage:1", "reason": "first"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")
        assert "no verdict" in refused.json()["error"]["message"]
        for number in (1, 2):
            moved = await running.client.post(
                "/admin/promote", json={"ref": f"triage:{number}", "reason": "try", "force": True, "actor": "me"}
            )
            assert moved.status_code == 200
            assert (await running.chat("triage")).json()["dabt"]["version"] == f"triage:{number}"
        back = await running.client.post("/admin/rollback", json={"name": "triage", "reason": "worse"})
        assert back.json()["targets"] == [{"number": 1, "weight": 1.0}]
        assert (await running.chat("triage")).json()["dabt"]["version"] == "triage:1"
    assert house.registry.audit("triage")[0].reason == "worse"


async def test_admin_bodies_are_checked_and_never_take_a_path(house: Any, start: Any) -> None:
    async with start(house) as running:
        bad = await running.client.post("/admin/promote", json={"ref": "", "path": "/etc/passwd"})
        form = await running.client.post(
            "/admin/promote", content=b'{"ref": "a:1", "reason": "b"}', headers={"content-type": "text/plain"}
        )
    assert bad.status_code == 400
    message = bad.json()["error"]["message"]
    assert all(place in message for place in ("ref:", "reason:", "path:"))
    assert form.status_code == 400


async def test_residency_shows_what_is_loaded(house: Any, start: Any) -> None:
    digest: Digest = house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        assert (await running.client.get("/admin/residency")).json()["adapters"] == []
        await running.chat("triage")
        (row,) = (await running.client.get("/admin/residency")).json()["adapters"]
    assert (row["digest"], row["leases"], row["requests"]) == (digest, 0, 1)


async def test_a_version_is_retired_with_a_reason_once_no_alias_points_at_it(house: Any, start: Any) -> None:
    house.version("triage", prompt={"system": "old"})
    house.prod("triage", prompt={"system": "new"})
    async with start(house) as running:
        behind = await running.client.post("/admin/retire", json={"ref": "triage:2", "reason": "tidying"})
        assert (behind.status_code, behind.json()["error"]["code"]) == (403, "not_allowed")
        silent = await running.client.post("/admin/retire", json={"ref": "triage:1"})
        assert silent.status_code == 400
        gone = await running.client.post("/admin/retire", json={"ref": "triage:1", "reason": "replaced"})
        assert (gone.json()["ref"], gone.json()["state"]) == ("triage:1", "retired")
        header = {"x-dabt-purpose": "evaluation"}
        assert (await running.chat("triage:1", headers=header)).json()["error"]["code"] == "not_allowed"
    assert house.registry.audit("triage")[0].reason == "replaced"
