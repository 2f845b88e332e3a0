"""`dabt audit export`: every change once, with an id that stays, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

import dabt
from lifecycle.errors import InvalidInput
from lifecycle.registry import Registry, listings
from lifecycle.text.cells import text_of


@pytest.fixture
def export(home):
    def run(*words: str) -> str:
        return CliRunner().invoke(dabt.app, ["audit", "export", *words], catch_exceptions=False).output

    return run


@pytest.fixture
def registry(home):
    with Registry.open(home.registry_url) as opened:
        yield opened


def test_json_lines_have_every_entry_once_oldest_first_and_go_on_where_an_export_ended(
    export, registry, house, monkeypatch
):
    monkeypatch.setattr(listings, "_ENTRIES", 2)
    house.promoted("أول")
    entries = [json.loads(line) for line in export().splitlines()]
    assert [entry["id"] for entry in entries] == list(range(1, len(entries) + 1))
    assert len(entries) == registry.revision() > 4
    assert entries == [entry.model_dump(mode="json") for entry in reversed(registry.audit())]
    assert "ship أول" in export()
    last = entries[-1]["id"]
    assert export("--after", str(last)) == ""
    house.draft("later")
    assert [json.loads(line)["action"] for line in export("--after", str(last)).splitlines()] == ["version.create"]


def test_a_name_and_a_moment_choose_entries(export, registry, house):
    house.draft("a")
    house.draft("b", name="digest")
    assert {json.loads(line)["subject"] for line in export("digest").splitlines()} == {"digest:1"}
    now = datetime.now(UTC).isoformat()
    assert export("--since", now) == ""
    assert len(export("--since", "2020-01-01").splitlines()) == 2
    with pytest.raises(InvalidInput, match="--since yesterday is no moment"):
        export("--since", "yesterday")


def test_csv_runs_no_formula_and_gives_every_text_back(export, registry, house):
    house.draft("a")
    reason = '=HYPERLINK("http://x";"سبب")\nsecond line'
    registry.retire("triage:1", actor="+amal", reason=reason)
    rows = list(csv.DictReader(io.StringIO(export("--csv"))))
    assert [row["id"] for row in rows] == ["1", "2"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert (text_of(rows[1]["reason"]), text_of(rows[1]["actor"])) == (reason, "+amal")
    assert json.loads(rows[1]["detail"])["to"] == "retired"
