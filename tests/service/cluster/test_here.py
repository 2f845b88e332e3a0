"""Several bases in one process: each has an engine of its own, and all of them are behind one endpoint."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from console.app import Console
from lifecycle.errors import EngineDead, InvalidConfig
from service.adapters.residency import internal_name
from service.config import ServeConfig
from service.engine_side import base_of
from tests.service.cluster.two_bases import Two, other_base, who_said
from tests.service.conftest import fake_base

pytestmark = pytest.mark.timeout(300)


async def test_a_request_goes_to_the_engine_of_its_base(two: Two) -> None:
    async with two.serving() as service:
        for model, said in (
            ("tiny", "base"),
            ("other", "base"),
            *((n, internal_name(two.house.adapters[n])) for n in ("near", "far")),
        ):
            answer = await service.chat(model)
            assert answer.status_code == 200, answer.text
            assert who_said(answer) == said
        assert [each.name for each in two.tiny.loads] == [internal_name(two.house.adapters["near"])]
        assert [each.name for each in two.other.loads] == [internal_name(two.house.adapters["far"])]
        listed = (await service.client.get("/v1/models")).json()["data"]
        assert {card["id"]: card["parent"] for card in listed if ":" not in card["id"]} == {
            "tiny": None, "other": None, "near": "tiny", "far": "other",
        }  # fmt: skip


async def test_adapters_of_both_bases_are_answered_at_the_same_time(two: Two, until: Any) -> None:
    async with two.serving() as service:
        for engine in (two.tiny, two.other):
            engine.faults.hold = asyncio.Event()
        asked = [asyncio.create_task(service.chat(name)) for name in ("near", "far")]
        await until(lambda: len(two.tiny.active) == len(two.other.active) == 1)
        for engine in (two.tiny, two.other):
            assert engine.faults.hold is not None
            engine.faults.hold.set()
        assert [who_said(await each) for each in asked] == [
            internal_name(two.house.adapters[name]) for name in ("near", "far")
        ]


async def test_an_alias_shares_its_traffic_among_versions_over_both(two: Two) -> None:
    other = two.house.version("near", base=two.digest)
    two.house.registry.promote(other.ref, actor="t", reason="t", share=0.5, force=True)
    async with two.serving() as service:
        answers = [await service.chat("near", headers={"x-dabt-session": str(n)}) for n in range(16)]
        said = {answer.headers["x-dabt-version"] for answer in answers}
        assert said == {"near:1", "near:2"}
        cards = (await service.client.get("/v1/models/near")).json()["dabt"]["targets"]
        assert [target["version"] for target in cards] == ["near:1", "near:2"]


async def test_an_engine_that_dies_takes_no_other_with_it_and_is_started_again(two: Two, until: Any) -> None:
    async with two.serving() as service:
        await service.chat("far")
        two.tiny.faults.hold = asyncio.Event()
        under_way = asyncio.create_task(service.chat("near"))
        await until(lambda: two.tiny.active)
        two.other.faults.hold_start = asyncio.Event()
        two.other.die()
        await until(lambda: two.other.starts == 2)
        refused = await service.chat("far")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "5"
        assert "the engine of other is not ready" in refused.json()["error"]["message"]
        assert (await service.chat("other")).status_code == 503
        ready = await service.client.get("/ready")
        assert ready.status_code == 200
        assert {each["name"]: each["ready"] for each in ready.json()["bases"]} == {"tiny": True, "other": False}
        page = (await service.client.get("/metrics")).text
        assert "\ndabt_engine_up 0.0" in page
        assert 'dabt_room_capacity{room="other"} 0' in page
        assert two.tiny.starts == 1
        two.tiny.faults.hold.set()
        assert (await under_way).status_code == 200
        two.other.faults.hold_start.set()

        async def answers() -> bool:
            return (await service.chat("far")).status_code == 200

        await until(answers)
        told = (await service.client.get("/ready")).json()["bases"]
        assert [each["restarts"] for each in told] == [0, 1]


async def test_an_engine_that_cannot_be_kept_running_leaves_the_others_and_all_of_them_end_the_service(
    two: Two, until: Any
) -> None:
    two.configs = [config.model_copy(update={"restart_attempts": 0}) for config in two.configs]
    async with two.serving() as service:
        supervisor = service.app.state.parts.supervisor
        two.other.die()

        async def is_told() -> bool:
            message = str((await service.chat("far")).json().get("error"))
            return "has stopped for good" in message

        await until(is_told)
        assert (await service.chat("near")).status_code == 200
        assert supervisor.fatal is None
        two.tiny.die()
        await until(lambda: supervisor.fatal)
        assert "no engine can be kept running: tiny: the engine died" in supervisor.fatal


async def test_a_base_whose_engine_does_not_start_ends_the_service_with_the_reason(two: Two, until: Any) -> None:
    two.other.faults.start_error = EngineDead("no room for it")
    engine = two.engine()
    app = two.app(engine)
    async with app.router.lifespan_context(app):
        await until(lambda: app.state.parts.supervisor.fatal)
        assert app.state.parts.supervisor.fatal == "no room for it"
    assert two.tiny._dead.is_set(), "what was started is stopped again"


async def test_what_is_pinned_is_in_the_engine_of_its_base_and_comes_back_with_it(two: Two, until: Any) -> None:
    two.configs = [config.model_copy(update={"pin": ("near", "far")}) for config in two.configs]
    async with two.serving() as service:
        loads = lambda engine: [each.name for each in engine.loads]  # noqa: E731
        near, far = (internal_name(two.house.adapters[name]) for name in ("near", "far"))
        assert (loads(two.tiny), loads(two.other)) == ([near], [far])
        told = (await service.client.get("/admin/residency")).json()
        assert {row["name"]: row["pinned"] for row in told["adapters"]} == {near: True, far: True}
        assert told["places"] == 8
        two.other.die()
        await until(lambda: loads(two.other) == [far, far])
        assert loads(two.tiny) == [near]


async def test_pins_are_counted_for_each_engine(two: Two) -> None:
    for name in ("b", "c", "d"):
        two.house.adapter(name)
        two.house.prod(name, adapter=name)
    async with two.serving() as service:
        for name in ("near", "b", "c", "far"):
            assert (await service.client.post("/admin/pin", json={"ref": name})).status_code == 200
        refused = await service.client.post("/admin/pin", json={"ref": "d"})
        assert refused.status_code == 403
        assert "4 adapters cannot be pinned: of 4 places" in refused.json()["error"]["message"]
        assert (await service.client.get("/admin/residency")).json()["pins"] == ["near", "b", "c", "far"]


async def test_a_mass_of_moves_takes_a_quarter_of_the_places_of_its_own_base(two: Two, until: Any) -> None:
    """And not a quarter of all places, which may be most of one base's."""
    two.configs[1] = two.configs[1].model_copy(update={"max_cpu_loras": 12})
    async with two.serving() as service:
        for name in ("near", "far"):
            assert (await service.chat(name)).status_code == 200
        for at in range(8):
            for base, where in ((two.house.base_digest, "here"), (two.digest, "there")):
                two.house.adapter(f"{where}{at}", base=base)
                two.house.prod(f"{where}{at}", adapter=f"{where}{at}", base=base)
        parts = service.app.state.parts
        await asyncio.to_thread(parts.catalogue.refresh)
        await until(lambda: parts.warmer._task is not None and not parts.warmer._ahead and parts.warmer._task.done())
        assert (len(two.tiny.loads), len(two.other.loads)) == (2, 4)
        assert (two.tiny.unloads, two.other.unloads) == ([], [])


async def test_tokens_are_those_of_the_base_that_is_named(two: Two) -> None:
    two.other.max_words = 77
    async with two.serving() as service:

        async def length(**body: str) -> int:
            told = await service.client.post("/tokenize", json={"prompt": "x", **body})
            return int(told.json()["max_model_len"])

        assert [await length(), await length(model="other"), await length(model="far"), await length(model="near")] == [
            4096, 77, 77, 4096,
        ]  # fmt: skip
        unknown = await service.client.post("/tokenize", json={"prompt": "x", "model": "nobody"})
        assert unknown.status_code == 404


async def test_whoever_looks_on_sees_each_base(two: Two) -> None:
    async with two.serving() as service:
        await service.chat("far")
        page = (await service.client.get("/metrics")).text
        for name, digest in (("tiny", two.house.base_digest), ("other", two.digest)):
            assert f'dabt_base_info{{base="{name}",digest="{digest}"}} 1.0' in page
            assert f'fake_engine_up{{room="{name}"}} 1.0' in page
        assert page.count("# TYPE fake_engine_up gauge") == 1
        assert 'dabt_room_resident_adapters{room="other"} 1' in page
        assert "\ndabt_adapter_wait_seconds_count 1.0" in page
        told = (await service.client.get("/v1/dabt/deployment")).json()["deployment"]["arguments"]
        assert list(told["beside"]) == [two.digest]


async def test_the_end_of_the_service_is_the_end_of_both_engines(two: Two) -> None:
    async with two.serving() as service:
        assert (await service.chat("far")).status_code == 200
        await service.app.state.parts.drain(5.0)
        assert (await service.chat("far")).json()["error"]["code"] == "overloaded"
    assert two.tiny._dead.is_set()
    assert two.other._dead.is_set()


async def test_a_job_is_over_the_base_that_its_model_names(two: Two) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{n}"}, {"role": "assistant", "content": "x"}]} for n in range(12)
    ]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    async with two.serving() as service:
        sent = await service.client.post(
            "/v1/files", files={"file": ("rows.jsonl", text)}, data={"purpose": "fine-tune"}
        )
        told = {}
        for model in ("tiny", "other", "near", "far", "nobody"):
            body = {"model": model, "training_file": sent.json()["id"], "seed": 1}
            told[model] = (await service.client.post("/v1/fine_tuning/jobs", json=body)).json()
        jobs = {model: two.house.registry.jobs.get(job["id"], None) for model, job in told.items() if "id" in job}
        assert {model: job.base for model, job in jobs.items()} == {
            "tiny": two.house.base_digest, "near": two.house.base_digest, "other": two.digest, "far": two.digest,
        }  # fmt: skip
        assert (jobs["other"].name, jobs["far"].request.start) == ("ft-other", "far:1")
        assert "this service has tiny, other" in told["nobody"]["error"]["message"]


async def test_the_pages_name_each_base_and_the_one_that_does_not_answer(two: Two, until: Any) -> None:
    two.configs[1] = two.configs[1].model_copy(update={"max_lora_rank": 32})
    two.console = partial(Console, home=two.house.home)
    async with two.serving() as service:
        two.other.faults.hold_start = asyncio.Event()
        two.other.die()
        await until(lambda: two.other.starts == 2)

        async def words(path: str) -> str:
            page = await service.client.get(path)
            assert page.status_code == 200
            return " ".join(re.sub("<[^>]*>", " ", page.text).split())

        watch = await words("/ui/watch")
        assert "answers tiny" in watch
        assert re.search(r"does not answer other the engine died and is being restarted", watch)
        assert "0 of 4 slots taken" in watch
        overview = await words("/ui")
        assert "Requests to other and to versions over it are refused. Other bases answer." in overview
        assert "tiny, other" in overview
        settings = await words("/ui/settings")
        assert "Engine in trouble other: the engine died" in settings
        assert "max_lora_rank tiny: 16; other: 32" in settings
        assert settings.index(two.house.base_digest) < settings.index(two.digest)


def test_two_bases_of_one_kind_or_name_are_told_how_to_be_told_apart(house: Any, tmp_path: Path) -> None:
    tiny = ServeConfig.model_validate({"base": house.base})
    with pytest.raises(InvalidConfig, match=r"is the digest of two bases → serve one of them"):
        base_of(tiny, [ServeConfig.model_validate({"base": fake_base(tmp_path / "again")})])
    other = ServeConfig.model_validate({"base": other_base(tmp_path / "other"), "base_name": "tiny"})
    with pytest.raises(InvalidConfig, match=r"tiny is the name of two bases → name them: --base NAME=BASE"):
        base_of(tiny, [other])
