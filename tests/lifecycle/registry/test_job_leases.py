"""Workers and owners at one queue, on SQLite and on PostgreSQL: who is second changes nothing."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from lifecycle.errors import JobRefused, LeaseLost
from lifecycle.jobs.nouns import Job, JobEvent, JobFault, JobProgress, JobResult
from lifecycle.jobs.states import ENDED, HELD, JOB_MOVES, JobState
from lifecycle.registry import Registry
from lifecycle.registry.job_leases import MOST_TRIES, JobQueue
from tests.lifecycle.registry.fine_tuning import BASE, asked, file_of

pytestmark = pytest.mark.timeout(300)

S = JobState


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each gives, begun at the same moment."""
    gate = threading.Barrier(len(acts))

    def begun(act: Callable[[], Any]) -> Any:
        gate.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [done.result() for done in [pool.submit(begun, act) for act in acts]]


def states(registry: Any, job: str) -> list[tuple[str, str]]:
    """The moves of the job, oldest first, as the trail has them."""
    entries = [entry.detail for entry in reversed(registry.audit(job, limit=1000)) if "to" in entry.detail]
    return [(detail["from"], detail["to"]) for detail in entries]


# -- one job, several workers -----------------------------------------------------------------------------------------


def takes(registries: list[Any], lapsed: dict[str, tuple[str, int]]) -> list[Callable[[], Job | None]]:
    """Two workers of each."""
    return [partial(of.leases.take, f"w{at}{n}", [BASE], lapsed) for at, of in enumerate(registries) for n in range(2)]


def is_done(act: Callable[[], Any], refusal: type[Exception]) -> bool:
    try:
        act()
    except refusal:
        return False
    return True


def test_of_workers_that_ask_at_once_one_gets_the_job_every_time(registry, registry_url):
    with Registry.open(registry_url) as second:
        for _ in range(25):
            job = asked(registry)
            got = [taken for taken in at_once(*takes([registry, second], {})) if taken is not None]
            assert [taken.id for taken in got] == [job.id]
            held = registry.jobs.get(job.id, None)
            assert (held.holder, held.tries) == (got[0].holder, 1)
            registry.jobs.move(job.id, S.CANCELLED, None, actor="amal")


def test_a_lapsed_job_goes_to_one_of_those_who_saw_it_lapse_and_its_worker_changes_nothing_more(registry, registry_url):
    leases = registry.leases
    with Registry.open(registry_url) as second:
        for _ in range(25):
            job = asked(registry)
            leases.take("lost", [BASE], {})
            seen = leases.held([BASE])
            wakes = partial(is_done, partial(leases.beat, job.id, "lost", JobProgress(step=1)), LeaseLost)
            *got, awake = at_once(*takes([registry, second], seen), wakes)
            took = [taken for taken in got if taken is not None]
            # It gave its sign of life first, and then nobody took the job; or somebody did, and it was too late.
            assert (len(took), awake) in {(1, False), (0, True)}
            if took:
                late = (
                    partial(leases.seal, job.id, "lost"),
                    partial(leases.tell, job.id, "lost", []),
                    partial(leases.succeeded, job, "lost", JobResult(), [], [], file_of()),
                )
                assert [is_done(act, LeaseLost) for act in late] == [False] * 3
            registry.jobs.move(job.id, S.CANCELLED, None, actor="amal")
        assert registry.files.used("amal") == 0


# -- owners against each other and against the worker -----------------------------------------------------------------


def wish(registry: Any, job: Job, seed: int) -> None:
    """A client that does not know what it wants."""
    rng = random.Random(seed)
    for _ in range(4):
        with suppress(JobRefused):
            registry.jobs.move(job.id, rng.choice((*(S.PAUSED, S.QUEUED) * 4, S.CANCELLED)), None, actor="amal")


def work(registry: Any, job: Job) -> None:
    for _ in range(6):
        if (taken := registry.leases.take("w", [BASE], {})) is None:
            continue
        with suppress(LeaseLost):
            registry.leases.beat(taken.id, "w", JobProgress(step=1))
            registry.leases.seal(taken.id, "w")
            result, figures = JobResult(model=f"ft:{taken.id}"), file_of(owner=job.owner)
            registry.leases.succeeded(taken, "w", result, [], [], figures)


def test_cancel_pause_and_resume_raced_with_a_worker_leave_a_chain_of_allowed_moves(registry, registry_url):
    """Many rounds: three clients move the job, a worker goes through its states. Nothing is half there at the end."""
    ends: Counter[JobState] = Counter()
    with Registry.open(registry_url) as second:
        for number in range(20):
            job = asked(registry, owner=f"owner-{number}")
            wishes = [partial(wish, second, job, 3 * number + n) for n in range(3)]
            at_once(partial(work, registry, job), *wishes)
            done, moves = registry.jobs.get(job.id, None), states(registry, job.id)
            assert [before for before, _ in moves] == ["validating_files", *(after for _, after in moves)][:-1]
            assert all(JobState(after) in JOB_MOVES[JobState(before)] for before, after in moves)
            assert done.state.value == moves[-1][1]
            assert (done.finished_at is not None) is (done.state in ENDED)
            assert (done.holder == "w") is (done.state in HELD)
            there = done.state is S.SUCCEEDED
            assert (registry.jobs.tuned(f"ft:{job.id}") is not None) is there
            assert registry.files.used(job.owner) == int(there)
            ends[done.state] += 1
            if done.state not in ENDED:
                registry.jobs.move(job.id, S.CANCELLED, None, actor="amal")
    assert len(ends) > 1, ends


def test_of_two_who_cancel_at_once_one_is_told_that_it_has_ended(registry):
    for _ in range(10):
        job = asked(registry)
        cancel = partial(is_done, partial(registry.jobs.move, job.id, S.CANCELLED, None, actor="amal"), JobRefused)
        assert sorted(at_once(cancel, cancel)) == [False, True]
        assert states(registry, job.id)[-1] == ("queued", "cancelled")


# -- the queue --------------------------------------------------------------------------------------------------------


def drained(registry: Any) -> list[str]:
    """Owners, as one device takes their jobs."""
    owners = []
    while (job := registry.leases.take("w", [BASE], {})) is not None:
        owners.append(job.owner)
        registry.leases.seal(job.id, "w")
        registry.leases.succeeded(job, "w", JobResult(model=f"ft:{job.id}"), [], [], file_of())
    return owners


def test_a_hundred_jobs_at_one_device_are_done_in_turns_of_their_owners_and_in_order_of_each(registry):
    many = [asked(registry, "many") for _ in range(96)]
    few = [asked(registry, owner) for owner in ("b", "c", "b", "c")]
    queue = [*many, *few]
    assert [registry.jobs.before(job) for job in (many[0], few[0], few[1], many[1], few[2], few[3], many[2])] == [
        *range(7)
    ]
    assert registry.jobs.before(many[-1]) == 99
    owners = drained(registry)
    assert owners == ["many", "b", "c", "many", "b", "c", *["many"] * 94]
    for owner in ("many", "b", "c"):
        ids = [job.id for job in queue if job.owner == owner]
        takes = [entry.subject for entry in registry.audit(limit=10_000) if entry.action == "job.take"][::-1]
        assert [id_ for id_ in takes if id_ in ids] == ids


def test_who_comes_late_waits_for_one_job_and_no_more(registry):
    for _ in range(3):
        asked(registry, "many")
    first = registry.leases.take("w", [BASE], {})
    asked(registry, "late")
    registry.leases.failed(first.id, "w", JobFault(code="server_error", message="it broke"))
    assert drained(registry) == ["late", "many", "many"]


def test_a_job_that_its_worker_gave_back_has_not_had_its_turn(registry):
    mine = asked(registry, "a")
    asked(registry, "b")
    assert registry.leases.take("w", [BASE], {}).id == mine.id
    registry.leases.give_back(mine.id, "w", tried=False)
    assert registry.jobs.get(mine.id, None).tries == 0
    assert drained(registry) == ["a", "b"]


def test_jobs_of_other_bases_are_neither_taken_nor_counted(registry):
    other = asked(registry, base="sha256:" + "0" * 64)
    mine = asked(registry)
    assert (registry.jobs.before(mine), registry.jobs.before(other)) == (0, 0)
    assert registry.leases.take("w", [BASE], {}).id == mine.id
    assert registry.leases.take("w", [BASE], {}) is None


def test_a_job_that_has_ended_too_many_workers_fails_and_the_next_is_taken(registry):
    bad, good = asked(registry, "a"), asked(registry, "b")
    for _ in range(MOST_TRIES):
        taken = registry.leases.take("w", [BASE], registry.leases.held([BASE]))
        assert taken.id == bad.id
    assert registry.leases.take("w", [BASE], registry.leases.held([BASE])).id == good.id
    failed = registry.jobs.get(bad.id, None)
    assert (failed.state, failed.result.fault.code, failed.holder) == (S.FAILED, "worker_lost", "")


def test_an_empty_queue_is_looked_at_without_the_writers_lock(registry, monkeypatch):
    def write() -> None:
        raise AssertionError("a worker without work waits for nobody, and holds up nobody")

    monkeypatch.setattr(registry.leases._database, "write", write)
    assert registry.leases.take("w", [BASE], {}) is None


def test_a_queue_has_the_jobs_that_there_is_something_to_do_for(registry):
    one, two, three = (asked(registry) for _ in range(3))
    assert registry.leases.queues([BASE, "sha256:other"]) == {BASE: JobQueue(3, 0), "sha256:other": JobQueue(0, 0)}
    registry.leases.take("w", [BASE], {})
    registry.jobs.move(two.id, S.PAUSED, None, actor="amal")
    assert registry.leases.queues([BASE]) == {BASE: JobQueue(1, 1)}
    for job in (one, three):
        registry.jobs.move(job.id, S.CANCELLED, None, actor="amal")
    assert registry.leases.queues([BASE]) == {BASE: JobQueue(0, 0)}


def test_of_each_figure_a_job_tells_at_which_step_it_was_told_last(registry):
    mine, other = asked(registry), asked(registry)
    for _ in (mine, other):
        registry.leases.take("w", [BASE], {})
    figures = [{"base_valid_loss": 2.0}, {"step": 4, "train_loss": 1.0}, {"step": 2, "valid_loss": 1.0}, None]
    registry.leases.tell(mine.id, "w", [JobEvent(message="told", data=data) for data in figures])
    assert registry.leases.told(mine.id) == {"base_valid_loss": 0, "step": 4, "train_loss": 4, "valid_loss": 2}
    assert registry.leases.told(other.id) == {}
