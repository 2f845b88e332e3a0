"""`dabt pin` and `dabt unpin` as a user types them."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from lifecycle.commands import pins
from lifecycle.errors import NotFound


@pytest.fixture
def dabt(registry):
    app = typer.Typer()
    app.command("pin")(pins.pin)
    app.command("unpin")(pins.unpin)
    return lambda *arguments: CliRunner().invoke(app, arguments, catch_exceptions=False).output


def test_a_pin_is_set_listed_and_ended_and_the_trail_says_why(dabt, registry, monkeypatch):
    monkeypatch.setattr(pins, "this_user", lambda: "amal")
    assert "nothing is pinned" in dabt("pin")
    assert dabt("pin", "prod", "--reason", "خط الطوارئ") == "prod is pinned\n"
    assert (dabt("pin"), json.loads(dabt("pin", "--json"))) == ("prod\n", ["prod"])
    assert registry.pins.all() == ("prod",)
    assert dabt("unpin", "prod", "--reason", "closed") == "prod is not pinned any more\n"
    assert registry.pins.all() == ()
    entries = [(entry.actor, entry.action, entry.subject, entry.reason) for entry in registry.audit()]
    assert entries == [("amal", "pin.end", "prod", "closed"), ("amal", "pin.set", "prod", "خط الطوارئ")]


def test_what_cannot_be_pinned_or_unpinned_is_refused_with_the_reason(dabt):
    with pytest.raises(NotFound, match="no nobody:prod"):
        dabt("pin", "nobody")
    dabt("pin", "prod")
    with pytest.raises(NotFound, match="triage is not pinned in the registry; pinned are: prod"):
        dabt("unpin", "triage")
