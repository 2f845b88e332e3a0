"""What rooms do now, and their engines' own series, on a gateway's `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from service.cluster.asking import Card

_OF_ONE_PROCESS = ("python_", "process_")
_SERIES: Mapping[str, str] = {
    "busy": "Requests that an engine has, running and waiting",
    "waiting": "Requests that wait for a slot in its batch",
    "slots_taken": "Adapters in its batch",
    "capacity": "Requests that it takes; 0 while it does not answer",
}
_TOLD_ON_CARDS = {*_SERIES, "restarts", "resident_adapters"}
_OF_ONE_PROCESS = ("python_", "process_")
_DABT, _ROOM = "dabt_", "dabt_room_"
MOST_SAMPLES = 2000
"""Of one room: what comes after them on its page is left out."""


def page(cards: Sequence[Card]) -> bytes:
    """In Prometheus' text format: as many lines a series as there are rooms."""
    lines = []
    for name, text in _SERIES.items():
        lines += [f"# HELP dabt_room_{name} {text}", f"# TYPE dabt_room_{name} gauge"]
        lines += [f'dabt_room_{name}{{room="{card.room}"}} {getattr(card, name)}' for card in cards]
    lines += ["# HELP dabt_room_restarts_total Times that an engine died and was started again"]
    lines += ["# TYPE dabt_room_restarts_total counter"]
    lines += [f'dabt_room_restarts_total{{room="{card.room}"}} {card.restarts}' for card in cards]
    lines += ["# HELP dabt_room_resident_adapters Adapters in its memory", "# TYPE dabt_room_resident_adapters gauge"]
    lines += [f'dabt_room_resident_adapters{{room="{card.room}"}} {len(card.held)}' for card in cards]
    return "".join(f"{line}\n" for line in lines).encode()


def of_engines(pages: Mapping[str, bytes]) -> bytes:
    """The pages of engines in this process as one, each sample with its room. What is of the process, all tell: it is
    taken from the first.
    """
    families: dict[str, Metric] = {}
    for at, (room, page) in enumerate(pages.items()):
        for told in text_string_to_metric_families(page.decode()):
            of_process = told.name.startswith(_OF_ONE_PROCESS)
            if not (of_process and at):
                _add(families, told.name, told, {} if of_process else {"room": room})
    return _page_of(families)


def of_rooms(pages: Mapping[str, bytes]) -> bytes:
    """The pages of rooms elsewhere as one, each sample with its room; what a room itself counts is called
    `dabt_room_…`, and what is of its process alone is left out.
    """
    families: dict[str, Metric] = {}
    for room, page in pages.items():
        left = MOST_SAMPLES
        for told in text_string_to_metric_families(page.decode()):
            name = _name(told.name)
            if not told.name.startswith(_OF_ONE_PROCESS) and name.removeprefix(_ROOM) not in _TOLD_ON_CARDS:
                _add(families, name, told, {"room": room}, max(0, left))
                left -= len(told.samples)
    return _page_of(families)


def _add(
    families: dict[str, Metric], name: str, told: Metric, more: Mapping[str, str], most: int | None = None
) -> None:
    family = families.setdefault(name, Metric(name, told.documentation, told.type))
    for sample in told.samples[:most]:
        family.add_sample(name + sample.name.removeprefix(told.name), {**sample.labels, **more}, sample.value)


def _page_of(families: Mapping[str, Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry)


def _name(name: str) -> str:
    return _ROOM + name.removeprefix(_DABT) if name.startswith(_DABT) else name


class _Families(Collector):
    def __init__(self, families: Mapping[str, Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter([family for family in self._families.values() if family.samples])
