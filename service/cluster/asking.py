"""What gateways and engine rooms say to each other: an ask goes there, frames come back.

All of it is pickled on its way, so it holds values alone. Read `room.py` for who answers, `fleet.py` for who asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lifecycle.errors import DabtError
from lifecycle.version import Digest
from service.engine.interface import Call, EngineAnswer, EngineFacts, Tally

Task = Literal["generate", "stream", "likelihoods", "prefetch", "tokenize", "detokenize", "facts", "metrics"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that a gateway asks of some room."""

    task: Task
    digest: Digest | None = None
    """Of the adapter that it needs: the room loads it, holds it and gives it a slot for as long as it takes."""
    call: Call | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    """For `tokenize` and `detokenize`, which are no calls."""
    passed_over: frozenset[str] = frozenset()
    """Rooms that have refused it."""
    room: str = ""
    """The one that is meant, where it is no matter of choice."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The first frame of every answer: the room has the request, and nobody else is asked unless it refuses."""

    room: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last frame of an answer that failed."""

    error: DabtError
    room: str
    taken: bool
    """The engine had it. Otherwise another room may be asked without a thought."""


Frame = Begun | str | Tally | EngineAnswer | EngineFacts | Refusal | dict[str, Any] | bool | bytes
"""Text is a chunk of a stream; an object is what `tokenize` gives; true or false is what `prefetch` does, bytes
are a page of metrics."""


@dataclass(frozen=True, slots=True)
class Held:
    """One adapter in a room's memory."""

    digest: Digest
    leases: int
    requests: int
    pinned: bool
    age: float = field(compare=False)
    """Seconds that it was there when the card was made: an age and no time, since two machines' clocks differ."""
    in_slot: bool = False
    """A request of it is in the batch."""
    wanted: bool = False
    """A request waits with it for a slot."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a room tells of itself, for gateways that choose among rooms and for people who look on."""

    room: str
    capacity: int
    """Most requests that it takes, running and waiting; 0 while its engine does not answer."""
    busy: int
    """Requests that it has."""
    waiting: int
    """Of those, before the batch."""
    places: int
    """Adapters that its memory has room for."""
    slots: int
    slots_taken: int
    held: tuple[Held, ...] = ()
    """Adapters in the engine's memory, least recently used first."""
    failures: Mapping[Digest, str] = field(default_factory=dict)
    """Why adapters are not there that were asked for."""
    structured_output: str = "ok"
    came: float = field(default=0.0, compare=False)
    """When it came, by the counting clock of whoever has it."""
    base: Digest = ""
    problem: str = ""
    """Why its engine does not answer now; empty when it does."""
    since: int = 0
    """When it began to answer, or stopped, in seconds of Unix time."""
    restarts: int = 0
    """Times that its engine died and was started again."""
