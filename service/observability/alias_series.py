"""Where each alias points, as series: what one looks at beside a change in latency or errors.

`dabt_alias_weight{name, alias, version}` is the target's share of the alias's traffic, between 0 and 1, and
`dabt_alias_doubted` is 1 for a target whose newest evaluation has failed since it was approved. At most
`MAX_ALIAS_SERIES` of each are shown, by name; `dabt_registry_aliases` and `dabt_registry_versions` count all, and
`dabt_registry_unreadable{kind}` the rows of the registry that are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import get_args

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lifecycle.registry.readable import Kept
from lifecycle.states import State
from service.catalogue import Snapshot

MAX_ALIAS_SERIES = 1000


class AliasSeries(Collector):
    """Reads the snapshot of the moment, which never changes, so any thread may."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot()
        weights = GaugeMetricFamily(
            "dabt_alias_weight", "A version's share of an alias's traffic", labels=["name", "alias", "version"]
        )
        for labels, weight in islice(_weights(snapshot), MAX_ALIAS_SERIES):
            weights.add_metric(labels, weight)
        yield weights
        doubted = GaugeMetricFamily(
            "dabt_alias_doubted",
            "1 for a version behind an alias that failed an evaluation since it was approved",
            labels=["name", "alias", "version"],
        )
        for labels in islice(_doubted(snapshot), MAX_ALIAS_SERIES):
            doubted.add_metric(labels, 1.0)
        yield doubted
        aliases = sum(len(of_name) for of_name in snapshot.aliases.values())
        yield GaugeMetricFamily("dabt_registry_aliases", "Aliases in the registry", aliases)
        yield GaugeMetricFamily("dabt_registry_versions", "Versions in the registry", snapshot.size)
        left_out = GaugeMetricFamily(
            "dabt_registry_unreadable", "Rows of the registry that this release cannot read", labels=["kind"]
        )
        counts = Counter(row.kind for row in snapshot.left_out.values())
        for kind in get_args(Kept):
            left_out.add_metric([kind], counts[kind])
        yield left_out


def _weights(snapshot: Snapshot) -> Iterator[tuple[list[str], float]]:
    for name, aliases in sorted(snapshot.aliases.items()):
        for alias, of_alias in sorted(aliases.items()):
            for target in of_alias.targets:
                yield [name, alias, f"{name}:{target.number}"], target.weight


def _doubted(snapshot: Snapshot) -> Iterator[list[str]]:
    for labels, _ in _weights(snapshot):
        name, _, version = labels
        known = snapshot.version(name, int(version.rpartition(":")[2]))
        if known is not None and known.state is State.DOUBTED:
            yield labels
