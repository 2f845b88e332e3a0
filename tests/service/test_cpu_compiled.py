"""Compiled code of the CPU's kernels goes with what all of their files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.engine.cpu.compiled import SOURCES, place_of


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "one.py", tmp_path / "two.py"]
    for file in files:
        file.write_text("first")
    return files


@pytest.mark.parametrize("changed", [0, 1])
def test_code_is_made_anew_when_any_of_the_files_changes(sources: list[Path], changed: int) -> None:
    before = place_of(sources, "", {})
    assert before == place_of(sources, "", {})
    sources[changed].write_text("second")
    after = place_of(sources, "", {})
    assert (before.parent, before != after) == (after.parent, True)


def test_code_lies_where_numba_was_told_and_else_beside_the_files(sources: list[Path], tmp_path: Path) -> None:
    assert place_of(sources, "/told", {}).parent == Path("/told")
    assert place_of(sources, "", {}).parent == tmp_path / "__pycache__"


def test_code_lies_in_the_user_s_caches_where_nobody_may_write_beside_the_files(
    sources: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda place, mode: False)
    assert place_of(sources, "", {"XDG_CACHE_HOME": "/caches"}).parent == Path("/caches/dabt")
    assert place_of(sources, "", {}).parent == Path.home() / ".cache" / "dabt"


def test_every_file_of_the_kernels_is_counted() -> None:
    """Those of which another uses functions, and those that keep code."""
    named = {file.name for file in SOURCES}
    using = [file for file in SOURCES[0].parent.glob("*.py") if "import numba" in file.read_text()]
    assert {file.name for file in using} - {"compiled.py"} <= named
    assert all(file.is_file() for file in SOURCES)
