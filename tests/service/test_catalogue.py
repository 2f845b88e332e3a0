"""The catalogue: what the registry held last, renewed when it moves on."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lifecycle.errors import Unavailable
from lifecycle.registry import Registry
from service.catalogue import EMPTY, Catalogue, read

pytestmark = pytest.mark.timeout(30)


def until(condition: Any) -> None:
    """Wait without a clock of our own; the test's time limit is the only one."""
    while not condition():
        threading.Event().wait(0.005)


def test_a_change_made_by_another_process_is_seen(house: Any) -> None:
    catalogue = Catalogue(house.registry, 0.05)
    catalogue.start()
    try:
        with Registry.open(house.home.registry_url) as other:
            house.registry = other
            house.prod("triage", prompt={"system": "one"})
        until(lambda: "prod" in catalogue.snapshot.aliases.get("triage", {}))
        assert catalogue.snapshot.aliases["triage"]["prod"].targets[0].number == 1
    finally:
        catalogue.stop()


def test_nothing_is_read_again_while_the_revision_stands(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.prod("triage", prompt={"system": "one"})
    catalogue = Catalogue(house.registry, 0.25)
    catalogue.refresh()
    before = catalogue.snapshot
    monkeypatch.setattr(house.registry, "versions", None)  # would fail if it were called
    catalogue.refresh()
    assert catalogue.snapshot is before


def test_a_registry_that_fails_leaves_the_last_state_and_its_reason(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.prod("triage", prompt={"system": "one"})
    catalogue = Catalogue(house.registry, 0.02)

    def locked() -> int:
        raise Unavailable("the registry is locked")

    with monkeypatch.context() as patch:
        patch.setattr(house.registry, "revision", locked)
        catalogue.start()
        try:
            assert (catalogue.snapshot, catalogue.problem) == (EMPTY, "the registry is locked")
            patch.undo()
            until(lambda: catalogue.problem is None)
            assert "triage" in catalogue.snapshot.versions
            patch.setattr(house.registry, "revision", locked)
            until(lambda: catalogue.problem is not None)
            assert "triage" in catalogue.snapshot.versions
        finally:
            catalogue.stop()


def test_manifests_are_fetched_ahead_of_need(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = house.adapter("one")
    house.version("triage", adapter="one")
    catalogue = Catalogue(house.registry, 0.25)
    catalogue.refresh()
    monkeypatch.setattr(house.registry, "adapter", None)
    assert catalogue.manifest(digest).digest == digest


def test_all_aliases_are_read_at_once_however_many_names_there_are(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One query for each of a thousand names would take longer than the second in which a promotion must be served."""
    for name in ("one", "two", "three"):
        house.prod(name, prompt={"system": name})
    asked: list[object] = []
    aliases = house.registry.aliases
    monkeypatch.setattr(house.registry, "aliases", lambda *name: asked.append(name) or aliases(*name))
    catalogue = Catalogue(house.registry, 0.25)
    catalogue.refresh()
    assert asked == [()]
    assert set(catalogue.snapshot.aliases) == {"one", "two", "three"}


def test_a_new_snapshot_is_announced_with_the_one_before_it(house: Any) -> None:
    catalogue = Catalogue(house.registry, 0.25)
    told: list[Any] = []
    catalogue.on_change = lambda before, after: told.append((before, after, catalogue.snapshot))
    catalogue.refresh()
    catalogue.refresh()
    house.prod("triage", prompt={"system": "one"})
    catalogue.refresh()
    (first, second) = told
    assert first[0] is EMPTY
    assert second[0] is first[1]
    assert second[1] is second[2] is catalogue.snapshot


def test_a_change_in_the_middle_of_reading_is_read_again_so_that_a_snapshot_is_of_one_revision(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers name the revision that they were decided by, and the trail must say the same."""
    for text in ("one", "two"):
        house.prod("triage", prompt={"system": text})
    versions, changes = house.registry.versions, iter([True])

    def changing(name: str | None = None) -> Any:
        if next(changes, False):
            house.registry.rollback("triage", actor="test", reason="in the middle")
        return versions(name)

    monkeypatch.setattr(house.registry, "versions", changing)
    snapshot = read(house.registry)
    assert snapshot.revision == house.registry.revision()
    assert [target.number for target in snapshot.aliases["triage"]["prod"].targets] == [1]


def test_beside_a_writer_that_never_rests_a_snapshot_is_never_newer_than_what_it_holds(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.prod("triage", prompt={"system": "one"})
    versions = house.registry.versions

    def changing(name: str | None = None) -> Any:
        house.version("triage", prompt={"system": str(house.registry.revision())})
        return versions(name)

    monkeypatch.setattr(house.registry, "versions", changing)
    snapshot = read(house.registry)
    assert snapshot.revision < house.registry.revision(), "the next poll reads again"
