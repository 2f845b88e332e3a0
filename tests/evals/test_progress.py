"""How far an evaluation is, where no terminal draws it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from evals.progress import Bars, Told, shown
from lifecycle.commands.lines import Lines


def test_without_a_terminal_every_step_and_the_count_of_requests_are_lines() -> None:
    said: list[str] = []
    now = [0.0]
    lines = Lines(said.append, every=8.0, clock=lambda: now[0])
    with Told("triage", lines) as told:
        told.note("reading the task and its items")
        told.begin({"base": 40, "adapter": 40})
        told.advance("base", 10)
        told.advance("adapter", 7)
        now[0] = 8.0
        lines.look()
        told.begin({"base again": 8})
        told.advance("base again", 8)
        now[0] = 16.0
        lines.look()
    assert said == [
        "triage: loading",
        "triage: reading the task and its items",
        "triage: 80 requests of base, adapter",
        "triage: 17 of 80 requests (8 s)",
        "triage: 88 requests of base again",
        "triage: 25 of 88 requests (8 s)",
    ]


@pytest.mark.parametrize(("terminal", "kind"), [(True, Bars), (False, Told)])
def test_bars_are_for_terminals(terminal: bool, kind: type) -> None:
    assert type(shown("triage", Console(file=io.StringIO(), force_terminal=terminal))) is kind
