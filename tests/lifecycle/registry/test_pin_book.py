"""Pins: names in the order in which they were set, each set and ended once, and seen by who keeps a copy."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lifecycle.errors import InvalidInput, NotFound
from lifecycle.manifests import AdapterManifest
from lifecycle.version import Prompt, VersionSpec, digest_of


@pytest.fixture(autouse=True)
def there(registry):
    """`triage` and `digest`, each with a version that has an adapter, behind `prod`."""
    registry.add_artifact(
        AdapterManifest(
            digest=digest_of("adapter"), base=digest_of("base"), base_name="b", rank=8, alpha=16, scale=2.0,
            target_modules=("q_proj",), parameters=1, bytes=4, metrics={}, golden=(), created_at=datetime.now(UTC),
        )
    )  # fmt: skip
    for name in ("triage", "digest"):
        with_adapter = VersionSpec(base=digest_of("base"), adapter=digest_of("adapter"))
        version = registry.create_version(name, with_adapter, actor="amal")
        registry.promote(version.ref, actor="amal", reason="r", force=True)


def test_pins_are_what_was_set_and_not_ended_in_that_order(registry):
    for ref in ("triage", "digest:1", "prod"):
        registry.pins.set(ref, actor="amal")
    registry.pins.set("triage", actor="amal")
    assert registry.pins.end("digest:1", actor="amal")
    assert not registry.pins.end("digest:1", actor="amal")
    assert registry.pins.all() == ("triage", "prod")
    registry.pins.set("digest:1", actor="amal")
    assert registry.pins.all() == ("triage", "prod", "digest:1")


def test_setting_what_is_set_leaves_no_entry_in_the_trail(registry):
    registry.pins.set("triage", actor="amal")
    registry.pins.set("triage", actor="amal")
    registry.pins.end("triage", actor="noor")
    registry.pins.end("triage", actor="noor")
    entries = [(entry.actor, entry.action, entry.subject) for entry in registry.audit("triage")]
    assert [entry for entry in entries if entry[1].startswith("pin.")] == [
        ("noor", "pin.end", "triage"),
        ("amal", "pin.set", "triage"),
    ]


def test_who_keeps_a_copy_is_told_all_pins_when_one_changes_and_of_none_otherwise(registry, house):
    registry.pins.set("triage", actor="amal")
    mark = registry.changes.newest()
    assert registry.changes.traffic(None).now.pins == ("triage",)
    house.draft("one")
    assert registry.changes.traffic(mark).now.pins is None
    registry.pins.set("digest", actor="amal")
    told = registry.changes.traffic(mark)
    assert (told.whole, told.now.pins) == (False, ("triage", "digest"))


@pytest.mark.parametrize("ref", ["nobody", "triage:2", "triage:canary"])
def test_a_name_that_the_registry_has_not_is_not_pinned(registry, ref):
    with pytest.raises(NotFound, match=ref):
        registry.pins.set(ref, actor="amal")
    assert registry.pins.all() == ()


def test_what_no_engine_would_load_is_not_pinned(registry):
    prompt = VersionSpec(base=digest_of("base"), prompt=Prompt(system="no adapter"))
    registry.create_version("triage", prompt, actor="amal")
    with pytest.raises(InvalidInput, match="triage:2 has neither an adapter nor a classifier"):
        registry.pins.set("triage:2", actor="amal")
    adapter = VersionSpec(base=digest_of("base"), adapter=digest_of("adapter"), prompt=Prompt(system="another"))
    registry.create_version("triage", adapter, actor="amal")
    registry.retire("triage:3", "amal", "r")
    with pytest.raises(InvalidInput, match="triage:3 is retired"):
        registry.pins.set("triage:3", actor="amal")
    registry.promote("triage:2", actor="amal", reason="r", force=True, share=0.5)
    registry.pins.set("triage", actor="amal")
    assert registry.pins.all() == ("triage",), "one of the two that share it has an adapter"
