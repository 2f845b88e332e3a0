"""What the API's process does beside an engine's start. Without vLLM."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from lifecycle.errors import EngineDead
from service.config import ServeConfig
from service.engine.vllm import forkserver, start
from service.engine.vllm.engine import VllmEngine
from tests.service.conftest import fake_base


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


async def test_a_start_that_fails_leaves_the_collector_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def build() -> None:
        seen.append(gc.isenabled())
        raise SystemExit("no such model")

    monkeypatch.setattr(forkserver, "usable", lambda: False)
    engine = VllmEngine(ServeConfig(base=fake_base(tmp_path / "base")))
    monkeypatch.setattr(engine, "_build", build)
    with pytest.raises(EngineDead, match="no such model"):
        await engine.start()
    assert (seen, gc.isenabled()) == ([False], True)


def test_what_is_here_at_the_end_of_a_start_is_looked_through_no_more() -> None:
    start.begin()
    kept = [object()]
    start.settle()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert not any(each is kept for each in gc.get_objects())


def test_everything_that_the_fork_server_is_to_import_is_there() -> None:
    """It goes on without what it does not find, and each engine would import it anew."""
    source = Path(forkserver.__file__).with_name("imports.py").read_text(encoding="utf-8")
    named = [word for word in source.split('"') if word.startswith(("service.engine.", "vllm.")) and " " not in word]
    assert len(named) == 9
    assert [name for name in named if name.startswith("service.") and find_spec(name) is None] == []
