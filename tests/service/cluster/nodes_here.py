"""What the nodes of a test's cluster are told: ports that no other cluster is given, and to be as urgent as tests are.

Ray gives its processes the niceness 15, with which they hardly come to run beside other tests.
"""

from __future__ import annotations

from service.cluster import nodes
from tests.ports import free_port


def of_a_cluster_here() -> dict[str, str]:
    told = nodes.of_a_cluster_here()
    ports = {name: str(free_port()) for name in told if name.endswith("_PORT")}
    return told | ports | {"RAY_worker_niceness": "0"}
