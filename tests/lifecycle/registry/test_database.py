"""The database under the registry: several writers, no writer at all, and a file that is something else."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text, update

from lifecycle.errors import Conflict, Corrupt, InvalidConfig, Unavailable, Unreadable
from lifecycle.registry import Registry, database, tables
from lifecycle.version import Prompt, VersionSpec, digest_of


@pytest.fixture
def file(tmp_path):
    return tmp_path / "registry.db"


@pytest.fixture
def sqlite(file):
    with Registry.open(f"sqlite:///{file}") as registry:
        yield registry


def recipe(system):
    return VersionSpec(base=digest_of("base"), prompt=Prompt(system=system))


def test_sqlite_is_kept_in_wal_with_foreign_keys_held(sqlite, file):
    with sqlite._database.read() as tx:
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert tx.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert tx.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


def test_a_reader_does_not_wait_for_a_writer_and_sees_nothing_of_its_work(sqlite, file):
    sqlite.create_version("triage", recipe("a"), actor="amal")
    with sqlite._database.write() as tx:
        tx.execute(update(tables.versions).values(state="retired"))
        # Opening, too, must not need the lock that the writer holds.
        with Registry.open(f"sqlite:///{file}") as other:
            assert other.version("triage:1").state == "draft"
    assert sqlite.version("triage:1").state == "retired"


def test_many_threads_that_write_at_once_are_never_told_that_the_database_is_locked(sqlite):
    barrier = threading.Barrier(8)

    def write(worker):
        barrier.wait()
        return [sqlite.create_version("triage", recipe(f"{worker} {n}"), actor="amal").number for n in range(10)]

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for batch in pool.map(write, range(8)) for number in batch]
    assert sorted(numbers) == list(range(1, 81))


def test_a_lock_that_is_not_given_back_in_time_is_unavailable_and_worth_trying_again(sqlite, file, monkeypatch):
    monkeypatch.setattr(database, "_WAIT", 0.1)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Registry.open(f"sqlite:///{file}") as registry:
        with pytest.raises(Unavailable, match="held by another writer") as caught:
            registry.create_version("triage", recipe("a"), actor="amal")
        assert caught.value.retry_after == 1
        assert registry.names() == [], "reading goes on"
        holder.execute("ROLLBACK")
        assert registry.create_version("triage", recipe("a"), actor="amal").number == 1
    holder.close()


@pytest.mark.parametrize("content", [b"this is no database, and long enough to be looked at" * 40, b"\x00" * 4096])
def test_a_file_that_is_no_database_is_unavailable_with_its_name(file, content):
    file.write_bytes(content)
    with pytest.raises(Unavailable, match=r"registry\.db"):
        Registry.open(f"sqlite:///{file}")


def test_a_database_damaged_after_opening_is_unavailable(sqlite, file):
    sqlite.create_version("triage", recipe("a"), actor="amal")
    sqlite.close()
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(Unavailable, match="cannot be used"), Registry.open(f"sqlite:///{file}") as registry:
        registry.versions()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be used"):
        Registry.open(f"sqlite:///{tmp_path / 'file' / 'registry.db'}")


def test_a_server_that_is_not_there_is_unavailable_and_its_password_is_not_told():
    with pytest.raises(Unavailable, match="cannot be used") as caught:
        Registry.open("postgresql://dabt:geheim@127.0.0.1:1/dabt")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://h/db", "nosuch://h/db"])
def test_a_url_that_cannot_be_a_registry_is_a_fault_of_the_configuration(url):
    with pytest.raises(InvalidConfig):
        Registry.open(url)


@pytest.mark.parametrize(
    ("url", "hosts", "attributes"),
    [
        ("postgresql://u:p@a:5432,b:5433/dabt", ("a:5432", "b:5433"), "read-write"),
        ("postgres://a,b/dabt?sslmode=require", ("a", "b"), "read-write"),
        ("postgresql://u@/dabt?host=a:1&host=b:2&target_session_attrs=primary", ("a:1", "b:2"), "primary"),
        ("postgresql://u@a:5432/dabt", (), None),
    ],
)
def test_a_url_of_several_servers_means_the_one_that_takes_writes(url, hosts, attributes):
    parsed = database.parse(url)
    assert parsed.query.get("host", ()) == hosts
    assert parsed.query.get("target_session_attrs") == attributes
    assert (parsed.database, parsed.password) == ("dabt", "p" if ":p@" in url else None)


def test_a_registry_of_another_schema_is_left_alone_and_named(registry, registry_url):
    with registry._database.write() as tx:
        tx.execute(update(tables.meta).values(value="99"))
    with pytest.raises(InvalidConfig, match="has schema 99"):
        Registry.open(registry_url)


def test_a_change_that_contradicts_the_tables_is_a_conflict_and_leaves_nothing(registry, house):
    house.draft("a")

    def contradict():
        with registry._database.write() as tx:
            tx.execute(update(tables.versions).values(state="retired"))
            tx.execute(tables.aliases.insert().values(name="triage", alias="prod", move=99))

    with pytest.raises(Conflict):
        contradict()
    assert registry.version("triage:1").state == "draft"


def test_a_recipe_changed_behind_the_registrys_back_is_corrupt(registry, house):
    house.draft("a")
    with registry._database.write() as tx:
        tx.execute(update(tables.versions).values(spec=recipe("b").model_dump(mode="json")))
    with pytest.raises(Corrupt, match="changed by hand"):
        registry.version("triage:1")
    with registry._database.write() as tx:
        tx.execute(update(tables.versions).values(spec={"base": "nonsense"}))
    with pytest.raises(Unreadable, match=r"triage:1 cannot be read by this release \(spec.base") as caught:
        registry.versions()
    assert "nonsense" not in str(caught.value), "what a row holds is nobody else's to read"


@pytest.mark.e2e
def test_a_server_that_restarts_is_found_again(postgres_url):
    """A pool's old connections are dead after a restart; the next call must not fail because of them."""
    import psycopg

    with Registry.open(postgres_url) as registry:
        registry.create_version("triage", recipe("a"), actor="amal")
        # By its own process: the backend of a test before this one may still be on its way out.
        with registry._database.read() as tx:
            backend = tx.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with psycopg.connect(postgres_url, autocommit=True) as other:
            cut = other.execute("SELECT pg_terminate_backend(%s, 10000)", (backend,))
            assert cut.fetchone() == (True,), "the pool's connection was cut"
        assert registry.version("triage:1").number == 1
