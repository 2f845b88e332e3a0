"""The queue as those who ask see it: lists, pages, a key's end, and what a poll costs; on SQLite and on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text

from lifecycle.access.keys import KeyGrant
from lifecycle.errors import InvalidInput, NotFound
from lifecycle.jobs.nouns import JobEvent
from lifecycle.jobs.states import JobState
from lifecycle.registry import tables
from lifecycle.registry.cursor import Cursor
from tests.lifecycle.registry.fine_tuning import BASE, MOMENT, asked, file_of, job_of, statements

pytestmark = pytest.mark.timeout(300)

S = JobState
MANY = 10_000


@pytest.fixture
def crowded(registry: Any) -> Any:
    """10,000 ended jobs of one owner, with an event each, and as many files; all of the same moment."""
    row = job_of(state=S.SUCCEEDED).model_dump(mode="json", exclude={"id", "created_at", "finished_at"})
    more = {"created_at": MOMENT, "asked": BASE, "again": "", "turn": 1}
    made = {"purpose": "fine-tune", "filename": "a", "bytes": 1, "digest": BASE, "created_at": MOMENT}
    with registry._database.write() as tx:
        jobs = [{**row, **more, "id": f"ftjob-{n}", "request": {**row["request"], "metadata": {"n": str(n)}}}
                for n in range(MANY)]  # fmt: skip
        tx.execute(insert(tables.jobs), jobs)
        files = [{**made, "id": f"file-{n}", "owner": "amal", "arrived_at": MOMENT} for n in range(MANY)]
        tx.execute(insert(tables.files), files)
        of_one = [{"id": f"e{n}", "job": f"ftjob-{n % 100}", "level": "info", "message": str(n), "created_at": MOMENT}
                  for n in range(MANY)]  # fmt: skip
        tx.execute(insert(tables.job_events), of_one)
        tx.execute(text("ANALYZE"))
    return registry


def walked(page: Callable[[Cursor], Any], limit: int, *, oldest_first: bool = False) -> list[str]:
    """Ids, page by page, as a client goes through them."""
    ids: list[str] = []
    while True:
        got = page(Cursor(ids[-1] if ids else None, limit, oldest_first))
        ids += [item.id for item in got.items]
        if not got.has_more:
            return ids


# -- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("oldest_first", [False, True])
def test_lists_of_equal_moments_go_by_the_order_of_making_and_lose_and_repeat_nothing(registry, oldest_first):
    ids = [asked(registry).id for _ in range(7)]
    files = [file_of(created_at=MOMENT) for _ in range(7)]
    for file in files:
        registry.files.add(file, actor="amal")
    asked(registry, "other")
    right = slice(None) if oldest_first else slice(None, None, -1)
    for limit in (1, 3, 7, 8):
        assert walked(lambda at: registry.jobs.all("amal", at), limit, oldest_first=oldest_first) == ids[right]
        got = walked(lambda at: registry.files.all("amal", at), limit, oldest_first=oldest_first)
        assert got == [file.id for file in files][right]


def test_who_deletes_what_a_page_showed_goes_on_to_the_next_page(registry):
    files = [file_of() for _ in range(5)]
    for file in files:
        registry.files.add(file, actor="amal")
    deleted, after = [], None
    while (page := registry.files.all("amal", Cursor(after, 2))).items:
        for file in page.items:
            registry.files.delete(file.id, "amal", actor="amal")
            deleted.append(file.id)
        after = deleted[-1]
    assert deleted == [file.id for file in files][::-1]
    with pytest.raises(InvalidInput, match="is not in this list"):
        registry.files.all("other", Cursor(after, 2))


def test_jobs_are_chosen_by_their_metadata_or_by_having_none(registry):
    one = asked(registry, metadata={"team": "عيادة", "n": "1"})
    two = asked(registry, metadata={"team": "عيادة"})
    bare = asked(registry)

    def ids(*wanted: Any, **named: Any) -> list[str]:
        return [job.id for job in registry.jobs.all("amal", Cursor(), *wanted, **named).items]

    assert ids({"team": "عيادة"}) == [two.id, one.id]
    assert ids({"team": "عيادة", "n": "1"}) == [one.id]
    assert ids({"n": "2"}) == []
    assert ids(None, bare=True) == [bare.id]


def test_ten_thousand_jobs_and_files_are_listed_a_page_at_a_time_by_their_index(crowded):
    began = time.perf_counter()
    assert [job.id for job in crowded.jobs.all("amal", Cursor(limit=20)).items] == [
        f"ftjob-{n}" for n in range(MANY - 1, MANY - 21, -1)
    ]
    page = crowded.jobs.all("amal", Cursor("ftjob-5000", 100))
    assert ([page.items[0].id, page.items[-1].id], page.has_more) == (["ftjob-4999", "ftjob-4900"], True)
    assert [job.id for job in crowded.jobs.all("amal", Cursor(), {"n": "77"}).items] == ["ftjob-77"]
    assert len(crowded.files.all("amal", Cursor(limit=10_000)).items) == MANY
    assert crowded.files.used("amal") == MANY
    assert crowded.jobs.unfinished("amal") == 0
    new = asked(crowded)
    assert crowded.jobs.before(new) == 0
    assert crowded.leases.take("w", [BASE], {}).id == new.id
    assert time.perf_counter() - began < 30  # no bound on speed: one on what grows with the square of their number


# -- what a poll costs ------------------------------------------------------------------------------------------------


def test_a_poll_is_one_statement_for_a_job_and_two_for_its_events_however_many_there_are(crowded):
    with statements(crowded) as heard:
        crowded.jobs.get("ftjob-9000", "amal")
        assert len(heard) == 1
        assert len(crowded.jobs.events("ftjob-0", "amal", Cursor(limit=20)).items) == 20
        assert len(heard) == 3
        crowded.files.get("file-9000", "amal")
        assert len(heard) == 4
    with crowded._database.read() as tx:
        for statement, parameters in heard:
            sqlite = tx.dialect.name == "sqlite"
            plan = tx.exec_driver_sql(f"{'EXPLAIN QUERY PLAN' if sqlite else 'EXPLAIN'} {statement}", parameters)
            lines = [str(row) for row in plan]
            assert not any("SCAN " in line if sqlite else "Seq Scan" in line for line in lines), (statement, lines)


# -- whose it is ------------------------------------------------------------------------------------------------------


def test_jobs_of_a_revoked_key_go_on_unless_they_are_to_end_with_it(registry):
    for cancel_jobs in (False, True):
        key, _ = registry.keys.create(KeyGrant(name="amal", role="trainer"), actor="ops")
        new = registry.jobs.create(job_of(key.owner), asked="a", actor="amal")
        waiting, running, finishing = (asked(registry, key.owner) for _ in range(3))
        paused, done, other = asked(registry, key.owner), asked(registry, key.owner), asked(registry, "other")
        with registry._database.write() as tx:
            for job, state in ((running, S.RUNNING), (finishing, S.FINISHING), (paused, S.PAUSED), (done, S.FAILED)):
                values = {"state": state.value, "holder": "w" if state in (S.RUNNING, S.FINISHING) else ""}
                tx.execute(tables.jobs.update().where(tables.jobs.c.id == job.id).values(**values))
        before = registry.jobs.get(done.id, None)
        registry.keys.revoke(key.id, actor="ops", cancel_jobs=cancel_jobs)
        moved = {job.id: registry.jobs.get(job.id, None).state for job in (new, waiting, running, paused)}
        assert [*moved.values()] == (
            [S.CANCELLED] * 4 if cancel_jobs else [S.VALIDATING, S.QUEUED, S.RUNNING, S.PAUSED]
        )
        assert registry.jobs.get(finishing.id, None).state is S.FINISHING
        assert registry.jobs.get(done.id, None) == before
        assert registry.jobs.get(other.id, None).state is S.QUEUED
        if cancel_jobs:
            entry = registry.audit(waiting.id)[0]
            assert (entry.actor, entry.action, entry.detail["to"]) == ("ops", "job.state", "cancelled")
            (said,) = registry.jobs.events(waiting.id, None, Cursor(limit=1)).items
            assert "the key that asked for it was revoked" in said.message


def test_a_revoked_key_ends_the_jobs_that_it_asked_for_and_none_of_the_keys_that_share_them(registry):
    first, _ = registry.keys.create(KeyGrant(name="amal"), actor="ops")
    heir, _ = registry.keys.create(KeyGrant(name="badr"), actor="ops", shares_with="amal")
    jobs = []
    for key in (first.id, heir.id, ""):
        job = job_of(first.owner)
        asked_by = job.model_copy(update={"request": job.request.model_copy(update={"key": key})})
        jobs.append(registry.jobs.create(asked_by, asked=job.id, actor="amal"))
    registry.keys.revoke("badr", actor="ops", cancel_jobs=True)
    states = [registry.jobs.get(job.id, None).state for job in jobs]
    assert states == [S.VALIDATING, S.CANCELLED, S.VALIDATING]
    registry.keys.revoke("amal", actor="ops", cancel_jobs=True)  # the last one is of a release that kept no key
    assert [registry.jobs.get(job.id, None).state for job in jobs] == [S.CANCELLED] * 3


def test_a_key_that_shares_owns_what_the_other_owns_and_one_of_its_name_does_not(registry):
    first, _ = registry.keys.create(KeyGrant(name="amal"), actor="ops")
    heir, _ = registry.keys.create(KeyGrant(name="amal-2"), actor="ops", shares_with="amal")
    registry.keys.revoke("amal", actor="ops")
    namesake, _ = registry.keys.create(KeyGrant(name="amal"), actor="ops")
    third, _ = registry.keys.create(KeyGrant(name="amal-3"), actor="ops", shares_with="amal-2")
    assert [key.owner for key in (first, heir, third)] == [first.id] * 3
    assert namesake.owner == namesake.id
    assert [key.owner for key in registry.keys.all()] == [first.id, first.id, namesake.id, first.id]
    created = [entry.detail["owner"] for entry in registry.audit() if entry.action == "key.create"]
    assert created == [first.id, namesake.id, first.id, first.id]
    with pytest.raises(NotFound, match="no key nobody"):
        registry.keys.create(KeyGrant(name="x"), actor="ops", shares_with="nobody")


# -- the same request again -------------------------------------------------------------------------------------------


def test_equal_requests_of_a_client_that_tries_again_make_one_job_within_its_hour(registry):
    def ask(**how: Any) -> str:
        return str(registry.jobs.create(job_of(created_at=how.pop("at", MOMENT)), asked="a", actor="x", **how).id)

    first = ask()
    assert ask(since=MOMENT) == first
    assert ask(since=MOMENT + timedelta(seconds=1)) != first
    keyed = ask(again="monday")
    assert ask(again="monday", at=MOMENT + timedelta(days=30)) == keyed
    with pytest.raises(InvalidInput, match="another body"):
        registry.jobs.create(job_of(), asked="b", again="monday", actor="x")
    assert registry.jobs.create(job_of("other"), asked="b", again="monday", actor="x").owner == "other"


def test_every_change_of_a_job_is_in_the_trail_with_who_made_it(registry):
    job = registry.jobs.create(job_of(), asked="a", actor="amal (key-1)")
    registry.leases.validated(job.id, None, "w")
    registry.leases.take("w", [BASE], {})
    registry.leases.tell(job.id, "w", [JobEvent(message="Step 1")])
    registry.jobs.move(job.id, S.PAUSED, None, actor="ops (key-2)")
    registry.jobs.move(job.id, S.CANCELLED, None, actor="amal (key-1)")
    told = [(entry.actor, entry.action, entry.detail.get("to")) for entry in reversed(registry.audit(job.id))]
    assert told == [
        ("amal (key-1)", "job.create", None),
        ("w", "job.state", "queued"),
        ("w", "job.state", "running"),
        ("w", "job.take", None),
        ("ops (key-2)", "job.state", "paused"),
        ("amal (key-1)", "job.state", "cancelled"),
    ]
