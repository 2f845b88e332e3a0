"""The way of `docs/guides/upgrading.md`: an old home is looked at, backed up, opened, and gone back to."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dabt
from lifecycle.errors import InvalidConfig, NotAllowed
from lifecycle.home import Home
from lifecycle.registry import tables
from lifecycle.upkeep.backup import backups
from tests.lifecycle.registry.test_migrations import HOMES, fill

GUIDE = Path(__file__).parents[3] / "docs/guides/upgrading.md"


def run(*words: str) -> str:
    return CliRunner().invoke(dabt.app, words, catch_exceptions=False).output


def schema(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT value FROM dabt_meta WHERE key = 'schema'").fetchone()[0])


@pytest.fixture
def old(home: Home) -> Path:
    """The registry of a home of the last release before migrations."""
    home.root.mkdir()
    fill(home.registry_url, (HOMES / "schema4.sqlite.sql").read_text(encoding="utf-8"))
    return home.root / "registry.db"


def test_an_old_home_is_looked_at_backed_up_and_opened_and_its_backup_is_what_it_was(old, tmp_path):
    assert f"has schema 4; the first command of this release migrates it to {tables.SCHEMA_VERSION}" in run("doctor")
    run("backup", str(tmp_path / "backups"), "--allow-missing")
    assert schema(old) == 4, "looking and backing up migrate nothing"
    listed = run("versions", "triage")
    assert "doubted" in listed
    assert schema(old) == tables.SCHEMA_VERSION
    (backup,) = backups(tmp_path / "backups")
    assert (backup.schema_version, backup.revision) == (4, 39)
    kept = tmp_path / "backups/backups" / backup.name / "registry.db"
    assert schema(kept) == 4, "the release that wrote it reads it"
    with pytest.raises(NotAllowed):
        run("restore", str(tmp_path / "backups"))
    run("restore", str(tmp_path / "backups"), "--home", str(tmp_path / "new"))
    assert run("versions", "triage", "--home", str(tmp_path / "new")) == listed


def test_what_happened_after_the_backup_is_in_the_export_after_its_revision(old, tmp_path):
    run("backup", str(tmp_path / "backups"), "--allow-missing")
    (backup,) = backups(tmp_path / "backups")
    run("rollback", "triage", "--reason", "complaints")
    after = run("audit", "export", "--after", str(backup.revision))
    assert "complaints" in after
    assert backup.name.endswith(f"-r{backup.revision}")


def test_the_guides_sentence_of_a_newer_schema_is_what_is_said(old):
    run("versions")
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("UPDATE dabt_meta SET value = ?", (str(tables.SCHEMA_VERSION + 1),))
        connection.commit()
    with pytest.raises(InvalidConfig) as caught:
        run("versions")
    (printed,) = re.findall(r"^error: (.*)$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert printed.replace("sqlite:////srv/dabt/registry.db", "X") == str(caught.value).replace(f"sqlite:///{old}", "X")


def test_the_guides_table_has_every_schema_since_migrations():
    rows = re.findall(r"^\| (\d+) \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(row) for row in rows] == list(range(5, tables.SCHEMA_VERSION + 1))
