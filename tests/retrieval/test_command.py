"""`dabt index`: unchanged documents are told from what the registry knows of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dabt import app
from retrieval.index import Index


def test_what_is_unchanged_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hours.md").write_text("## h1\nThe pharmacy opens at eight.\n")
    command = ["index", str(tmp_path / "hours.md"), "--name", "hours", "--dense", "none", "--home", str(tmp_path / "h")]
    first = CliRunner().invoke(app, command)
    assert "hours: 1 passage, 5 words, from 1 document, indexed" in first.output, first.output
    monkeypatch.setattr(Index, "load", lambda _: pytest.fail("loaded for nothing"))
    again = CliRunner().invoke(app, command)
    assert "hours: 1 passage, 5 words, from 1 document, unchanged" in again.output, again.output
