"""The table beside lm-eval counts the items that differ, and compares nothing where the two asked other items."""

from __future__ import annotations

import pytest

from benchmarks.parity import WAYS, compared

THEIRS = {"0": {"acc": 1.0, "acc_norm": 1.0}, "1": {"acc": 0.0, "acc_norm": 1.0}}


def test_a_row_has_both_means_and_how_many_items_have_another_figure() -> None:
    ours = {"0": {"acc": 1.0, "acc_norm": 1.0, "choice_probability": 0.4}, "1": {"acc": 1.0, "acc_norm": 1.0}}
    rows = [row[2:] for row in compared(WAYS[0], ours, THEIRS)]
    assert rows == [["`acc`", "0.5000", "1.0000", "1 of 2"], ["`acc_norm`", "1.0000", "1.0000", "0 of 2"]]


def test_other_items_are_no_comparison() -> None:
    with pytest.raises(SystemExit, match="items of one side alone: 1"):
        list(compared(WAYS[0], {"0": THEIRS["0"]}, THEIRS))
