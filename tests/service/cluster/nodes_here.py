"""What the nodes of a test's cluster are told, with ports that no other test's cluster is given."""

from __future__ import annotations

from service.cluster import nodes
from tests.ports import free_port


def of_a_cluster_here() -> dict[str, str]:
    told = nodes.of_a_cluster_here()
    return told | {name: str(free_port()) for name in told if name.endswith("_PORT")}
