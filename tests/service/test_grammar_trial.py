"""A constraint is tried once, in turns, in a process that can be lost; then it is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lifecycle.errors import InvalidInput, Overloaded, Unavailable
from service.engine.grammar import trial
from service.engine.grammar.trial import Constraint, GrammarTrials

pytestmark = pytest.mark.timeout(300)


class Bench:
    def __init__(self, trials: GrammarTrials, seen: Path) -> None:
        self.trials = trials
        self._seen = seen

    def seen(self) -> list[str]:
        return self._seen.read_text(encoding="utf-8").splitlines() if self._seen.exists() else []

    def ask(self, spec: str, caller: str = "one", place: str = "here") -> asyncio.Task[None]:
        return asyncio.ensure_future(self.trials.check(Constraint("regex", spec, place), caller))

    async def until(self, *specs: str) -> None:
        while self.seen()[-len(specs) :] != list(specs):  # noqa: ASYNC110  (another process writes it)
            await asyncio.sleep(0)

    def count(self, outcome: str) -> float:
        name = f'dabt_constraints_total{{outcome="{outcome}"}}'
        return sum(float(line.split()[1]) for line in self.trials.page().decode().splitlines() if line.startswith(name))


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setenv("GRAMMAR_STUB", str(tmp_path / "seen"))
    monkeypatch.setattr(trial, "_PROGRAM", Path(__file__).with_name("grammar_stub.py"))
    monkeypatch.setattr(trial, "_PAUSE", 0.0)
    trials = GrammarTrials(1.0)
    trials.start("tokens", whitespace=True)
    yield Bench(trials, tmp_path / "seen")
    await trials.stop()


async def test_what_passed_is_tried_once(bench: Bench) -> None:
    for _ in range(3):
        await bench.ask("a")
    await bench.ask("a", "two")
    assert bench.seen() == ["a"]
    assert (bench.count("passed"), bench.count("remembered")) == (1, 3)


async def test_what_did_not_pass_is_remembered_and_told_at_the_place_where_it_came(bench: Bench) -> None:
    for place in ("response_format", "tools"):
        with pytest.raises(InvalidInput, match="no text can keep to it") as caught:
            await bench.ask("refused", place=place)
        assert [problem.place for problem in caught.value.problems] == [place]
    assert bench.seen() == ["refused"]


async def test_the_same_text_of_another_kind_is_another_constraint(bench: Bench) -> None:
    for kind in ("regex", "grammar", "json"):
        await bench.trials.check(Constraint(kind, "a"))
    assert bench.seen() == ["a"] * 3


async def test_several_who_ask_for_the_same_at_once_share_one_trial(bench: Bench) -> None:
    asked = [bench.ask("hold", f"caller-{at}") for at in range(3)]
    await bench.until("hold")
    asked[0].cancel()
    await asyncio.wait({asked[0]})
    await bench.ask("release", "other")
    await asyncio.gather(*asked[1:])
    assert bench.seen() == ["hold", "release"]


async def test_one_callers_many_do_not_keep_another_waiting(bench: Bench) -> None:
    held = bench.ask("hold", "greedy")
    await bench.until("hold")
    rest = [bench.ask(f"more-{at}", "greedy") for at in range(5)]
    await bench.ask("a", "modest")
    assert bench.seen() == ["hold", "a"]
    await bench.ask("release", "modest")
    await asyncio.gather(held, *rest)
    assert bench.seen() == ["hold", "a", "release", *(f"more-{at}" for at in range(5))]


async def test_callers_take_turns(bench: Bench) -> None:
    blocked = [bench.ask("hold", "x")]
    await bench.until("hold")
    asked = [bench.ask(f"{caller}{at}", caller) for caller in "ab" for at in range(3)]
    await asyncio.gather(*asked)
    assert bench.seen()[1:] == ["a0", "a1", "b0", "a2", "b1", "b2"], "the place was free when a0 came, then b is next"
    await bench.ask("release", "y")
    await asyncio.gather(*blocked)


async def test_a_trial_that_nobody_waits_for_is_ended_and_its_place_is_free(bench: Bench) -> None:
    held = bench.ask("hold")
    await bench.until("hold")
    waiting = bench.ask("never")
    await asyncio.sleep(0)
    for task in (waiting, held):
        task.cancel()
        await asyncio.wait({task})
    await bench.ask("a")
    assert bench.seen() == ["hold", "cancel 1", "a"]
    assert bench.count("cancelled") == 2
    again = bench.ask("hold")
    await bench.until("hold")
    await bench.ask("release", "two")
    await again


async def test_more_than_may_wait_are_told_to_come_again(bench: Bench) -> None:
    held = bench.ask("hold")
    await bench.until("hold")
    waiting = [bench.ask(f"more-{at}") for at in range(16)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await bench.ask("one too many")
    await bench.ask("a", "another")
    await bench.ask("release", "another")
    await asyncio.gather(held, *waiting)


async def test_a_trial_that_had_no_time_is_not_remembered(bench: Bench) -> None:
    for _ in range(2):
        with pytest.raises(Unavailable):
            await bench.ask("late")
    assert bench.seen() == ["late", "late"]


async def test_a_worker_that_dies_fails_what_it_had_and_is_started_again(bench: Bench) -> None:
    held = bench.ask("hold")
    await bench.until("hold")
    with pytest.raises(Unavailable):
        await bench.ask("die", "two")
    with pytest.raises(Unavailable):
        await held
    await bench.ask("a")  # waits for the next
    assert bench.trials.is_ready
    assert bench.count("failed") == 2


async def test_without_a_worker_nothing_is_taken_and_whoever_waits_is_told(bench: Bench) -> None:
    held = bench.ask("hold")
    await bench.until("hold")
    waiting = bench.ask("a")
    await asyncio.sleep(0)
    await bench.trials.stop()
    for task in (held, waiting, bench.ask("b")):
        with pytest.raises(Unavailable):
            await task
    assert not bench.trials.is_ready
    assert "dabt_constraints_up 0.0" in bench.trials.page().decode()
    bench.trials.start("tokens", whitespace=True)
    await bench.ask("a")
    assert "dabt_constraints_up 1.0" in bench.trials.page().decode()
    assert 'dabt_constraint_compile_seconds_bucket{le="0.3"} 1.0' in bench.trials.page().decode()


async def test_only_so_many_are_remembered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_REMEMBERED", 2)
    for spec in ("a", "b", "a", "c", "a", "b"):
        await bench.ask(spec)
    assert bench.seen() == ["a", "b", "c", "b"], "the one that was asked for last stays"
