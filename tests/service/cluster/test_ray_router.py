"""What our router does by itself, and what it leaves to Ray's: on a router that runs in no cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray.serve", reason="the extra `ray` is not installed", exc_type=ImportError)

from ray.serve._private.request_router.common import ReplicaQueueLengthCache
from ray.serve.request_router import RequestRouter

from service.cluster.asking import Ask
from service.cluster.ray_router import AdapterRouter
from service.cluster.rooms import Rooms


class Searching:
    """Ray's own search, which finds `found`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
        self.searched = 0

        async def search(router: Any, pending: Any, *, is_retry: bool = False) -> Any:
            self.searched += 1
            return found

        monkeypatch.setattr(RequestRouter, "_choose_replica_for_request", search)
        monkeypatch.setattr(RequestRouter, "_record_queue_wait_time", lambda router, pending: None)


class Replica:
    def __init__(self, name: str) -> None:
        self.replica_id = ReplicaName(name)
        self.max_ongoing_requests = 4


class ReplicaName:
    def __init__(self, unique_id: str) -> None:
        self.unique_id = unique_id


def router(queues: dict[str, int | None]) -> AdapterRouter:
    """Of replicas with so many requests, as Ray knows; None where it does not know."""
    made = AdapterRouter.__new__(AdapterRouter)
    made._rooms, made._under_way = Rooms(), {}
    made._rooms.are((name, 4) for name in queues)
    made._replicas_list = [Replica(name) for name in queues]
    made._replica_queue_len_cache = ReplicaQueueLengthCache()
    for each in made._replicas_list:
        if (queue := queues[each.replica_id.unique_id]) is not None:
            made._replica_queue_len_cache.update(each.replica_id, queue)
    return made


async def chosen(router: AdapterRouter, ask: Ask, *, is_retry: bool = False) -> Any:
    pending: Any = SimpleNamespace(args=[ask], metadata=SimpleNamespace(internal_request_id="1"))
    return await router._choose_replica_for_request(pending, is_retry=is_retry)


async def test_the_first_in_rank_is_taken_at_once_where_ray_knows_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Searching(monkeypatch, Replica("x"))
    busy = router({"x": 0, "y": 3})
    busy._rooms.sent("x", None)
    taken = await chosen(busy, Ask("generate"))
    assert taken.replica_id.unique_id == "y"
    assert search.searched == 0
    busy.on_request_completed(taken.replica_id, "1")
    assert busy._under_way == {}


@pytest.mark.parametrize("queue", [None, 4])
async def test_a_replica_that_ray_does_not_know_or_knows_to_be_full_is_left_to_its_search(
    monkeypatch: pytest.MonkeyPatch, queue: int | None
) -> None:
    search = Searching(monkeypatch, Replica("x"))
    assert (await chosen(router({"x": queue}), Ask("generate"))).replica_id.unique_id == "x"
    assert search.searched == 1


async def test_a_request_that_was_rejected_is_left_to_rays_search(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Searching(monkeypatch, Replica("x"))
    await chosen(router({"x": 0}), Ask("generate"), is_retry=True)
    assert search.searched == 1
