"""The queue as several callers see it: places, polls, and keys that end while their jobs run."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.lifecycle.registry.fine_tuning import statements
from tests.service.fine_tuning.conftest import rows

pytestmark = pytest.mark.timeout(300)


async def asked(client: Any, house: Any) -> str:
    """A job that waits."""
    file = await client.files.create(file=("train.jsonl", rows()), purpose="fine-tune")
    job = await client.fine_tuning.jobs.create(model="tiny", training_file=file.id)
    assert house.registry.leases.validated(job.id, None, "w")
    return str(job.id)


async def test_a_job_that_waits_says_its_place_and_owners_take_turns(house: Any, client_of: Any) -> None:
    one, two = (house.key(name, role="trainer") for name in ("one", "two"))
    async with client_of(house, key=one) as client, client_of(house, key=two, running=client.running) as other:
        mine = [await asked(client, house) for _ in range(3)]
        theirs = await asked(other, house)

        async def places() -> list[int | None]:
            jobs = [await client.fine_tuning.jobs.retrieve(id_) for id_ in mine]
            jobs.append(await other.fine_tuning.jobs.retrieve(theirs))
            return [job.to_dict().get("queue_position") for job in jobs]

        assert await places() == [1, 3, 4, 2]
        assert house.registry.leases.take("w", [house.base_digest], {}).id == mine[0]
        assert await places() == [None, 2, 3, 1]
        await client.fine_tuning.jobs.pause(mine[0])
        assert house.registry.leases.take("w2", [house.base_digest], {}).id == theirs
        assert await places() == [None, 1, 2, None]


async def test_a_client_that_polls_every_second_costs_a_statement_a_poll(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        id_ = await asked(client, house)
        house.registry.leases.take("w", [house.base_digest], {})
        file = (await client.fine_tuning.jobs.retrieve(id_)).training_file
        with statements(house.registry) as heard:
            for _ in range(10):
                await client.fine_tuning.jobs.retrieve(id_)
            of_jobs = [statement for statement, _ in heard if "FROM jobs" in statement]
            assert len(of_jobs) == 10
            heard.clear()
            for _ in range(10):
                await client.fine_tuning.jobs.list_events(id_)
            assert len([s for s, _ in heard if "FROM jobs" in s or "FROM job_events" in s]) == 20
            heard.clear()
            await client.files.wait_for_processing(file)
            assert len([s for s, _ in heard if "FROM files" in s]) == 1
            assert not [s for s, _ in heard if not s.startswith("SELECT")]


@pytest.mark.parametrize("cancel_jobs", [False, True])
async def test_the_job_of_a_key_that_is_revoked_goes_on_unless_it_is_to_end_with_it(
    house: Any, client_of: Any, cancel_jobs: bool
) -> None:
    key, ops = house.key("one", role="trainer"), house.key("ops", role="admin")
    async with client_of(house, key=key) as client, client_of(house, key=ops, running=client.running) as admin:
        id_ = await asked(client, house)
        job = house.registry.leases.take("w", [house.base_digest], {})
        assert job.request.key == house.registry.keys.find("one").id
        reply = await client.running.client.post(
            "/admin/keys/one/revoke", json={"reason": "leaked", "cancel_jobs": cancel_jobs}, headers=ops
        )
        assert reply.status_code == 200
        with pytest.raises(openai.AuthenticationError):
            await client.fine_tuning.jobs.retrieve(id_)
        seen = await admin.fine_tuning.jobs.retrieve(id_)
        assert seen.status == ("cancelled" if cancel_jobs else "running")
        body = {"name": "heir", "role": "trainer", "shares_with": job.owner}
        heir = (await client.running.client.post("/admin/keys", json=body, headers=ops)).json()
        assert heir["owner"] == job.owner
        header = {"authorization": f"Bearer {heir['secret']}"}
        async with client_of(house, key=header, running=client.running) as rotated:
            assert [job.id async for job in rotated.fine_tuning.jobs.list()] == [id_]
