"""Which of many engine replicas answers a request: where its adapter is, and where there is room.

Pure: what is known of the replicas comes in, the order in which to try them comes out. Nothing here knows Ray.

A replica's memory is a cache of adapters, so requests for one adapter should meet in one place. Rendezvous hashing
(Thaler and Ravishankar 1998) gives every adapter an order of its own over the replicas, the same at every gateway
without a word between them; when a replica comes or goes, only the adapters that it is first for move. A popular
adapter would drown its first replica, so no replica takes more than `slack` times the mean load (Mirrokni, Thorup and
Zadimoghaddam 2018, "Consistent hashing with bounded loads"): what is over goes on along the order, and the adapter has
as many copies as its traffic asks for. What replicas hold now goes before the order, since an adapter that is loaded
already costs nothing.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

SLACK = 1.15
"""Less is more even, more keeps adapters together: `python -m benchmarks.routing --slack …` shows it."""


@dataclass(slots=True)
class Replica:
    """What a gateway knows of one engine replica: what it said last, and what this gateway has sent it since."""

    id: str
    """Stays the same while the replica's process lives."""
    room: int
    """Most requests that it takes, running and waiting."""
    busy: int = 0
    """Requests that it has, running and waiting."""
    resident: Collection[str] = ()
    """Digests of adapters in slots: a request for one starts at once."""
    nearby: Collection[str] = ()
    """Digests of adapters in its main memory or on its disk: a request for one need not wait for the store."""
    idle_slots: int = 1
    """Slots that another adapter could take now: neither pinned nor in use by a request."""


@dataclass(slots=True)
class Router:
    """Orders replicas for an adapter. One for each gateway; gateways agree because they hash alike."""

    slack: float = SLACK
    remembered: int = 20_000
    """Adapters whose order is kept. Each costs about a pointer a replica."""
    _members: tuple[str, ...] = ()
    _orders: OrderedDict[str, list[int]] = field(default_factory=OrderedDict)

    def ranked(self, digest: str | None, replicas: Sequence[Replica]) -> list[Replica]:
        """The replicas in the order in which to try them; those without room are left out.

        `digest` is the adapter's; None for the base, which every replica holds, and which so goes where least is to do.
        """
        if digest is None:
            return sorted((each for each in replicas if each.busy < each.room), key=lambda each: each.busy)
        order = self._order(digest, replicas)
        most = math.ceil(self.slack * (1 + sum(each.busy for each in replicas)) / max(1, len(replicas)))

        def cost(replica: Replica) -> tuple[bool, int]:
            return replica.busy >= most, _wait(digest, replica)

        tried = (replicas[place] for place in order)
        return sorted((each for each in tried if each.busy < each.room), key=cost)  # stable: ties stay in order

    def _order(self, digest: str, replicas: Sequence[Replica]) -> list[int]:
        members = tuple(each.id for each in replicas)
        if members != self._members:
            self._members = members
            self._orders.clear()
        order = self._orders.get(digest)
        if order is None:
            order = sorted(range(len(members)), key=lambda place: weight(digest, members[place]), reverse=True)
            self._orders[digest] = order
            if len(self._orders) > self.remembered:
                self._orders.popitem(last=False)
        else:
            self._orders.move_to_end(digest)
        return order


def weight(digest: str, replica: str) -> bytes:
    """Of a replica for an adapter: the highest is first. The same in every process and at every start."""
    return blake2b(f"{digest} {replica}".encode(), digest_size=8).digest()


def _wait(digest: str, replica: Replica) -> int:
    """What the request would wait for there, by kind: nothing, a copy into a slot, the store, somebody else's slot."""
    if digest in replica.resident:
        return 0
    if replica.idle_slots < 1:
        return 3
    return 1 if digest in replica.nearby else 2
