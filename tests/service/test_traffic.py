"""Canaries and shadows in the running service: judged by live requests, rolled back once, copied without a trace."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from lifecycle.errors import Unavailable
from lifecycle.traffic import CanaryBounds, TrafficPolicy
from service.adapters.residency import internal_name
from service.engine.interface import EngineAnswer
from service.traffic.shadow_records import Records
from tests.lifecycle.conftest import report_on

pytestmark = pytest.mark.timeout(300)


def canary(house: Any, share: float = 0.5, **bounds: Any) -> None:
    """triage:1 in production, triage:2 beside it with its share, and the bounds that it must keep."""
    house.adapter("one")
    house.adapter("two")
    house.prod("triage", adapter="one")
    bounded(house, TrafficPolicy(canary=CanaryBounds.model_validate(bounds)))
    version = house.version("triage", adapter="two")
    house.registry.promote(version.ref, actor="test", reason="try", force=True, share=share)


def bounded(house: Any, policy: TrafficPolicy) -> None:
    house.registry.amend_policy("triage", "prod", lambda _: policy, actor="test", reason="care")


def standing(house: Any) -> list[int]:
    return [target.number for target in house.registry.alias("triage", "prod").targets]


async def rolled_back(running: Any, house: Any, until: Any) -> None:
    """Wait for the registry, and for the service to have seen it."""
    await until(lambda: standing(house) == [1])
    snapshot = running.app.state.parts.catalogue
    await until(lambda: len(snapshot.snapshot.aliases["triage"]["prod"].targets) == 1)


async def sessions(running: Any, count: int, **extra: Any) -> list[Any]:
    """So many requests, in small groups, each of a session of its own."""
    replies: list[Any] = []
    for start in range(0, count, 10):
        asked = [running.chat("triage", user=f"user-{start + at}", **extra) for at in range(10)]
        replies += await asyncio.gather(*asked)
    return replies


def unloadable(running: Any, house: Any) -> None:
    """The canary's adapter does not load, and every group of requests tries it again: no pause lasts."""
    running.engine.faults.load_errors[str(house.store.get(house.adapters["two"]))] = "rank 512"
    hours = itertools.count(step=3600.0)
    running.app.state.parts.residency._limits.clock = lambda: next(hours)


async def metrics(running: Any) -> dict[str, float]:
    page = (await running.client.get("/metrics")).text
    lines = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def alerts(logs: list[Any]) -> list[Any]:
    return [line for line in logs if line["event"] == "canary rolled back"]


# -- canaries ------------------------------------------------------------------------------------------------------


async def test_a_canary_that_cannot_be_loaded_is_rolled_back_by_itself(
    house: Any, start: Any, until: Any, logs: list[Any]
) -> None:
    canary(house, max_error_rate=0.05)
    async with start(house) as running:
        unloadable(running, house)
        replies = await sessions(running, 80)
        await rolled_back(running, house, until)
        after = await sessions(running, 40)
        await until(lambda: alerts(logs))
        values = await metrics(running)
    assert {reply.status_code for reply in replies} == {200, 503}, "the incumbent answered all the while"
    assert {reply.json()["dabt"]["version"] for reply in after} == {"triage:1"}
    entry = house.registry.audit("triage")[0]
    assert (entry.action, entry.actor) == ("alias.rollback", "canary-guard")
    assert "requests failed, 1.000 [" in entry.reason
    assert (entry.detail["figures"]["name"], entry.detail["figures"]["value"]) == ("error_rate", 1.0)
    (alert,) = alerts(logs)
    assert (alert["log_level"], alert["alias"], alert["canary"]) == ("error", "triage:prod", "triage:2")
    assert values['dabt_canary_rollbacks_total{alias="triage:prod"}'] == 1.0


async def test_a_canary_that_answers_well_stays(house: Any, start: Any) -> None:
    canary(house, max_error_rate=0.05, max_ttft_ratio=50, guards={"empty": 0.05})
    async with start(house) as running:
        await sessions(running, 120)
        figures = (await running.client.get("/admin/traffic/triage")).json()["aliases"][0]["figures"]
    assert standing(house) == [1, 2]
    assert {figure["name"] for figure in figures} == {"error_rate", "ttft", "empty"}
    assert next(figure["n"] for figure in figures if figure["name"] == "error_rate") > 20


@pytest.mark.parametrize("mistake", [{"temperature": "hot"}, {"messages": []}, {"stream": "yes"}])
async def test_a_callers_own_mistake_is_no_evidence_against_the_canary(
    house: Any, start: Any, mistake: dict[str, Any]
) -> None:
    canary(house, max_error_rate=0.05)
    async with start(house) as running:
        replies = await sessions(running, 80, **mistake)
        parts = running.app.state.parts
        figures = parts.traffic.guard.figures(parts.catalogue.snapshot.aliases["triage"]["prod"])
    assert {reply.status_code for reply in replies} == {400}
    assert [figure.n for figure in figures] == [0]
    assert standing(house) == [1, 2]


async def test_the_engines_death_is_no_evidence_against_the_canary(house: Any, start: Any, until: Any) -> None:
    canary(house, max_error_rate=0.05)
    async with start(house) as running:
        running.engine.faults.break_stream_after = 2
        await sessions(running, 40)
        parts = running.app.state.parts
        await until(lambda: not len(parts.traffic.background))
        figures = parts.traffic.guard.figures(parts.catalogue.snapshot.aliases["triage"]["prod"])
    assert [figure.bad for figure in figures] == [0]
    assert standing(house) == [1, 2]


def is_canary(house: Any, call: Any) -> bool:
    return call.adapter is not None and call.adapter.name == internal_name(house.adapters["two"])


def answers(running: Any, house: Any, incumbent: list[str]) -> None:
    """In these words, by the incumbent; the canary answers as the fake engine does."""
    inner = running.engine._words

    def words(call: Any, index: int) -> tuple[list[str], str]:
        result: tuple[list[str], str] = inner(call, index) if is_canary(house, call) else (incumbent, "stop")
        return result

    running.engine._words = words


@pytest.mark.parametrize("stream", [False, True])
async def test_a_canary_whose_answers_break_a_guard_is_rolled_back(
    house: Any, start: Any, until: Any, stream: bool
) -> None:
    canary(house, guards={"not_json": 0.05})
    async with start(house) as running:
        answers(running, house, ["{}"])
        await sessions(running, 80, stream=stream)
        await rolled_back(running, house, until)
    assert "requests were not_json" in house.registry.audit("triage")[0].reason


async def judged(running: Any, until: Any) -> list[Any]:
    """Every figure of triage:prod once all that was asked has been looked at."""
    parts = running.app.state.parts
    await until(lambda: not len(parts.traffic.background))
    figures: list[Any] = parts.traffic.guard.figures(parts.catalogue.snapshot.aliases["triage"]["prod"])
    return figures


async def test_what_every_target_answers_alike_is_no_evidence(house: Any, start: Any, until: Any) -> None:
    """Nobody asked either of them for JSON."""
    canary(house, guards={"not_json": 0.05})
    async with start(house) as running:
        await sessions(running, 120)
        (figure,) = await judged(running, until)
    assert (figure.value, figure.baseline) == (1.0, 1.0)
    assert standing(house) == [1, 2]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_that_its_caller_cut_is_no_evidence(
    house: Any, start: Any, until: Any, limit: str, stream: bool
) -> None:
    canary(house, guards={"cut_off": 0.05, "not_json": 0.05})
    async with start(house) as running:
        answers(running, house, ["{}"])
        await sessions(running, 80, stream=stream, **{limit: 3})
        figures = await judged(running, until)
    assert [(figure.n, figure.evidence) for figure in figures] == [(0, 0.0)] * 2
    assert standing(house) == [1, 2]


async def test_a_canary_that_its_own_limit_cuts_is_rolled_back(house: Any, start: Any, until: Any) -> None:
    """The caller's is larger than the answer: the length is the version's doing."""
    canary(house, guards={"cut_off": 0.05})
    async with start(house) as running:
        answers(running, house, ["{}"])
        inner = running.engine._words
        running.engine._words = lambda call, index: (
            (inner(call, index)[0], "length") if is_canary(house, call) else inner(call, index)
        )
        await sessions(running, 80, max_tokens=100)
        await rolled_back(running, house, until)
    assert "requests were cut_off" in house.registry.audit("triage")[0].reason


async def test_a_failed_load_counts_once_however_many_wait_for_it_or_come_in_its_pause(
    house: Any, start: Any, until: Any
) -> None:
    canary(house, max_error_rate=0.05)
    async with start(house) as running:
        unloadable(running, house)
        running.app.state.parts.residency._limits.clock = lambda: 0.0  # the pause lasts
        replies = await sessions(running, 80)
        (figure,) = await judged(running, until)
    assert sum(reply.status_code == 503 for reply in replies) > 20
    assert (figure.bad, figure.n) == (1, 1)
    assert figure.evidence < 0.1
    assert standing(house) == [1, 2]


async def test_a_fault_of_the_engine_that_every_target_meets_alike_is_no_evidence(
    house: Any, start: Any, until: Any
) -> None:
    canary(house, max_error_rate=0.05)
    async with start(house) as running:

        async def generate(call: Any) -> EngineAnswer:
            raise Unavailable("no")

        running.engine.generate = generate
        await sessions(running, 120)
        (figure,) = await judged(running, until)
    assert (figure.value, figure.baseline) == (1.0, 1.0)
    assert standing(house) == [1, 2]


async def test_a_canary_that_is_slow_to_begin_is_rolled_back(house: Any, start: Any, until: Any) -> None:
    canary(house, max_ttft_ratio=2.0, window=40)
    async with start(house) as running:
        inner = running.engine.generate

        async def generate(call: Any) -> EngineAnswer:
            """The engine says so of the canary's adapter; nobody waits."""
            answer: EngineAnswer = await inner(call)
            first = 100.0 if is_canary(house, call) else 0.01
            return EngineAnswer(answer.body, answer.tally.model_copy(update={"first_token": first}))

        running.engine.generate = generate
        await sessions(running, 400)
        await rolled_back(running, house, until)
    assert "the p95 of its time to the first token is" in house.registry.audit("triage")[0].reason


class Clock:
    """In place of the module `time`, for what watches the traffic."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


async def test_a_canary_that_its_callers_give_up_on_is_rolled_back(
    house: Any, start: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers nobody and fails nobody: how long callers have waited is all that there is to see."""
    canary(house, max_total_ratio=2.0, window=20)
    clock, hung = Clock(), asyncio.Event()
    monkeypatch.setattr("service.traffic.policies.time", clock)
    async with start(house) as running:
        inner = running.engine.generate

        async def generate(call: Any) -> EngineAnswer:
            if is_canary(house, call):
                hung.set()
                await asyncio.Event().wait()
            clock.now += 1.0
            answer: EngineAnswer = await inner(call)
            return answer

        running.engine.generate = generate
        for at in range(400):
            hung.clear()
            asked = asyncio.create_task(running.chat("triage", user=f"user-{at}"))
            stuck = asyncio.create_task(hung.wait())
            await asyncio.wait({asked, stuck}, return_when=asyncio.FIRST_COMPLETED)
            if hung.is_set():
                clock.now += 60.0
                asked.cancel()
            stuck.cancel()
            await asyncio.gather(asked, stuck, return_exceptions=True)
            if standing(house) == [1]:
                break
        await rolled_back(running, house, until)
    assert "the p95 of its time for a whole answer is 60.00 times" in house.registry.audit("triage")[0].reason


async def test_of_two_services_over_one_registry_one_rolls_back_and_raises_the_alert(
    house: Any, start: Any, until: Any, logs: list[Any]
) -> None:
    canary(house, max_error_rate=0.05)
    async with AsyncExitStack() as held:
        services = [await held.enter_async_context(start(house)) for _ in range(2)]
        for running in services:
            unloadable(running, house)
        await asyncio.gather(*(sessions(running, 80) for running in services))
        for running in services:
            await rolled_back(running, house, until)
            await until(lambda running=running: not len(running.app.state.parts.traffic.background))
        counts = [
            (await metrics(running)).get('dabt_canary_rollbacks_total{alias="triage:prod"}', 0) for running in services
        ]
    assert len(alerts(logs)) == 1
    assert sorted(counts) == [0, 1]
    rollbacks = [entry for entry in house.registry.audit("triage") if entry.action == "alias.rollback"]
    assert len(rollbacks) == 1


# -- shadows -------------------------------------------------------------------------------------------------------


async def shadowed(running: Any, house: Any, **shadow: Any) -> None:
    """triage:2, evaluated, in the shadow of triage:1."""
    house.adapter("two")
    version = house.version("triage", adapter="two")
    house.registry.record_report(report_on(version))
    order = {"alias": "triage", "reason": "look", "shadow": {"version": 2, **shadow}}
    assert (await running.client.post("/admin/traffic/shadow", json=order)).status_code == 200


def kept(house: Any) -> list[Any]:
    return list(Records(house.home.shadow).read("triage", "prod"))


def without_its_id(reply: Any, *, stream: bool) -> str:
    first = reply.text.split("\n\n", 1)[0].removeprefix("data: ") if stream else reply.text
    text: str = reply.text
    return text.replace(json.loads(first)["id"], "")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_shadow_answers_too_and_its_callers_cannot_tell(
    house: Any, start: Any, until: Any, stream: bool
) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house, shadow_folder=house.home.shadow) as running:
        plain = await running.chat("triage", seed=3, stream=stream)
        await shadowed(running, house)
        answer = await running.chat("triage", seed=3, stream=stream)
        await until(lambda: kept(house))
        values = await metrics(running)
    assert without_its_id(plain, stream=stream) == without_its_id(answer, stream=stream)
    (record,) = kept(house)
    assert (record.served.ref, record.candidate.ref, record.candidate.code) == ("triage:1", "triage:2", "")
    assert record.request_id == answer.headers["x-request-id"]
    assert record.agree is False, "the fake engine's words name the adapter"
    assert record.candidate.tokens == record.served.tokens == 8
    assert record.served.seconds == record.candidate.seconds
    assert values['dabt_shadow_requests_total{outcome="answered"}'] == 1.0
    assert not any("triage:2" in series and "_requests" in series for series in values), (
        "counted with nobody's requests"
    )


async def test_a_shadow_that_fails_fails_alone(house: Any, start: Any, until: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house, shadow_folder=house.home.shadow) as running:
        await shadowed(running, house)
        running.engine.faults.load_errors[str(house.store.get(house.adapters["two"]))] = "rank 512"
        answer = await running.chat("triage")
        await until(lambda: kept(house))
    assert answer.status_code == 200
    assert kept(house)[0].candidate.code == "adapter_unloadable"


async def test_a_callers_own_mistake_is_not_copied(house: Any, start: Any, until: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house, shadow_folder=house.home.shadow) as running:
        await shadowed(running, house)
        await running.chat("triage", temperature="hot")
        await running.chat("triage:1", headers={"x-dabt-purpose": "evaluation"})
        await running.chat("tiny")
        await running.chat("triage")
        await until(lambda: kept(house))
        await until(lambda: not len(running.app.state.parts.traffic.background))
    assert len(kept(house)) == 1


async def test_a_shadow_costs_the_callers_key_nothing(house: Any, start: Any, until: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    caller, admin = house.key("clinic", role="caller"), house.key("ops", role="admin")
    async with start(house, shadow_folder=house.home.shadow) as running:
        running.client.headers.update(admin)
        await shadowed(running, house)
        answer = await running.chat("triage", headers=caller)
        await until(lambda: kept(house))
        values = await metrics(running)
    used = {series: value for series, value in values.items() if series.startswith("dabt_key_completion_tokens_total")}
    assert used == {next(iter(used)): float(answer.json()["usage"]["completion_tokens"])}


async def test_draining_does_not_wait_for_shadows(house: Any, start: Any, until: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house, shadow_folder=house.home.shadow) as running:
        await shadowed(running, house)
        inner, held = running.engine.generate, asyncio.Event()

        async def generate(call: Any) -> EngineAnswer:
            if is_canary(house, call):
                held.set()
                await asyncio.Event().wait()
            answer: EngineAnswer = await inner(call)
            return answer

        running.engine.generate = generate
        await running.chat("triage")
        await held.wait()
        assert await running.app.state.parts.drain(30) is True
        assert running.app.state.parts.residency.leases() == 0
    assert kept(house) == []


# -- over HTTP -----------------------------------------------------------------------------------------------------


async def test_traffic_is_shared_out_and_bounded_over_http(house: Any, start: Any) -> None:
    for name in ("one", "two"):
        house.adapter(name)
    house.prod("triage", adapter="one")
    house.version("triage", adapter="two")
    async with start(house) as running:
        post, order = running.client.post, {"alias": "triage", "reason": "try", "actor": "me"}
        bounds = {"canary": {"max_error_rate": 0.02}}
        bounded = await post("/admin/traffic/policy", json={**order, "policy": bounds})
        refused = await post("/admin/promote", json={"ref": "triage:2", "share": 0.1, "reason": "try"})
        beside = await post("/admin/promote", json={"ref": "triage:2", "share": 0.1, "reason": "try", "force": True})
        evenly = [{"number": 1, "weight": 1}, {"number": 2, "weight": 1}]
        split = await post("/admin/traffic/split", json={**order, "targets": evenly, "force": True})
        seen = {reply.json()["dabt"]["version"] for reply in await sessions(running, 40)}
        (shown,) = (await running.client.get("/admin/traffic/triage")).json()["aliases"]
        everything = (await running.client.get("/admin/traffic")).json()["aliases"]
        nothing = await running.client.get("/admin/traffic/nobody")
    assert bounded.json()["policy"]["canary"]["max_error_rate"] == 0.02
    assert refused.status_code == 403
    assert [target["weight"] for target in beside.json()["targets"]] == [0.9, 0.1]
    assert [target["weight"] for target in split.json()["targets"]] == [0.5, 0.5]
    assert seen == {"triage:1", "triage:2"}
    assert (shown["incumbent"], shown["figures"][0]["name"]) == (1, "error_rate")
    assert [one["name"] for one in everything] == ["triage"]
    assert nothing.status_code == 404
    trail = [(entry.action, entry.actor) for entry in house.registry.audit("triage:prod")]
    assert trail[-2] == ("alias.policy", "me")


async def test_every_fault_of_an_order_is_told_and_nothing_is_changed(house: Any, start: Any) -> None:
    house.prod("triage", prompt={"system": "one"})
    async with start(house) as running:
        revision = house.registry.revision()
        policy = {"canary": {"max_error_rate": 2, "guards": {"rude": 0.1}}}
        bad = await running.client.post(
            "/admin/traffic/policy", json={"alias": "triage", "reason": " ", "policy": policy}
        )
        version = await running.client.post(
            "/admin/traffic/shadow", json={"alias": "triage:1", "reason": "x", "shadow": None}
        )
        draft = house.version("triage", prompt={"system": "two"})
        shadow = {"alias": "triage", "reason": "x", "shadow": {"version": draft.number}}
        unfit = await running.client.post("/admin/traffic/shadow", json=shadow)
    assert bad.status_code == version.status_code == 400
    message = bad.json()["error"]["message"]
    assert all(place in message for place in ("reason", "policy.canary.max_error_rate", "policy.canary.guards.rude"))
    assert "triage:1 is a version" in version.json()["error"]["message"]
    assert (unfit.status_code, "is draft" in unfit.json()["error"]["message"]) == (403, True)
    assert house.registry.revision() == revision + 1, "the draft, and nothing else"


async def test_only_a_publisher_shares_traffic_out_and_only_an_admin_forces_it(house: Any, start: Any) -> None:
    house.prod("triage", prompt={"system": "one"})
    caller, publisher = house.key("clinic", role="caller"), house.key("team", role="publisher")
    async with start(house) as running:
        order = {"alias": "triage", "reason": "x", "targets": [{"number": 1}]}
        replies = [
            await running.client.get("/admin/traffic", headers=caller),
            await running.client.post("/admin/traffic/split", json=order, headers=caller),
            await running.client.post("/admin/traffic/split", json={**order, "force": True}, headers=publisher),
        ]
        allowed = await running.client.get("/admin/traffic", headers=publisher)
    assert [reply.status_code for reply in replies] == [403, 403, 403]
    assert allowed.status_code == 200


async def test_who_decided_by_an_older_look_is_told_what_has_changed_over_http(house: Any, start: Any) -> None:
    for text in ("one", "two"):
        house.prod("triage", prompt={"system": text})
    async with start(house) as running:
        post = running.client.post
        seen = (await running.client.get("/admin/traffic/triage")).json()["revision"]
        look = {"reason": "x", "expected_revision": seen, "actor": "amal"}
        first = await post("/admin/promote", json={**look, "ref": "triage:1", "share": 0.5, "force": True})
        late = [
            await post("/admin/promote", json={**look, "ref": "triage:1", "force": True}),
            await post("/admin/rollback", json={**look, "name": "triage"}),
            await post("/admin/traffic/split", json={**look, "alias": "triage", "targets": [{"number": 2}]}),
            await post("/admin/traffic/stop-canary", json={**look, "alias": "triage"}),
            await post("/admin/traffic/policy", json={**look, "alias": "triage", "policy": {}}),
            await post("/admin/traffic/shadow", json={**look, "alias": "triage", "shadow": None}),
        ]
        stopped = await post("/admin/traffic/stop-canary", json={"alias": "triage", "reason": "enough seen"})
        wrong = await post("/admin/rollback", json={"name": "triage", "reason": "x", "expected_revision": -1})
    assert first.status_code == 200
    assert {(reply.status_code, reply.json()["error"]["code"]) for reply in late} == {(409, "alias_moved")}
    assert all("amal: moved it past the gate to triage:1 (50%), triage:2 (50%)" in reply.text for reply in late)
    assert {reply.headers["x-should-retry"] for reply in late} == {"false"}
    assert [target["number"] for target in stopped.json()["targets"]] == [2]
    assert wrong.status_code == 400


async def test_every_answer_says_by_which_revision_it_was_decided(house: Any, start: Any) -> None:
    house.prod("triage", prompt={"system": "one"})
    async with start(house) as running:
        replies = [await running.chat("triage", stream=stream) for stream in (False, True)]
        replies.append(await running.chat("tiny"))
    assert {int(reply.headers["x-dabt-revision"]) for reply in replies} == {house.registry.revision()}


async def test_a_canary_that_cannot_be_rolled_back_is_shown_with_the_reason_and_counted(
    house: Any, start: Any, until: Any
) -> None:
    """The registry is away while the canary's answers break their bound."""
    canary(house, guards={"not_json": 0.05})
    async with start(house) as running:
        answers(running, house, ["{}"])

        async def shown() -> tuple[Any, float]:
            page = (await running.client.get("/admin/traffic/triage")).json()
            count = (await metrics(running))["dabt_canaries_stuck"]
            assert (await running.client.get("/ready")).json()["canaries_stuck"] == count
            return page["aliases"][0]["stuck"], count

        assert await shown() == (None, 0.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(house.registry, "roll_back_canary", away)
            await sessions(running, 80)
            guard = running.app.state.parts.traffic.guard
            await until(lambda: guard.stuck() == 1)
            assert await shown() == ("the registry is away", 1.0)
            assert (await running.client.get("/ready")).status_code == 200, "callers are answered all the while"
        guard._pause = 0.0
        await rolled_back(running, house, until)
        await until(lambda: not len(running.app.state.parts.traffic.background))
        assert await shown() == (None, 0.0)


def away(*_: Any, **__: Any) -> None:
    raise Unavailable("the registry is away")


async def test_an_answer_that_cannot_be_looked_at_holds_nobody_up(
    house: Any, start: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary(house, guards={"empty": 0.05})
    monkeypatch.setattr("service.traffic.policies.choices_of", lambda body: {}["what?"])
    async with start(house) as running:
        await sessions(running, 10)
        await judged(running, until)
        guard = running.app.state.parts.traffic.guard
        assert [len(trial.arrivals) for trial in guard._trials.values()] == [0]
