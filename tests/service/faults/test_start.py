"""A start without the registry: /health from the first second, and answers from the last known state."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifecycle.registry import Registry
from tests.lifecycle.postgres_server import cluster
from tests.service.faults.conftest import Begin, chat
from tests.service.faults.test_registry import locked
from tests.waiting import seen

pytestmark = pytest.mark.timeout(300)


def ask(client: httpx.Client, key: dict[str, str] | None = None) -> httpx.Response:
    return client.post("/v1/chat/completions", json=chat("triage"), headers=key)


def seen_once(house: Any, begin: Begin, **given: Any) -> dict[str, str]:
    """A house that a service has read and left; the header of its one key."""
    house.prod("triage", prompt={"system": "one"})
    key = dict(house.key("app", role="admin"))
    service = begin(**given)
    with service.ready() as client:
        while not house.home.last_known.is_file() or ask(client, key).status_code != 200:
            pass
    service.terminate()
    assert service.end() == 0
    return key


def test_while_the_file_is_locked_the_last_known_state_answers(house: Any, begin: Begin) -> None:
    key = seen_once(house, begin)
    house.registry.close()
    with locked(Path(house.home.root / "registry.db"), "exclusive"):
        service = begin(lock_wait=0.2)
        with service.ready() as client:
            service.until("answering from the last known state")
            assert (answer := ask(client, key)).status_code == 200
            assert answer.json()["dabt"]["version"] == "triage:1"
            assert ask(client).status_code == 401
            assert client.get("/ready").json()["registry"]["problem"] == "unavailable"
    with service.ready() as client:
        service.until("registry is back")
        with Registry.open(house.home.registry_url) as other:
            other.keys.revoke("app", actor="elsewhere")
        seen(lambda: ask(client, key).status_code == 401)


def test_a_file_that_is_gone_is_away_and_not_a_new_registry_without_keys(
    house: Any, begin: Begin, tmp_path: Path
) -> None:
    key = seen_once(house, begin)
    house.registry.close()
    file = Path(house.home.root / "registry.db")
    for part in file.parent.glob("registry.db*"):
        part.rename(tmp_path / part.name)
    service = begin()
    with service.ready() as client:
        assert (ask(client, key).status_code, ask(client).status_code) == (200, 401)
        assert not file.exists()
        for part in tmp_path.glob("registry.db*"):
            part.rename(file.parent / part.name)
        service.until("registry is back")
        assert ask(client, key).status_code == 200


@pytest.mark.e2e
def test_while_the_database_server_is_stopped_the_last_known_state_answers(house: Any, begin: Begin) -> None:
    with cluster() as postgres:
        url = f"{postgres.url}/postgres"
        house.registry.close()
        house.registry = Registry.open(url)
        key = seen_once(house, begin, registry=url)
        house.registry.close()
        postgres.stop()
        service = begin(registry=url)
        with service.ready() as client:
            assert ask(client, key).json()["dabt"]["version"] == "triage:1"
            change = {"ref": "triage:1", "reason": "x"}
            assert client.post("/admin/promote", json=change, headers=key).status_code == 503
            postgres.start()
            service.until("registry is back")
            with Registry.open(url) as other:
                other.keys.revoke("app", actor="elsewhere")
            seen(lambda: ask(client, key).status_code == 401)


def test_a_service_that_never_saw_its_registry_is_alive_and_waits_for_it(house: Any, begin: Begin) -> None:
    house.prod("triage", prompt={"system": "one"})
    house.registry.close()
    with locked(Path(house.home.root / "registry.db"), "exclusive"):
        service = begin(lock_wait=0.2)
        service.until("engine ready")
        while (ready := httpx.get(f"{service.url}/ready", timeout=60).json())["code"] == "starting":
            pass
        assert ready["code"] == "registry_unread"
        assert httpx.get(f"{service.url}/health", timeout=60).status_code == 200
        refused = httpx.post(f"{service.url}/v1/chat/completions", json=chat("triage"), timeout=60)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    with service.ready() as client:
        assert ask(client).json()["dabt"]["version"] == "triage:1"


def test_before_the_registry_has_answered_health_does(house: Any, begin: Begin) -> None:
    """A server that takes the connection and says nothing: the hardest to wait for."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        service = begin(registry=f"postgresql://dabt@127.0.0.1:{silent.getsockname()[1]}/postgres")
        silent.accept()
        assert httpx.get(f"{service.url}/health", timeout=60).status_code == 200
        ready = httpx.get(f"{service.url}/ready", timeout=60)
        assert (ready.status_code, ready.json()["code"]) == (503, "starting")
        refused = httpx.post(f"{service.url}/v1/chat/completions", json=chat("triage"), timeout=60)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")


def test_a_registry_of_a_newer_release_still_ends_the_start_with_one_sentence(house: Any, begin: Begin) -> None:
    with house.registry._database.write() as tx:
        tx.exec_driver_sql("UPDATE dabt_meta SET value = '999' WHERE key = 'schema'")
    service = begin()
    assert service.end() == 1
    assert "has schema 999 and this release reads" in service.log[-1]
