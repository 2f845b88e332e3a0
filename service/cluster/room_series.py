"""What rooms do now, on a gateway's `/metrics`."""

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
    """The pages of several engines as one, each sample with its room. What is of the process, all tell: it is taken
    from the first."""
    families: dict[str, Metric] = {}
    for at, (room, page) in enumerate(pages.items()):
        for told in text_string_to_metric_families(page.decode()):
            of_process = told.name.startswith(_OF_ONE_PROCESS)
            if of_process and at:
                continue
            family = families.setdefault(told.name, Metric(told.name, told.documentation, told.type))
            for sample in told.samples:
                labels = sample.labels if of_process else {**sample.labels, "room": room}
                family.add_sample(sample.name, labels, sample.value)
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Mapping[str, Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families.values())
