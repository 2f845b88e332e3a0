"""What routers outside read: which adapters are asked for and in memory, by the names that callers use, and no more."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from service.observability import router_series
from service.observability.router_series import Loaded

Samples = dict[str, list[tuple[dict[str, str], float]]]


def read(page: str) -> Samples:
    return {
        sample.name: [(one.labels, one.value) for one in family.samples]
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def test_without_the_flag_no_label_names_an_adapter(house: Any, start: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        assert (await running.chat("triage")).status_code == 200
        page = (await running.client.get("/metrics")).text
    assert "lora_requests_info" not in page
    assert "lora_adapter_loaded" not in page


async def test_running_waiting_and_loaded_adapters_have_the_names_that_callers_ask_by(
    house: Any, start: Any, until: Any
) -> None:
    for name in ("one", "two", "three"):
        house.adapter(name)
        house.prod(name, adapter=name)
    async with start(house, router_series=True, pin=("one",), turn_seconds=0.0) as running:
        gate = running.app.state.parts.gate
        running.engine.faults.hold = asyncio.Event()
        asked = [asyncio.create_task(running.chat(name)) for name in ("one", "two", "three")]
        # Not by the slots taken: an adapter that is being verified holds one too, while its request waits.
        await until(lambda: len(running.engine.active) == 2 and gate.waiting == 1)
        before = read((await running.client.get("/metrics")).text)
        running.engine.faults.hold.set()
        assert {reply.status_code for reply in await asyncio.gather(*asked)} == {200}
        after = read((await running.client.get("/metrics")).text)
        listed = {card["id"]: card["parent"] for card in (await running.client.get("/v1/models")).json()["data"]}
    ((labels, moment),) = before["vllm:lora_requests_info"]
    now, later = (set(labels[f"{kind}_lora_adapters"].split(",")) for kind in ("running", "waiting"))
    assert labels["max_lora"] == "2"
    assert now | later == {"one", "two", "three"}
    assert (len(now), len(later)) == (2, 1)
    ((idle, newer),) = after["vllm:lora_requests_info"]
    assert newer > moment, "routers take the newest"
    assert (idle["running_lora_adapters"], idle["waiting_lora_adapters"]) == ("", "")
    loaded = {one["adapter_name"]: one for one, _ in after["vllm:lora_adapter_loaded"]}
    assert loaded.keys() == {"one", "two", "three"}
    assert loaded["one"] == {"adapter_name": "one", "level": "cpu", "pinned": "true", "rank": "8"}
    assert loaded["two"]["pinned"] == "false"
    assert {name: listed[name] for name in loaded} == dict.fromkeys(loaded, "tiny"), "each is a child of the base"


def test_a_page_stays_of_a_size_however_many_names_there_are(monkeypatch: Any) -> None:
    monkeypatch.setattr(router_series, "MOST_NAMES", 3)
    digests = [f"sha256:{number:064}" for number in range(4)]
    names = {digest: [f"a-{number}", f"b-{number}"] for number, digest in enumerate(digests)}
    loaded = [Loaded(digest, 8, True, False, False) for digest in digests]
    told = read(router_series.page(loaded, [], names, 4, lambda: 7.0).decode())
    ((labels, moment),) = told["vllm:lora_requests_info"]
    assert (labels["running_lora_adapters"], moment) == ("a-0,b-0,a-1", 7.0)
    assert [one["adapter_name"] for one, _ in told["vllm:lora_adapter_loaded"]] == ["a-0", "b-0", "a-1"]


def test_requests_that_wait_before_the_engine_are_waiting_for_a_router() -> None:
    page = b'vllm:num_requests_waiting{engine="0",model_name="tiny"} 2.0\nvllm:num_requests_running{engine="0"} 1.0\n'
    told = router_series.with_those_at_the_gate(page, {"": 5}).decode()
    assert told.splitlines()[0] == 'vllm:num_requests_waiting{engine="0",model_name="tiny"} 7.0'
    assert told.splitlines()[1] == page.decode().splitlines()[1]
    assert router_series.with_those_at_the_gate(b"", {"": 5}) == b""


def test_those_who_wait_before_one_of_several_engines_are_counted_at_that_one() -> None:
    series = "vllm:num_requests_waiting"
    names = ['a"b', "c\\d}", "c"]
    rooms = [
        (names[0], '{engine="0",room="a\\"b"}'),
        (names[1], '{engine="0",room="c\\\\d}"}'),
        (names[2], '{room="c"}'),
    ]
    page = "".join(f"{series}{labels} {at}.0\n" for at, (_, labels) in enumerate(rooms))
    page += f'{series}{{engine="1",room="c"}} 9.0\n{series}_by_reason{{room="c"}} 7.0\n'
    told = router_series.with_those_at_the_gate(page.encode(), dict(zip(names, (10, 20, 30), strict=True))).decode()
    assert [line.rsplit(" ", 1)[1] for line in told.splitlines()] == ["10.0", "21.0", "32.0", "9.0", "7.0"]


def test_an_adapter_that_two_engines_hold_is_told_of_each() -> None:
    loaded = [Loaded("sha256:1", 8, True, False, False, room) for room in ("x", "y")]
    told = read(router_series.page(loaded, [], {"sha256:1": ["near"]}, 4).decode())
    assert [one["room"] for one, _ in told["vllm:lora_adapter_loaded"]] == ["x", "y"]
    assert told["vllm:lora_requests_info"][0][0]["running_lora_adapters"] == "near"


def test_an_adapter_has_every_name_that_leads_to_it(house: Any) -> None:
    from service.catalogue import Catalogue

    house.adapter("one")
    house.prod("triage", adapter="one")
    house.registry.promote("triage:1", actor="t", reason="r", alias="canary", force=True)
    catalogue = Catalogue(house.registry, 0.25)
    catalogue.refresh()
    names = router_series.Names()
    assert names.of(catalogue.snapshot) == {house.adapters["one"]: ["triage:canary", "triage"]}
    assert names.of(catalogue.snapshot) is names.of(catalogue.snapshot)
