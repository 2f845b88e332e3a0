"""What routers outside read of an engine to send a request where its adapter is: llm-d, the Gateway API's inference
extension, AIBrix. By flag, since the labels of such a series name adapters.

`vllm:lora_requests_info` has the moment as its value and lists adapters in its labels, so every combination of adapters
would be a series of its own (vLLM #13303). Here there is one: that of the moment when the page is read. Of
`vllm:lora_adapter_loaded` (vLLM #54830) there is one for each name of an adapter in memory, `MOST_NAMES` at most.
Adapters have the names by which callers ask for them, and one adapter may have several.

Of several engines behind one endpoint the first is one series too, with the adapters and slots of all: a router reads
only one, and a request for any of them is taken here. The second, and the engines' own, tell the engine by `room`.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lifecycle.aliases import PROD
from lifecycle.states import CALLABLE
from lifecycle.version import Digest, Ref
from service.catalogue import EMPTY, Snapshot

MOST_NAMES = 512
_WAITING = re.compile(rb"^(vllm:num_requests_waiting\{[^\n]*\}) (\S+)$", re.MULTILINE)
_ROOM = re.compile(rb'[{,]room="((?:[^"\\\n]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Loaded:
    """An adapter in memory."""

    digest: Digest
    rank: int
    in_slot: bool
    """It has a request in the engine."""
    wanted: bool
    """A request waits for its slot."""
    pinned: bool
    room: str = ""
    """Whose memory it is, where there are several."""


class Names:
    """By which callers ask for an adapter; found once for each snapshot."""

    def __init__(self) -> None:
        self._of: Snapshot = EMPTY
        self._names: Mapping[Digest, Sequence[str]] = {}

    def of(self, snapshot: Snapshot) -> Mapping[Digest, Sequence[str]]:
        if snapshot is not self._of:
            names = defaultdict(list)
            for digest, name in _names(snapshot):
                names[digest].append(name)
            self._of, self._names = snapshot, names
        return self._names


def page(
    loaded: Sequence[Loaded],
    coming: Collection[Digest],
    names: Mapping[Digest, Sequence[str]],
    slots: int,
    now: Callable[[], float] = time.time,
) -> bytes:
    """In Prometheus' text format. `coming` are adapters that are being loaded for requests, which wait for them."""
    registry = CollectorRegistry()
    registry.register(_Series(loaded, coming, names, slots, now()))
    return generate_latest(registry)


def with_those_at_the_gate(page: bytes, waiting: Mapping[str, int]) -> bytes:
    """The engines' own page, the waiting requests of each with those that wait for a slot before it. These are by room;
    of an engine that is alone the room has no name.
    """
    left = {_escaped(room): count for room, count in waiting.items()}

    def added(series: re.Match[bytes]) -> bytes:
        named = _ROOM.search(series[1])
        return b"%s %r" % (series[1], float(series[2]) + left.pop(named[1] if named else b"", 0))

    return _WAITING.sub(added, page)


class _Series(Collector):
    def __init__(
        self,
        loaded: Sequence[Loaded],
        coming: Collection[Digest],
        names: Mapping[Digest, Sequence[str]],
        slots: int,
        now: float,
    ) -> None:
        self._loaded, self._coming, self._names, self._slots, self._now = loaded, coming, names, slots, now

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "vllm:lora_requests_info",
            "Adapters with requests; the value is the moment",
            labels=["max_lora", "running_lora_adapters", "waiting_lora_adapters"],
        )
        running = self._listed({each.digest for each in self._loaded if each.in_slot})
        wanted = (each.digest for each in self._loaded if each.wanted and not each.in_slot)
        waiting = self._listed({*wanted, *self._coming})
        info.add_metric([str(self._slots), running, waiting], self._now)
        yield info
        by_room = any(each.room for each in self._loaded)
        there = GaugeMetricFamily(
            "vllm:lora_adapter_loaded",
            "1 for an adapter in memory, by each of its names",
            labels=["adapter_name", "level", "pinned", "rank", *(["room"] if by_room else [])],
        )
        left = MOST_NAMES
        for each in self._loaded:
            for name in self._names.get(each.digest, ())[:left]:
                level = "gpu" if each.in_slot else "cpu"
                labels = [name, level, str(each.pinned).lower(), str(each.rank)]
                there.add_metric([*labels, each.room] if by_room else labels, 1.0)
                left -= 1
        yield there

    def _listed(self, digests: Collection[Digest]) -> str:
        names = [name for digest in sorted(digests) for name in self._names.get(digest, ())]
        return ",".join(names[:MOST_NAMES])


def _escaped(text: str) -> bytes:
    """As it stands in a label."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"").encode()


def _names(snapshot: Snapshot) -> Iterator[tuple[Digest, str]]:
    for name in snapshot.names:
        for _, version in sorted(snapshot.versions[name].items()):
            if version.spec.adapter is not None and version.state in CALLABLE:
                yield version.spec.adapter, version.ref
        for _, alias in sorted(snapshot.aliases.get(name, {}).items()):
            called = name if alias.alias == PROD else str(Ref(name=name, alias=alias.alias))
            for digest in sorted({v.spec.adapter for v in snapshot.behind(alias) if v.spec.adapter is not None}):
                yield digest, called
