"""The state for a start without the registry: what was known last, whole or not at all, and only one's own."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import update

from lifecycle.errors import Unavailable
from lifecycle.registry import tables
from service import last_known
from service.catalogue import EMPTY, Catalogue
from service.last_known import LastKnown

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def full(house: Any) -> Any:
    """A house with one of everything that is kept."""
    house.adapter("one")
    house.prod("triage", adapter="one")
    house.version("triage", prompt={"system": "ردّ بالعربية"})
    house.version("triage", prompt={"system": "newer"})
    house.registry.promote("triage:2", actor="x", reason="x", share=0.25, force=True)
    for name in ("app", "newer", "old"):
        house.key(name, models=["triage"], limits={"tokens_per_day": 5})
    house.registry.keys.revoke("old", actor="x")
    with house.registry._database.write() as tx:
        tx.execute(update(tables.versions).where(tables.versions.c.number == 3).values(state="frozen"))
        tx.execute(update(tables.api_keys).where(tables.api_keys.c.name == "newer").values(role="auditor"))
    return house


def kept(house: Any) -> LastKnown:
    return LastKnown(house.home.last_known, house.registry.name)


def read(house: Any, state: LastKnown | None = None) -> Catalogue:
    catalogue = Catalogue(house.registry, 0.25, state)
    catalogue.refresh()
    return catalogue


def test_what_is_loaded_is_what_was_saved(full: Any) -> None:
    catalogue = read(full)
    known = catalogue._known
    assert known is not None
    kept(full).save(known)
    assert kept(full).load() == known
    assert len(known.left_out) == 2
    assert len(known.manifests) == 1


def test_a_change_writes_what_changed_and_the_whole_is_the_same(full: Any) -> None:
    state = kept(full)
    catalogue = read(full)
    state.save(catalogue._known)  # type: ignore[arg-type]
    statements: list[str] = []
    connect = state._connect

    def traced() -> sqlite3.Connection:
        connection = connect()
        connection.set_trace_callback(statements.append)
        return connection

    state._connect = traced  # type: ignore[method-assign]
    steps = [
        lambda: full.version("triage", prompt={"system": "four"}),
        lambda: full.registry.rollback("triage", actor="x", reason="x"),
        lambda: full.registry.keys.revoke("app", actor="x"),
        lambda: full.prod("answer", prompt={"system": "x"}),
        lambda: full.registry.keys.create(_grant("fresh"), actor="x"),
    ]
    for step in steps:
        step()
        catalogue.refresh()
        statements.clear()
        state.save(catalogue._known)  # type: ignore[arg-type]
        assert sum("INSERT OR REPLACE" in one for one in statements) <= 2
        assert kept(full).load() == catalogue._known
    statements.clear()
    state.save(catalogue._known)  # type: ignore[arg-type]
    assert statements == []


def _grant(name: str) -> Any:
    from lifecycle.access.keys import KeyGrant

    return KeyGrant(name=name)


def test_two_services_of_one_home_do_not_mix_their_states(full: Any) -> None:
    one, other = kept(full), kept(full)
    behind, ahead = read(full), read(full)
    one.save(behind._known)  # type: ignore[arg-type]
    other.save(ahead._known)  # type: ignore[arg-type]
    full.prod("answer", prompt={"system": "x"})
    ahead.refresh()
    other.save(ahead._known)  # type: ignore[arg-type]
    full.registry.keys.revoke("app", actor="x")
    behind.refresh()
    one.save(behind._known)  # type: ignore[arg-type]
    assert kept(full).load() == behind._known
    assert behind.snapshot == read(full).snapshot


def test_it_is_its_owners_alone_and_holds_no_secret(full: Any) -> None:
    secret = full.key("another")["authorization"].removeprefix("Bearer ")
    file = full.home.last_known
    file.touch(mode=0o644)
    kept(full).save(read(full)._known)  # type: ignore[arg-type]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret.encode() not in file.read_bytes()
    assert b"sha256:" in file.read_bytes()


def not_used(house: Any, registry: str = "") -> str:
    """Why not, as the log says it."""
    with structlog.testing.capture_logs() as lines:
        assert LastKnown(house.home.last_known, registry or house.registry.name).load() is None
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("the last known state is not used", "warning")
    return str(line["why"])


def test_what_another_registry_or_another_release_left_is_not_used(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(full).save(read(full)._known)  # type: ignore[arg-type]
    assert "it is of the registry sqlite" in not_used(full, "postgresql://db/dabt")
    for name in ("_FORMAT", "SCHEMA_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(last_known, name, 99)
            assert not_used(full) == "another release wrote it"
    assert kept(full).load() is not None


@pytest.mark.parametrize("damage", ["cut", "overwritten", "empty", "a row", "a kind", "no table"])
def test_what_is_damaged_is_not_used_in_part_and_is_written_anew(full: Any, damage: str) -> None:
    file: Path = full.home.last_known
    catalogue = read(full)
    kept(full).save(catalogue._known)  # type: ignore[arg-type]
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "overwritten":
        file.write_bytes(b"no database, and long enough to be looked at" * 400)
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        statement = {
            "a row": "UPDATE kept SET body = '{\"name\": 1}' WHERE kind = 'alias'",
            "a kind": "UPDATE kept SET kind = 'spell' WHERE kind = 'alias'",
            "no table": "DROP TABLE kept",
        }
        with sqlite3.connect(file) as connection:
            connection.execute(statement[damage])
        connection.close()
    assert not_used(full).startswith("it cannot be read")
    state = kept(full)
    for _ in range(2):  # a file that is no database is thrown away by the first
        state._saved = None
        state.save(catalogue._known)  # type: ignore[arg-type]
    assert kept(full).load() == catalogue._known


def test_a_home_that_takes_nothing_costs_the_state_and_is_said_once(full: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = LastKnown(tmp_path / "file" / "last-known.db", full.registry.name)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            state.save(read(full)._known)  # type: ignore[arg-type]
    assert sum(line["event"] == "the last known state cannot be kept" for line in lines) == 1


# -- the catalogue that starts with it --------------------------------------------------------------------------------


def until(condition: Any) -> None:
    import threading

    while not condition():
        threading.Event().wait(0.005)


def away(*_: object) -> Any:
    raise Unavailable("the registry is away")


def test_a_service_that_starts_without_the_registry_has_what_was_known_last(
    full: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read(full)
    kept(full).save(before._known)  # type: ignore[arg-type]
    monkeypatch.setattr(full.registry.changes, "newest", away)
    catalogue = Catalogue(full.registry, 0.02, kept(full))
    catalogue.start()
    try:
        until(lambda: catalogue.snapshot is not EMPTY)
        assert catalogue.snapshot == before.snapshot
        assert catalogue.problem == "unavailable"
        assert catalogue.age == float("inf")
        assert catalogue.manifest(full.adapters["one"]).digest == full.adapters["one"]
        monkeypatch.undo()
        full.registry.keys.revoke("app", actor="x")
        until(lambda: catalogue.snapshot.revision == full.registry.revision())
        assert catalogue.snapshot == read(full).snapshot
    finally:
        catalogue.stop()


def test_a_registry_that_is_there_is_asked_and_not_the_last_known_state(full: Any) -> None:
    kept(full).save(read(full)._known)  # type: ignore[arg-type]
    full.registry.keys.revoke("app", actor="x")
    told: list[Any] = []
    catalogue = Catalogue(full.registry, 0.02, kept(full))
    catalogue.on_change = lambda before, after: told.append(after)
    catalogue.start()
    try:
        until(lambda: told)
        (app,) = [key for key in told[0].keys.values() if key.name == "app"]
        assert app.revoked_at is not None
    finally:
        catalogue.stop()


def test_keys_that_could_be_read_count_and_not_those_that_were_known(
    full: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(full).save(read(full)._known)  # type: ignore[arg-type]
    full.registry.keys.revoke("app", actor="x")
    monkeypatch.setattr(full.registry.changes, "traffic", away)
    catalogue = Catalogue(full.registry, 0.02, kept(full))
    catalogue.start()
    try:
        until(lambda: catalogue.snapshot is not EMPTY)
        (app,) = [key for key in catalogue.snapshot.keys.values() if key.name == "app"]
        assert app.revoked_at is not None
        assert "triage" in catalogue.snapshot.versions
    finally:
        catalogue.stop()


def test_what_a_running_catalogue_reads_is_kept(full: Any) -> None:
    catalogue = Catalogue(full.registry, 0.02, kept(full))
    catalogue.start()
    try:
        full.prod("answer", prompt={"system": "x"})
        until(lambda: (known := kept(full).load()) is not None and "answer" in known.versions)
    finally:
        catalogue.stop()
