"""The arithmetic of the comparison of trainers: which bar stands over which figure."""

from __future__ import annotations

from benchmarks.training import Measured, figures


def test_ours_is_held_against_each_other_side_in_speed_and_loss() -> None:
    ours = [Measured(tokens=1300, seconds=10.0, whole=20.0, peak_mib=900.0, loss=0.5)]
    theirs = [Measured(tokens=1300, seconds=13.0, whole=20.0, peak_mib=1000.0, loss=0.5)]
    slow = [Measured(tokens=1300, seconds=12.9, whole=20.0, peak_mib=1000.0, loss=0.49)]
    made = {figure.what: figure for figure in figures("clinic", {"dabt": ours, "TRL": theirs, "PEFT": slow})}
    assert made["dabt: tokens a second"].middle == 130.0
    assert (made["tokens a second / TRL"].middle, made["tokens a second / TRL"].passed) == (1.3, True)
    assert made["tokens a second / PEFT"].passed is False
    assert made["validation loss / TRL"].passed is True
    assert made["validation loss / PEFT"].passed is False
    assert made["peak memory / TRL"].middle == 0.9
    assert made["peak memory / TRL"].passed is None
    assert "tokens a second / dabt" not in made
