"""What is imported to stay is left alone by the garbage collector, which then goes on as it did."""

from __future__ import annotations

import gc
import subprocess
import sys
import types

import pytest

from lifecycle.imports import to_stay

NAME = "a_library_that_nobody_has"


@pytest.fixture
def frozen_before() -> int:
    return gc.get_freeze_count()


@pytest.mark.parametrize("collecting", [True, False])
def test_what_comes_is_left_alone_and_the_collector_goes_on_as_before(frozen_before: int, collecting: bool) -> None:
    if not collecting:
        gc.disable()
    try:
        with to_stay(NAME):
            assert not gc.isenabled()
            kept = [[] for _ in range(1000)]  # type: ignore[var-annotated]
        assert gc.get_freeze_count() >= frozen_before + len(kept)
        assert gc.isenabled() == collecting
    finally:
        gc.enable()


def test_an_import_that_fails_leaves_the_collector_as_it_was() -> None:
    with pytest.raises(ImportError, match=NAME), to_stay(NAME):
        __import__(NAME)
    assert gc.isenabled()


def test_what_is_there_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch, frozen_before: int) -> None:
    """What a long process has made since may be garbage."""
    monkeypatch.setitem(sys.modules, NAME, types.ModuleType(NAME))
    with to_stay(NAME):
        assert gc.isenabled()
    assert gc.get_freeze_count() <= frozen_before


def test_when_the_process_ends_it_is_taken_apart_like_all_else() -> None:
    """Or a library that counts its own objects then tells of each that is left."""
    program = (
        "from lifecycle.imports import to_stay\n"
        "class Part:\n"
        "    def __del__(self): print('taken apart')\n"
        "with to_stay('a library'):\n"
        "    part = Part()\n"
        "    part.of_itself = part\n"
        "del part\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "taken apart\n"
