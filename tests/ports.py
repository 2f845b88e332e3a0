"""Ports for servers that must be told a number, and bind it some time later.

Port 0 is better wherever a server takes it. One that the kernel chose and that is closed again may be given to any
other process until then; those here are not the kernel's to give, and no two processes of tests get the same.
"""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress

_OURS = range(20_300, 22_700)
"""Below those that Linux gives by itself, as are those ten thousand above, and beside those that Ray takes."""
_CLAIMS: list[socket.socket] = []
"""Held until this process ends."""
_NEXT = itertools.cycle(_OURS)
for _ in range(os.getpid() * 97 % len(_OURS)):  # others begin elsewhere
    next(_NEXT)


def free_port(above: int = 0) -> int:
    """One that nobody listens at, nor at the port that is `above` it."""
    for port in itertools.islice(_NEXT, len(_OURS)):
        if _claimed(port) and _is_free(port) and _is_free(port + above):
            return port
    raise AssertionError("no port is free")


def _claimed(port: int) -> bool:
    """By a name that one process of the machine can have at a time."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0dabt-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _CLAIMS.append(claim)
    return True


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that is over does not take it
        probe.bind(("127.0.0.1", port))
        return True
    return False
