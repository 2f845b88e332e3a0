"""`dabt cluster up` on one machine: it says when it is ready, and ends by a signal or by `down` from elsewhere."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from service.cluster import command


class Serve:
    """Ray Serve's part, as far as the command uses it."""

    def __init__(self, looks: int, at_the_last: Any) -> None:
        self._looks = looks
        self._at_the_last = at_the_last
        self.deleted: list[str] = []

    def status(self) -> Any:
        self._looks -= 1
        assert self._looks >= 0, "it runs on"
        if self._looks:
            return SimpleNamespace(applications={"dabt": object()})
        return SimpleNamespace(applications=self._at_the_last())

    def delete(self, name: str) -> None:
        self.deleted.append(name)


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(command.time, "sleep", lambda seconds: None)
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as where a shell starts it in the background
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def test_it_runs_until_the_application_is_gone() -> None:
    serve = Serve(3, dict)
    command._until_it_ends(serve)
    assert serve.deleted == []


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_runs(kind: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    def told() -> dict[str, object]:
        os.kill(os.getpid(), kind)
        return {"dabt": object()}

    serve = Serve(2, told)
    command._until_it_ends(serve)
    assert serve.deleted == ["dabt"]
    assert capsys.readouterr().out == "stopping\n"
