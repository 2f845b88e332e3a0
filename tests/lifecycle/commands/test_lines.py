"""What a long step says where no terminal draws it."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from lifecycle.commands.lines import SECONDS, Lines, lines, working

LONG = "[triage] " + "ملاحظة طويلة " * 10 + "."


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_step_is_said_at_once_and_how_far_it_is_when_it_is_time():
    said, clock = [], Time()
    told = Lines(said.append, every=8.0, clock=clock)
    told.look()
    assert said == [], "there is nothing to say"
    told.step("training")
    told.far("training, step 3 of 90")
    clock.now += 7.9
    told.look()
    assert said == ["training"]
    clock.now += 0.1
    told.look()
    told.look()
    assert said == ["training", "training, step 3 of 90 (8 s)"]
    clock.now += 8.0
    told.look()
    assert said[2:] == ["training, step 3 of 90 (16 s)"]
    clock.now += 4.0
    told.step("publishing")
    clock.now += 7.0
    told.look()
    assert said[3:] == ["publishing"], "what was said puts the next line off"
    clock.now += 1.0
    told.look()
    assert said[4:] == ["publishing (8 s)"]


def test_nobody_need_look_while_the_step_goes_on():
    """And its thread ends with it."""
    spoke = threading.Event()

    def say(text: str) -> None:
        if "(" in text:
            spoke.set()

    before = threading.active_count()
    with Lines(say, every=0.01) as told:
        told.step("training")
        assert spoke.wait(30)
    assert threading.active_count() == before


def test_a_reader_of_a_log_waits_at_most_ten_seconds():
    assert SECONDS * (1 + 1 / 8) < 10


@pytest.mark.parametrize(("terminal", "said"), [(False, f"{LONG}\n"), (True, "")])
def test_a_terminal_has_bars_in_place_of_lines_which_are_whole_in_a_pipe(terminal, said):
    out = io.StringIO()
    with lines(Console(file=out, force_terminal=terminal, width=40)) as told:
        told.step(LONG)
    assert out.getvalue() == said


def test_a_command_in_a_pipe_says_on_stderr_what_it_works_on(capsys):
    with working("indexing handbook") as tell:
        tell("writing")
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", ["indexing handbook", "writing"])
