"""The catalogue: what the registry held last, renewed when it moves on."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lifecycle.errors import Unavailable
from lifecycle.registry import Registry
from service.catalogue import EMPTY, Catalogue

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
