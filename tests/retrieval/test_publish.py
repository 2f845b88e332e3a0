"""An index is published once: the same documents again cost nothing and change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lifecycle.errors import InvalidConfig
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from retrieval import cli, publish
from retrieval.config import IndexConfig
from retrieval.index import Index
from tests import blank_registry

LEXICAL = IndexConfig(dense="none")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(f"sqlite:///{blank_registry.at(tmp_path / 'registry.db')}")


def test_a_published_index_is_loaded_by_the_digest_that_the_registry_names(
    handbook: Path, store: ArtifactStore, registry: Registry
) -> None:
    digest, new = publish.publish_index(handbook, "handbook", LEXICAL, store=store, registry=registry)
    record = registry.index("handbook")
    assert (record.digest, new) == (digest, True)
    assert record.facts["passages"] == 10
    assert Index.load(store.get(digest)).search("insulin", 1)[0].id == "h03"


def test_unchanged_documents_are_not_embedded_again(
    handbook: Path, store: ArtifactStore, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = publish.publish_index(handbook, "handbook", LEXICAL, store=store, registry=registry)
    with monkeypatch.context() as patch:
        patch.delattr(publish, "write_index")  # building would fail
        assert publish.publish_index(handbook, "handbook", LEXICAL, store=store, registry=registry) == (first, False)
    (handbook / "more.md").write_text("## h11\nA new rule.")
    second, new = publish.publish_index(handbook, "handbook", LEXICAL, store=store, registry=registry)
    assert new
    assert second != first
    assert len(Index.load(store.get(first))) == 10  # a version that names the old one still finds it


@pytest.fixture
def runner() -> tuple[CliRunner, typer.Typer]:
    app = typer.Typer()
    app.command("index")(cli.index)
    return CliRunner(), app


def test_the_command_indexes_says_so_and_answers_a_trial_question(
    handbook: Path, tmp_path: Path, runner: tuple[CliRunner, typer.Typer]
) -> None:
    run, app = runner
    line = [str(handbook), "--name", "handbook", "--dense", "none", "--home", str(tmp_path / "home")]
    first = run.invoke(app, [*line, "--query", "متى تفتح الصيدلية", "--top-k", "1"], catch_exceptions=False)
    assert first.exit_code == 0
    assert "handbook: 10 passages, 110 words, from 1 document, indexed" in first.output
    assert "[h09] تفتح الصيدلية" in first.output
    assert "unchanged" in run.invoke(app, line, catch_exceptions=False).output


def test_a_wrong_option_is_named(handbook: Path, tmp_path: Path, runner: tuple[CliRunner, typer.Typer]) -> None:
    run, app = runner
    result = run.invoke(app, [str(handbook), "--name", "x", "--max-words", "1", "--home", str(tmp_path)])
    assert isinstance(result.exception, InvalidConfig)
    assert "max_words" in str(result.exception)
