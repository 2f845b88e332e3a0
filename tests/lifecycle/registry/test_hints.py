"""Hints of changes over a real PostgreSQL, with and without a transaction pooler between; none over SQLite."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import structlog

from lifecycle.registry import Registry
from lifecycle.registry.hints import Hints
from tests.lifecycle.conftest import spec
from tests.lifecycle.postgres_server import Cluster, cluster, transaction_pooler


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


def test_sqlite_gives_none_and_nobody_waits_for_them(tmp_path):
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as registry:
        hints = registry.changes.hints(lambda: pytest.fail("nothing was changed"))
        hints.start()
        registry.create_version("triage", spec("a"), actor="amal")
        hints.stop()
        assert not hints.proved


@pytest.mark.e2e
def test_a_change_by_another_process_is_told_and_a_connection_that_was_cut_is_made_again(server):
    import psycopg

    url = f"{server.url}/postgres"
    told = threading.Semaphore(0)
    with Registry.open(url) as registry, Registry.open(url) as elsewhere:
        hints = registry.changes.hints(told.release)
        hints.start()
        while not hints.proved:
            assert told.acquire(timeout=60)
        for system in ("a", "b"):
            while told.acquire(timeout=0.05):  # those of before
                pass
            elsewhere.create_version("triage", spec(system), actor="amal")
            assert told.acquire(timeout=60), "no poll was needed"
            with psycopg.connect(url, autocommit=True) as other:
                listening = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
                (pid,) = other.execute(listening).fetchone()
                assert other.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,)).fetchone() == (True,)
            assert told.acquire(timeout=60), "what changed meanwhile is looked at"
            while not hints.proved:
                assert told.acquire(timeout=60)
        hints.stop()


@pytest.mark.e2e
def test_behind_a_transaction_pooler_all_works_but_hints_which_is_said_once(server):
    with transaction_pooler(server) as pooled, Registry.open(f"{pooled}/postgres") as registry:
        with structlog.testing.capture_logs() as logs:
            hints = Hints(registry._database, lambda: None, proof=0.5)
            hints.start()
            assert hints._thread is not None
            hints._thread.join(timeout=60)
        assert not hints._thread.is_alive()
        assert not hints.proved
        assert ["polling alone" in line["event"] for line in logs] == [True]
        # As often as a driver would begin to prepare statements, by threads that share the pooler's two connections.
        numbers: list[int] = []

        def write(name: str) -> None:
            for at in range(8):
                numbers.append(registry.create_version(name, spec(str(at)), actor="amal").number)
                registry.versions(name)

        threads = [threading.Thread(target=write, args=(f"of-{at}",)) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(numbers) == sorted([*range(1, 9)] * 4)
