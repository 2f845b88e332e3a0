"""How many engine replicas a base has: enough for the requests under way and for the adapters that are called. And how
many workers: one for each job.
"""

from __future__ import annotations

import pytest

from service.cluster.scaling import LATELY, CalledLately, Jobs, Memory, wanted, workers_wanted


@pytest.mark.parametrize(
    ("requests", "memories", "replicas"),
    [
        (0, [], 0),
        (0, [Memory(64, 0)], 0),
        (1, [Memory(64, 1)], 1),
        (33, [Memory(64, 3)], 3),
        (3, [Memory(64, 64)], 1),
        (3, [Memory(64, 65)], 2),
        (3, [Memory(64, 40), Memory(64, 41)], 2),
        (3, [Memory(64, 100), Memory(64, 100)], 4),
        (100, [Memory(64, 100), Memory(64, 100)], 7),
        (3, [Memory(0, 0)], 1),
    ],
)
def test_it_is_the_more_of_what_the_queue_and_the_memory_ask_for(
    requests: int, memories: list[Memory], replicas: int
) -> None:
    assert wanted(requests, 16, memories) == replicas


@pytest.mark.parametrize("adapters", [10, 200, 1000])
def test_replicas_that_are_added_do_not_ask_for_more_of_them(adapters: int) -> None:
    """Each adapter's requests go to one replica, however many there are."""
    replicas = wanted(0, 16, [Memory(64, adapters)])
    shared = [Memory(64, adapters / replicas) for _ in range(replicas)]
    assert wanted(0, 16, shared) == replicas
    assert adapters <= 64 * replicas


def test_adapters_are_in_use_for_a_minute_after_their_last_call() -> None:
    now = 0.0
    called = CalledLately(lambda: now)
    called.call("a")
    called.call("b")
    now = LATELY
    called.call("a")
    assert called.digests(LATELY) == {"a", "b"}
    now += 1
    assert called.digests(LATELY) == {"a"}
    now += LATELY
    assert called.digests(LATELY) == set()


@pytest.mark.parametrize(
    ("waiting", "held", "now", "workers"),
    [
        (0, 0, 0, 0),
        (1, 0, 0, 1),
        (3, 0, 1, 3),
        (2, 1, 1, 3),
        (0, 0, 3, 0),  # Ray lets them go once that has been so for `idle_seconds`
        (0, 1, 3, 3),  # which of the three has the job is not known to Ray
        (0, 3, 3, 3),
        (1, 0, 3, 1),
        (0.4, 0, 0, 1),  # a mean: there was none a moment ago
        (0.8, 0.2, 1, 1),  # one that was taken meanwhile
    ],
)
def test_there_is_a_worker_for_each_job_and_none_is_let_go_while_one_has_a_job(
    waiting: float, held: float, now: int, workers: int
) -> None:
    assert workers_wanted(Jobs(waiting, held), now) == workers
