"""Gates over HTTP: read by whoever may call the name, set by an admin, and in the trail under the key's name."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle.access.keys import Role
from lifecycle.gates import Gate, SuiteFacts
from lifecycle.version import digest_of

pytestmark = pytest.mark.timeout(300)

SUITE = SuiteFacts(task="triage", task_digest=digest_of("task"), data_digest=digest_of("items"), metric="fields")
GATE = Gate(name="triage", policy=digest_of("policy"), policy_name="clinic", suites=(SUITE,))
CHANGE = {"gate": GATE.model_dump(mode="json"), "reason": "ما يحتاجه المرضى"}


async def test_an_admin_sets_a_gate_and_the_trail_names_the_key(house: Any, start: Any) -> None:
    admin = house.key("ops", role=Role.ADMIN)
    async with start(house) as running:
        made = await running.client.post("/admin/gates", json=CHANGE, headers=admin)
        read = await running.client.get("/v1/dabt/gates/triage", headers=admin)
    assert made.status_code == 200
    assert made.json() == read.json() == {"digest": GATE.digest, "gate": GATE.model_dump(mode="json")}
    entry = house.registry.audit("triage")[0]
    assert (entry.action, entry.reason) == ("gate.set", CHANGE["reason"])
    assert entry.actor.startswith("ops (key-")


@pytest.mark.parametrize("role", [Role.CALLER, Role.EVALUATOR, Role.PUBLISHER])
async def test_nobody_below_an_admin_sets_a_gate(house: Any, start: Any, role: Role) -> None:
    key = house.key("app", role=role)
    async with start(house) as running:
        refused = await running.client.post("/admin/gates", json=CHANGE, headers=key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
    assert house.registry.gate("triage") is None


async def test_a_key_reads_the_gates_of_the_names_that_it_covers_alone(house: Any, start: Any) -> None:
    house.registry.set_gate(GATE, actor="test", reason="for the test")
    mine, other = house.key("mine", models=["triage:prod"]), house.key("other", models=["digest"])
    async with start(house) as running:
        read = await running.client.get("/v1/dabt/gates/triage", headers=mine)
        refused = await running.client.get("/v1/dabt/gates/triage", headers=other)
        nothing = await running.client.get("/v1/dabt/gates/digest", headers=other)
    assert read.json()["gate"]["policy_name"] == "clinic"
    assert refused.status_code == 403
    assert nothing.status_code == 404
    assert "dabt gate set digest" in nothing.json()["error"]["message"]


async def test_a_bad_gate_is_refused_with_all_its_faults_and_nothing_is_set(house: Any, start: Any) -> None:
    gate = {**CHANGE["gate"], "suites": [], "path": "/etc/passwd"}  # type: ignore[dict-item]
    async with start(house) as running:
        refused = await running.client.post("/admin/gates", json={"gate": gate})
    message = refused.json()["error"]["message"]
    assert refused.status_code == 400
    assert all(place in message for place in ("gate.suites", "gate.path", "reason"))
    assert house.registry.gate("triage") is None
