"""Ahead of any request: what is preloaded, pinned, and loaded because an alias was moved."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from lifecycle.manifests import GoldenPrompt
from lifecycle.registry import Registry

pytestmark = pytest.mark.timeout(300)

IMPOSSIBLE = GoldenPrompt(prompt_ids=(1,), completion_ids=(2,), adapter_logprobs=(-90.0,), base_logprobs=(-91.0,))
"""What no engine computes."""


def names(house: Any, *letters: str) -> None:
    """`a` … in production, each with an adapter of that name."""
    for letter in letters:
        house.adapter(letter)
        house.prod(letter, adapter=letter)


async def rows(running: Any) -> dict[str, Any]:
    found = (await running.client.get("/admin/residency")).json()
    return {row["digest"]: row for row in found["adapters"]}


async def resident(house: Any, running: Any) -> set[str]:
    here = await rows(running)
    return {name for name, digest in house.adapters.items() if digest in here}


async def order(running: Any, what: str, ref: str) -> Any:
    return await running.client.post(f"/admin/{what}", json={"ref": ref})


async def test_what_is_preloaded_is_in_memory_when_the_service_is_ready(house: Any, start: Any) -> None:
    names(house, "a", "b", "c")
    async with start(house, preload=("a:1", "b")) as running:
        assert await resident(house, running) == {"a", "b"}
        assert (await running.chat("a")).status_code == 200
        assert len(running.engine.loads) == 2


async def test_prod_preloads_every_prod_alias_as_far_as_there_is_room(house: Any, start: Any) -> None:
    names(house, "a", "b", "c", "d", "e", "f")
    house.prod("plain", prompt={"system": "no adapter"})
    async with start(house, preload=("prod",)) as running:
        assert len(await resident(house, running)) == 4
        assert running.engine.unloads == []


async def test_a_preload_that_fails_does_not_keep_the_service_from_starting(house: Any, start: Any) -> None:
    names(house, "a", "b")
    (house.store.get(house.adapters["a"]) / "adapter_model.safetensors").chmod(0o644)
    (house.store.get(house.adapters["a"]) / "adapter_model.safetensors").write_text("damaged")
    house.store._verified.clear()
    async with start(house, preload=("a", "b", "nobody", "tiny:prod")) as running:
        assert await resident(house, running) == {"b"}
        assert (await running.chat("b")).status_code == 200


async def test_a_pin_that_is_not_in_memory_is_counted_for_all_and_explained_to_those_who_may_see_it(
    house: Any, start: Any
) -> None:
    """The registry's pin `z` is of a service with another base; its own configuration names no other's."""
    names(house, "a")
    house.adapter("broken", golden=(IMPOSSIBLE,))
    house.prod("b", adapter="broken")
    another = f"sha256:{'1' * 64}"
    house.adapter("elsewhere", base=another)
    house.prod("z", adapter="elsewhere", base=another)
    for name in "bz":
        house.registry.pins.set(name, actor="amal")
    async with start(house, pin=("a", "nobody")) as running:
        ready = await running.client.get("/ready")
        missing = (await running.client.get("/admin/residency")).json()["pins_missing"]
        page = (await running.client.get("/metrics")).text
    assert (ready.status_code, ready.json()["pins_missing"]) == (200, 2)
    assert "dabt_pins_missing 2.0" in page
    assert set(missing) == {"b", "nobody"}
    assert "golden" in missing["b"]
    assert missing["nobody"].startswith("the registry has no nobody")
    assert "golden" not in ready.text


async def test_a_pinned_version_is_never_evicted_and_unpinning_ends_that(house: Any, start: Any) -> None:
    names(house, "a", "b", "c", "d", "e")
    async with start(house) as running:
        pinned = (await order(running, "pin", "a")).json()
        assert pinned == {"ref": "a", "adapters": [house.adapters["a"]], "classifiers": [], "pinned": True}
        for letter in "bcde":
            await running.chat(letter)
        assert (await rows(running))[house.adapters["a"]]["pinned"]
        assert (await running.client.get("/admin/residency")).json()["pins"] == ["a"]
        await order(running, "unpin", "a")
        for letter in "bcde":
            await running.chat(letter)
        assert "a" not in await resident(house, running)


async def test_pins_of_the_configuration_hold_from_the_start(house: Any, start: Any) -> None:
    names(house, "a", "b", "c", "d", "e")
    async with start(house, pin=("a",)) as running:
        assert await resident(house, running) == {"a"}
        for letter in "bcde":
            await running.chat(letter)
        assert "a" in await resident(house, running)


async def test_a_pin_made_while_the_service_runs_holds_after_a_start(house: Any, start: Any) -> None:
    names(house, "a", "b", "c", "d", "e")
    async with start(house) as running:
        await order(running, "pin", "a")
    async with start(house) as running:
        assert await resident(house, running) == {"a"}
        for letter in "bcde":
            await running.chat(letter)
        assert "a" in await resident(house, running)
        assert (await running.client.get("/admin/residency")).json()["pins"] == ["a"]


async def test_a_pin_of_the_configuration_is_ended_there(house: Any, start: Any) -> None:
    names(house, "a")
    async with start(house, pin=("a",)) as running:
        refused = await order(running, "unpin", "a")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")
    assert "configuration" in refused.json()["error"]["message"]


async def test_a_pin_follows_its_alias(house: Any, start: Any, until: Any) -> None:
    names(house, "old", "other")
    house.adapter("new")
    async with start(house, pin=("old",), max_cpu_loras=2) as running:
        house.prod("old", adapter="new")

        async def moved() -> bool:
            here = await rows(running)
            return house.adapters["new"] in here and here[house.adapters["new"]]["pinned"]

        await until(moved)
        assert not any(
            row["pinned"] for digest, row in (await rows(running)).items() if digest == house.adapters["old"]
        )


async def test_pinning_every_place_is_refused(house: Any, start: Any) -> None:
    names(house, "a", "b")
    async with start(house, max_cpu_loras=2) as running:
        assert (await order(running, "pin", "a")).status_code == 200
        refused = await order(running, "pin", "b")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")
        assert "one must stay free" in refused.json()["error"]["message"]
        assert (await running.client.get("/admin/residency")).json()["pins"] == ["a"]
        assert (await running.chat("b")).status_code == 200


@pytest.mark.parametrize(
    ("what", "ref", "status", "says"),
    [
        ("pin", "nobody", 404, "no nobody"),
        ("preload", "a:9", 404, "a:9"),
        ("preload", "plain", 400, "no adapter"),
        ("preload", "../../etc/passwd", 400, "names no model"),
        ("pin", "/etc/passwd", 400, "names no model"),
        ("unpin", "a", 404, "not pinned"),
    ],
)
async def test_what_cannot_be_ordered_is_refused_with_the_reason(
    house: Any, start: Any, what: str, ref: str, status: int, says: str
) -> None:
    names(house, "a")
    house.prod("plain", prompt={"system": "no adapter"})
    async with start(house) as running:
        reply = await order(running, what, ref)
    assert reply.status_code == status
    assert says in reply.json()["error"]["message"]


async def test_orders_take_no_path(house: Any, start: Any) -> None:
    async with start(house) as running:
        reply = await running.client.post("/admin/preload", json={"ref": "a", "path": "/tmp/adapter"})
    assert reply.status_code == 400
    assert "path:" in reply.json()["error"]["message"]


async def test_a_version_promoted_elsewhere_is_loaded_before_anyone_asks(house: Any, start: Any, until: Any) -> None:
    names(house, "a")
    house.adapter("next")
    version = house.version("a", adapter="next")
    async with start(house) as running:
        with Registry.open(house.home.registry_url) as elsewhere:
            elsewhere.promote(version.ref, actor="other", reason="better", force=True)

        async def loaded() -> bool:
            return "next" in await resident(house, running)

        await until(loaded)
        answer = await running.chat("a")
        assert answer.json()["dabt"]["version"] == "a:2"
        assert len(running.engine.loads) == 1


async def test_a_promotion_over_http_loads_before_it_moves(house: Any, start: Any) -> None:
    names(house, "a")
    house.adapter("next")
    version = house.version("a", adapter="next")
    async with start(house) as running:
        body = {"ref": version.ref, "reason": "better", "force": True}
        assert (await running.client.post("/admin/promote", json=body)).status_code == 200
        assert "next" in await resident(house, running)


async def test_a_promoted_adapter_that_does_not_load_is_no_other_requests_error(
    house: Any, start: Any, until: Any
) -> None:
    names(house, "a", "b")
    house.adapter("broken", golden=(_impossible(),))
    async with start(house) as running:
        house.prod("a", adapter="broken")
        await until(lambda: running.engine.unloads)
        assert (await running.chat("b")).status_code == 200
        failed = await running.chat("a")
        assert (failed.status_code, failed.json()["error"]["code"]) == (503, "adapter_unloadable")


async def test_what_is_leased_is_not_pushed_out_by_a_promotion(house: Any, start: Any, until: Any) -> None:
    names(house, "a", "b")
    house.adapter("next")
    async with start(house, max_cpu_loras=2) as running:
        running.engine.faults.hold = asyncio.Event()
        asking = [asyncio.create_task(running.chat(letter)) for letter in "ab"]
        await until(lambda: len(running.engine.active) == 2)
        house.prod("a", adapter="next")
        await until(lambda: running.app.state.parts.catalogue.snapshot.aliases["a"]["prod"].targets[0].number == 2)
        assert running.engine.unloads == []
        running.engine.faults.hold.set()
        assert [reply.status_code for reply in await asyncio.gather(*asking)] == [200, 200]
        assert (await running.chat("a")).json()["dabt"]["version"] == "a:2"


async def test_a_mass_of_moves_does_not_wash_out_what_callers_use(house: Any, start: Any, until: Any) -> None:
    names(house, "a", "b", "c")
    for at in range(8):
        house.adapter(f"new{at}")
    async with start(house, max_cpu_loras=4) as running:
        for letter in "abc":
            await running.chat(letter)
        parts = running.app.state.parts
        for at in range(8):
            house.prod(f"mass{at}", adapter=f"new{at}")
            await asyncio.to_thread(parts.catalogue.refresh)
        await until(lambda: "mass7" in parts.catalogue.snapshot.aliases)
        await until(lambda: not parts.warmer._ahead and (parts.warmer._task is None or parts.warmer._task.done()))
        assert {"a", "b", "c"} <= await resident(house, running)


async def test_after_the_engine_died_pins_are_back_before_the_service_is_ready(
    house: Any, start: Any, until: Any
) -> None:
    names(house, "a", "b")
    async with start(house, preload=("b",)) as running:
        await order(running, "pin", "a")
        running.engine.die()
        running.app.state.parts.supervisor.suspect()
        await until(lambda: running.engine.starts == 2)
        await until(running.ready)
        assert await resident(house, running) == {"a", "b"}


def _impossible() -> Any:
    from lifecycle.manifests import GoldenPrompt

    return GoldenPrompt(prompt_ids=(1,), completion_ids=(2,), adapter_logprobs=(-90.0,), base_logprobs=(-91.0,))


async def test_a_store_that_hangs_does_not_keep_the_service_from_being_ready(
    house: Any, start: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(house, "a", "b")
    gate, get = threading.Event(), house.store.get
    monkeypatch.setattr(house.store, "get", lambda digest: get(digest) if gate.wait() else None)
    monkeypatch.setattr("service.adapters.warming._AT_START", 0.1)
    async with start(house, preload=("a", "b")) as running:
        house.prod("plain", prompt={"system": "no adapter"})
        assert await resident(house, running) == set()
        assert (await running.chat("tiny")).status_code == 200
        gate.set()
        for digest in house.adapters.values():
            await until(lambda digest=digest: digest in running.app.state.parts.residency.digests())
