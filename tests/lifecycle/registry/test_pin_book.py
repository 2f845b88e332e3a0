"""Pins: names in the order in which they were set, each set and ended once, and seen by who keeps a copy."""

from __future__ import annotations


def test_pins_are_what_was_set_and_not_ended_in_that_order(registry):
    for ref in ("triage", "digest:3", "prod"):
        registry.pins.set(ref, actor="amal")
    registry.pins.set("triage", actor="amal")
    assert registry.pins.end("digest:3", actor="amal")
    assert not registry.pins.end("digest:3", actor="amal")
    assert registry.pins.all() == ("triage", "prod")
    registry.pins.set("digest:3", actor="amal")
    assert registry.pins.all() == ("triage", "prod", "digest:3")


def test_setting_what_is_set_leaves_no_entry_in_the_trail(registry):
    registry.pins.set("triage", actor="amal")
    registry.pins.set("triage", actor="amal")
    registry.pins.end("triage", actor="noor")
    registry.pins.end("triage", actor="noor")
    entries = [(entry.actor, entry.action, entry.subject) for entry in registry.audit("triage")]
    assert entries == [("noor", "pin.end", "triage"), ("amal", "pin.set", "triage")]


def test_who_keeps_a_copy_is_told_all_pins_when_one_changes_and_of_none_otherwise(registry, house):
    registry.pins.set("triage", actor="amal")
    mark = registry.changes.newest()
    assert registry.changes.traffic(None).now.pins == ("triage",)
    house.draft("one")
    assert registry.changes.traffic(mark).now.pins is None
    registry.pins.set("digest", actor="amal")
    told = registry.changes.traffic(mark)
    assert (told.whole, told.now.pins) == (False, ("triage", "digest"))
