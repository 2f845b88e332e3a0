"""The registry's PostgreSQL fails over to its standby under load: no acknowledged write is lost, no answer is wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lifecycle.registry import Registry
from tests.lifecycle.postgres_server import Cluster, cluster
from tests.service.faults.test_registry import promote

pytestmark = [pytest.mark.timeout(300), pytest.mark.e2e]
VERSIONS = 30


def url_of(*servers: Cluster) -> str:
    return f"postgresql://dabt@{','.join(f'127.0.0.1:{server.port}' for server in servers)}/postgres"


async def test_a_standby_promoted_under_load_loses_no_acknowledged_write_and_no_answer_is_wrong(
    house: Any, start: Any, until: Any
) -> None:
    """Promotions go up by one: an answer is right if its version is neither older than the last promotion that was
    acknowledged before the request, nor newer than the last that was asked for before its end."""
    with cluster() as primary, primary.standby() as second:
        house.registry.close()
        house.registry = Registry.open(url_of(primary, second))
        house.adapter("one")
        for number in range(1, VERSIONS + 1):
            house.version("triage", adapter="one", prompt={"system": str(number)})
        house.registry.promote("triage:1", actor="test", reason="the first", force=True)
        asked = acknowledged = 1
        answers = 0
        failover: asyncio.Task[None] | None = None

        async def promotions(running: Any) -> None:
            nonlocal asked, acknowledged, failover
            for number in range(2, VERSIONS + 1):
                asked = number
                while (reply := await promote(running, f"triage:{number}")).status_code != 200:
                    assert reply.json()["error"]["code"] in ("unavailable", "conflict"), reply.text
                    failover = failover or asyncio.create_task(asyncio.to_thread(second.promote))
                    await asyncio.sleep(0.05)
                acknowledged, before = number, answers
                await until(lambda before=before: answers > before)
                if number == VERSIONS // 2:
                    await asyncio.to_thread(primary.stop)

        async def requests(running: Any) -> None:
            nonlocal answers
            while acknowledged < VERSIONS:
                least = acknowledged
                reply = await running.chat("triage")
                assert reply.status_code == 200, reply.text
                assert least <= int(reply.json()["dabt"]["version"].partition(":")[2]) <= asked
                answers += 1

        async with start(house) as running:
            await asyncio.gather(promotions(running), requests(running), requests(running))
            assert failover is not None, "no write met the time without a server"
            await failover
            assert answers >= VERSIONS - 1, "one at least beside each promotion"
        house.registry.close()
        with Registry.open(f"{second.url}/postgres") as after:
            moves = [entry for entry in after.audit("triage", limit=1000) if entry.action == "alias.force"]
            numbers = [*range(1, VERSIONS + 1)]
            assert {ref for entry in moves for ref in entry.detail["to"]} == {f"triage:{number}" for number in numbers}
            assert [version.number for version in after.versions("triage")] == numbers
            assert [target.number for target in after.alias("triage", "prod").targets] == [VERSIONS]
    house.registry = Registry.open(house.home.registry_url)
