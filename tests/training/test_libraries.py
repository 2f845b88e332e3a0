"""What a run imports is left alone by the garbage collector, which then goes on as it did."""

from __future__ import annotations

import gc
import sys

import pytest

from training import libraries

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries")]  # imports torch


@pytest.mark.parametrize("collecting", [True, False])
def test_all_that_is_there_is_left_alone_once_and_the_collector_goes_on_as_before(
    monkeypatch: pytest.MonkeyPatch, collecting: bool
) -> None:
    if not collecting:
        gc.disable()
    try:
        before, kept = gc.get_freeze_count(), [[] for _ in range(1000)]  # type: ignore[var-annotated]
        libraries.load()
        assert gc.get_freeze_count() <= before, "they were there: what a long process has made since may be garbage"
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "trl.trainer.sft_trainer")
            libraries.load()
        assert gc.get_freeze_count() >= before + len(kept)
        assert gc.isenabled() == collecting
    finally:
        gc.enable()
