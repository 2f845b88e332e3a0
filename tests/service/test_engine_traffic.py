"""Traffic on the real engine: moves under load, a shadow beside its alias, and a canary that does not load."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.traffic.shadow import Shadows
from service.traffic.shadow_records import Records
from tests.lifecycle.conftest import report_on
from tests.service.asking import PROMPTS, complete, ids, same_as_peft

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

REQUESTS, MOVES, CALLERS, TOKENS = 2000, 20, 24, 4


def test_two_thousand_requests_under_twenty_moves_lose_nothing(real: Any) -> None:
    """Proved as in `test_traffic_under_load.py`; and what is said is what PEFT says with the version's adapter."""
    house, prompt = real.house, ids(real, PROMPTS[0])
    adapters = {house.version("moving-load", adapter=name).ref: name for name in ("red", "green", "blue")}
    wanted = {ref: list(real.reference.greedy(name, prompt, TOKENS).tokens) for ref, name in adapters.items()}
    house.registry.promote("moving-load:1", actor="test", reason="load", force=True)
    first = house.registry.revision()
    begun = acknowledged = done = 0
    turn, answers, numbers = threading.Condition(), list[tuple[Any, ...]](), iter(range(REQUESTS))

    def ask() -> None:
        nonlocal done
        with real.client() as client:
            while True:
                with turn:
                    if next(numbers, None) is None:
                        return
                    oldest = first + acknowledged
                body = {"model": "moving-load", "prompt": prompt, "max_tokens": TOKENS, "temperature": 0}
                reply = client.post("/v1/completions", json={**body, "ignore_eos": True, "return_token_ids": True})
                with turn:
                    newest, done = first + begun, done + 1
                    answers.append((reply, oldest, newest))
                    turn.notify_all()

    with real.client() as admin, ThreadPoolExecutor(CALLERS) as pool:
        while admin.get("/ready").json()["registry"]["revision"] < first:
            pass  # promoted as by another process: seen at the next poll
        asking = [pool.submit(ask) for _ in range(CALLERS)]
        for at, (path, order) in zip(range(MOVES), orders(), strict=False):
            with turn:
                turn.wait_for(lambda due=(at + 1) * REQUESTS // (MOVES + 2): done >= due)
                begun += 1
            moved = admin.post(path, json={**order, "reason": "load"})
            assert moved.status_code == 200, moved.text
            with turn:
                acknowledged += 1
        for one in asking:
            one.result()

    trail = house.registry.audit("moving-load:prod", limit=1000)
    stood = {entry.id: set(entry.detail["to"]) for entry in trail}
    for revision in range(min(stood), house.registry.revision() + 1):
        stood.setdefault(revision, stood.get(revision - 1, set()))
    assert len(answers) == REQUESTS
    for reply, oldest, newest in answers:
        assert reply.status_code == 200, reply.text
        version, revision = reply.headers["x-dabt-version"], int(reply.headers["x-dabt-revision"])
        assert version in stood[revision]
        assert oldest <= revision <= newest
        assert reply.json()["choices"][0]["token_ids"] == wanted[version]


def orders() -> Iterator[tuple[str, dict[str, Any]]]:
    pair = [{"number": 1, "weight": 1.0}, {"number": 3, "weight": 1.0}]
    return itertools.cycle(
        [
            ("/admin/promote", {"ref": "moving-load:2", "force": True}),
            ("/admin/promote", {"ref": "moving-load:3", "share": 0.3, "force": True}),
            ("/admin/rollback", {"name": "moving-load"}),
            ("/admin/traffic/split", {"alias": "moving-load", "targets": pair, "force": True}),
            ("/admin/promote", {"ref": "moving-load:1", "force": True}),
        ]
    )


def test_a_shadow_runs_beside_its_alias_and_changes_no_answer(
    real: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, prompt, count = real.house, ids(real, PROMPTS[0]), 30
    house.prod("in-the-light", adapter="red")
    candidate = house.version("in-the-light", adapter="green")
    house.registry.record_report(report_on(candidate))
    records, traffic = Records(tmp_path), real.app.state.parts.traffic

    monkeypatch.setattr(traffic, "shadows", Shadows(records, real.app.state.parts.telemetry))
    order = {"alias": "in-the-light", "reason": "look", "shadow": {"version": 2}}
    with real.client() as client:
        assert client.post("/admin/traffic/shadow", json=order).status_code == 200
        choices = [complete(client, "in-the-light", prompt) for _ in range(count)]
    wanted = list(real.reference.greedy("red", prompt, len(choices[0]["token_ids"])).tokens)
    assert all(choice["token_ids"] == wanted for choice in choices)
    found = records_of(records, "in-the-light", count)
    assert {record.candidate.code for record in found} == {""}
    assert {record.agree for record in found} == {False}
    assert len({record.candidate.answer for record in found}) == 1, "greedy answers of one version are one answer"


def records_of(records: Records, name: str, count: int) -> list[Any]:
    """Wait until so many are kept; the test's time limit is the only one."""
    while len(found := list(records.read(name, "prod"))) < count:
        threading.Event().wait(0.05)
    return found


def test_a_canary_that_does_not_load_is_rolled_back_while_the_incumbent_answers(real: Any, tmp_path: Path) -> None:
    house, prompt = real.house, ids(real, PROMPTS[0])
    broken = tmp_path / "cut-short"
    shutil.copytree(real.reference.adapters["red"], broken)
    weights = broken / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    house.adapter("cut-short-canary", broken, ())
    house.prod("steady", adapter="red")
    house.version("steady", adapter="cut-short-canary")
    bounds = {"alias": "steady", "reason": "care", "policy": {"canary": {"max_error_rate": 0.05}}}
    canary = {"ref": "steady:2", "share": 0.5, "reason": "try", "force": True}
    with real.client() as client:
        for path, order in (("/admin/traffic/policy", bounds), ("/admin/promote", canary)):
            assert client.post(path, json=order).status_code == 200
        statuses = set()
        body = {"model": "steady", "prompt": prompt, "max_tokens": 2}
        while len(house.registry.alias("steady", "prod").targets) > 1:
            statuses.add(client.post("/v1/completions", json=body).status_code)
        while client.get("/ready").json()["registry"]["revision"] < house.registry.revision():
            pass
        same_as_peft(real, "red", prompt, complete(client, "steady", prompt))
    assert statuses == {200, 503}
    entry = house.registry.audit("steady:prod")[0]
    assert (entry.action, entry.actor) == ("alias.rollback", "canary-guard")
