"""Which engine replica a request goes to, on Ray Serve's interface for request routers (ray 2.60).

The choice is `rooms.py`'s and `routing.py`'s; here is what Ray needs of it. Ray tries the ranks in order and asks again
where a replica rejects the request, so a rank is one replica. Where none is left, Ray would ask for ever; the request
is told instead.
"""

from __future__ import annotations

import pickle
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from service.cluster.asking import Ask
from service.cluster.fleet import NoRoomLeft
from service.cluster.rooms import rooms_of
from service.cluster.routing import SLACK

CARD = "card"
"""Under this an engine replica tells its card among its routing statistics: as bytes, which Ray's controller passes on
without a look at what they are."""


class AdapterRouter(RequestRouter):  # type: ignore[misc]
    """One for each deployment in each gateway's process. All of its methods run in one event loop."""

    def initialize_state(self, **kwargs: Any) -> None:
        # Ray may bring this class as a copy, with globals of its own: what is shared with the handle's side is in
        # another module.
        self._rooms = rooms_of(self._deployment_id.name)
        self._rooms.router.slack = kwargs.get("slack", SLACK)
        self._under_way: dict[tuple[str, str], str | None] = {}
        """The adapter, by request and room."""

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        super().update_replicas(replicas)
        self._rooms.are((each.replica_id.unique_id, each.max_ongoing_requests) for each in replicas)
        for replica in replicas:
            if (card := replica.routing_stats.get(CARD)) is not None:
                self._rooms.told(pickle.loads(card))  # noqa: S301 - Ray carries pickles as it is

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_died(replica_id)
        self._rooms.are((each.replica_id.unique_id, each.max_ongoing_requests) for each in self._replicas_list)

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        if pending_request is None:
            return [[each] for each in candidate_replicas]
        # Without it Ray asks again at once where every replica is full (https://github.com/ray-project/ray/issues/63238).
        pending_request.routing_context.should_backoff = True
        ask = pending_request.args[0]
        if not isinstance(ask, Ask):
            return [[each] for each in candidate_replicas]
        by_room = {each.replica_id.unique_id: each for each in candidate_replicas}
        ranked = [[by_room[room]] for room in self._rooms.ranked(ask) if room in by_room]
        if not ranked and not pending_request.future.done():
            pending_request.future.set_exception(NoRoomLeft())
        # Ray looks whether the request is done when it is given something to try.
        return ranked or [candidate_replicas[:1]]

    async def _choose_replica_for_request(
        self, pending_request: PendingRequest, *, is_retry: bool = False
    ) -> RunningReplica:
        """Counted between the choice and the sending, with nothing awaited in between: each is ended once."""
        replica = None if is_retry else self._at_hand(pending_request)
        if replica is None:
            replica = await super()._choose_replica_for_request(pending_request, is_retry=is_retry)
        ask = pending_request.args[0]
        room, digest = replica.replica_id.unique_id, ask.digest if isinstance(ask, Ask) else None
        self._under_way[pending_request.metadata.internal_request_id, room] = digest
        self._rooms.sent(room, digest)
        return replica

    def _at_hand(self, pending_request: PendingRequest) -> RunningReplica | None:
        """The first in rank, where Ray knows of room there. Its own search would find the same one, by a task and
        queues that cost more than the choice; where there is anything to find out, it is left to that.
        """
        ask = pending_request.args[0]
        ranked = self._rooms.ranked(ask) if isinstance(ask, Ask) else []
        for replica in self._replicas_list if ranked else ():
            if replica.replica_id.unique_id == ranked[0]:
                queue = self.replica_queue_len_cache.get(replica.replica_id)
                if queue is None or queue >= replica.max_ongoing_requests:
                    return None
                self._record_queue_wait_time(pending_request)
                return replica
        return None

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        room = replica_id.unique_id
        if (internal_request_id, room) in self._under_way:
            self._rooms.ended(room, self._under_way.pop((internal_request_id, room)))
