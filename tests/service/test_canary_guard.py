"""The guard: one move, one alert, one count, whatever the registry does meanwhile."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from lifecycle.aliases import Alias, Target
from lifecycle.errors import Conflict, NotAllowed, Unavailable
from lifecycle.traffic import CanaryBounds, TrafficPolicy
from service.concurrency import Background
from service.traffic.arrivals import Arrival
from service.traffic.canary import Figure, Outcome
from service.traffic.canary_exchange import CanaryExchange
from service.traffic.canary_guard import ACTOR, CanaryGuard, why

pytestmark = pytest.mark.timeout(300)

BOUNDS = CanaryBounds(max_error_rate=0.05)
ALERT = "canary rolled back"


def split(move: int = 1, bounds: CanaryBounds | None = BOUNDS, incumbent: int | None = 1) -> Alias:
    targets = (Target(number=1, weight=0.9), Target(number=2, weight=0.1))
    policy = TrafficPolicy(canary=bounds)
    return Alias(name="triage", alias="prod", targets=targets, move=move, incumbent=incumbent, policy=policy)


class Registry:
    """Moves as told: an error is raised, an alias or None returned."""

    def __init__(self, *answers: Alias | Exception | None) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.noted: list[tuple[str, str, str]] = []
        """Who noted of which alias why its canary is stuck."""

    def note_stuck(self, judged: Alias, *, actor: str, problem: str, reason: str) -> None:
        assert reason.startswith("triage:2: ")
        self.noted.append((actor, judged.ref, problem))

    def roll_back_canary(self, judged: Alias, **move: Any) -> Alias | None:
        self.asked.append({"judged": judged, **move})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Nobody:
    """No other service: what is told is heard by none."""

    def tell(self, service: str, told: Any) -> None: ...

    def hear(self, service: str, heard: Any) -> list[Any]:
        return []


class Scene:
    def __init__(self, *answers: Alias | Exception | None) -> None:
        self.registry = Registry(*answers)
        self.counted: list[str] = []
        self.refreshed = 0
        self.background = Background()
        self.exchange = CanaryExchange(Nobody(), asyncio.to_thread, every=1.0)
        self.guard = CanaryGuard(self.registry, self._refresh, self, self.background, self.exchange, pause=0.0)

    def canary_rolled_back(self, alias: str) -> None:
        self.counted.append(alias)

    def _refresh(self) -> None:
        self.refreshed += 1

    def break_bounds(self, alias: Alias) -> None:
        trial = self.guard.trial(alias)
        assert trial is not None
        for _ in range(40):
            self.guard.see(trial, 1, Outcome(failed=False))
            self.guard.see(trial, 2, Outcome(failed=True))

    @property
    def idle(self) -> bool:
        return not len(self.background)


async def test_a_broken_bound_is_one_move_one_alert_and_one_count(until: Any) -> None:
    scene = Scene(split())
    with capture_logs() as logs:
        scene.break_bounds(split())
        await until(lambda: scene.idle)
    (asked,) = scene.registry.asked
    assert (asked["judged"], asked["actor"]) == (split(), ACTOR)
    assert asked["reason"].startswith("triage:2: 20 of its last 20 requests failed, 1.000 [0.839, 1.000]")
    assert asked["figures"]["incumbent"] == "triage:1"
    (alert,) = [line for line in logs if line["log_level"] == "error"]
    assert (alert["event"], alert["alias"], alert["canary"]) == (ALERT, "triage:prod", "triage:2")
    assert (alert["name"], alert["bad"], alert["n"], alert["bound"]) == ("error_rate", 20, 20, 0.05)
    assert scene.counted == ["triage:prod"]
    assert scene.refreshed == 1


async def test_a_guard_that_comes_second_raises_no_alert(until: Any) -> None:
    scene = Scene(None)
    with capture_logs() as logs:
        scene.break_bounds(split())
        await until(lambda: scene.idle)
    assert [line for line in logs if line["log_level"] == "error"] == []
    assert scene.counted == []
    assert scene.refreshed == 1, "it still learns at once where the alias points now"


async def test_while_the_registry_is_away_it_is_tried_again_and_then_alerted_once(until: Any) -> None:
    scene = Scene(Unavailable("locked"), Unavailable("locked"), split())
    with capture_logs() as logs:
        scene.break_bounds(split())
        await until(lambda: scene.idle)
    assert [line["log_level"] for line in logs] == ["warning", "warning", "error"]
    assert scene.counted == ["triage:prod"]


async def test_it_is_not_tried_again_once_somebody_has_moved_the_alias(until: Any) -> None:
    scene = Scene()
    moved = split(move=2)

    def away(judged: Alias, **move: Any) -> Alias | None:
        scene.guard.trial(moved)  # the next request has seen the move
        raise Unavailable("locked")

    scene.registry.roll_back_canary = away  # type: ignore[method-assign]
    scene.break_bounds(split())
    await until(lambda: scene.idle)
    assert scene.counted == []
    assert (scene.guard.stuck(), scene.guard.problem(moved)) == (0, None)


@pytest.mark.parametrize(
    ("error", "level", "event", "said", "noted"),
    [
        (Unavailable("locked"), "warning", "canary not rolled back yet", "locked", False),
        (Conflict("two writers"), "warning", "canary not rolled back yet", "two writers", False),
        (NotAllowed("triage:1 is retired"), "error", "canary cannot be rolled back", "triage:1 is retired", True),
        (ValueError("what?"), "error", "canary cannot be rolled back", "ValueError: what?", True),
    ],
)
async def test_a_guard_that_cannot_act_says_why_and_acts_once_it_can(
    until: Any, error: Exception, level: str, event: str, said: str, noted: bool
) -> None:
    scene, go = Scene(), threading.Event()
    first = threading.Event()

    def move(judged: Alias, **move: Any) -> Alias | None:
        if not first.is_set():
            first.set()
            raise error
        go.wait()
        return judged

    scene.registry.roll_back_canary = move  # type: ignore[method-assign]
    with capture_logs() as logs:
        scene.break_bounds(split())
        await until(lambda: scene.guard.stuck() == 1)
        assert scene.guard.problem(split()) == said
        before = scene.guard.figures(split())[0].n
        scene.break_bounds(split())
        assert scene.guard.figures(split())[0].n > before, "it goes on watching"
        go.set()
        await until(lambda: scene.idle)
    assert (logs[0]["log_level"], logs[0]["event"]) == (level, event)
    assert [line["event"] for line in logs[1:]] == [ALERT]
    assert scene.counted == ["triage:prod"]
    assert (scene.guard.stuck(), scene.guard.problem(split())) == (0, None)
    assert scene.registry.noted == ([(ACTOR, "triage:prod", said)] if noted else []), "a registry that is away passes"


async def test_a_note_that_cannot_be_written_keeps_nobody_from_trying_again(until: Any) -> None:
    scene = Scene(NotAllowed("triage:1 is retired"), split())

    def away(judged: Alias, **note: Any) -> None:
        raise OSError("disk full")

    scene.registry.note_stuck = away  # type: ignore[method-assign]
    scene.break_bounds(split())
    await until(lambda: scene.idle)
    assert scene.counted == ["triage:prod"]


async def test_a_lasting_problem_is_an_error_in_the_log_once_and_is_tried_for_as_long_as_it_lasts(until: Any) -> None:
    refusals = [NotAllowed("triage:1 is retired since") for _ in range(5)]
    scene = Scene(*refusals, NotAllowed("triage:1 is rejected since"), split())
    with capture_logs() as logs:
        scene.break_bounds(split())
        await until(lambda: scene.idle)
    problems = [line["error"] for line in logs if line["event"] == "canary cannot be rolled back"]
    assert problems == ["triage:1 is retired since", "triage:1 is rejected since"]
    assert [problem for _, _, problem in scene.registry.noted] == problems
    assert len(scene.registry.asked) == 7
    assert scene.counted == ["triage:prod"]


async def test_a_registry_that_does_not_answer_is_as_good_as_away(until: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.traffic.canary_guard._PATIENCE", 0.01)
    scene, go = Scene(), threading.Event()

    def hangs(judged: Alias, **move: Any) -> Alias | None:
        go.wait()
        return None

    scene.registry.roll_back_canary = hangs  # type: ignore[method-assign]
    try:
        scene.break_bounds(split())
        await until(lambda: scene.guard.stuck() == 1)
        assert "has not answered" in str(scene.guard.problem(split()))
    finally:
        go.set()
    await until(lambda: scene.idle)


async def test_a_canary_that_stands_although_it_was_said_to_be_moved_is_acted_on_again(until: Any) -> None:
    scene = Scene(None, split())
    scene.break_bounds(split())
    await until(lambda: scene.idle)
    assert scene.counted == []
    scene.break_bounds(split())
    await until(lambda: scene.idle)
    assert scene.counted == ["triage:prod"]


async def test_requests_are_judged_and_told_in_the_order_in_which_they_arrived(until: Any) -> None:
    scene, told = Scene(), []
    scene.exchange.tell = lambda trial, number, outcome: told.append((number, outcome.total))  # type: ignore[method-assign]
    trial = scene.guard.trial(split())
    assert trial is not None
    arrivals = [Arrival(number, 0.0, streams=False) for number in (1, 2, 1)]
    for arrival in arrivals:
        trial.arrivals.begun(arrival)
    for at in (2, 1, 0):
        trial.arrivals.ended(arrivals[at], Outcome(failed=False, total=float(at)), 1.0)
    assert told == [(1, 0.0), (2, 1.0), (1, 2.0)]
    assert scene.guard.figures(split())[0].n == 1


async def test_what_others_saw_counts_like_what_was_seen_here_unless_their_trial_is_another(until: Any) -> None:
    scene, elsewhere = Scene(split()), Scene()
    theirs, other = elsewhere.guard.trial(split()), elsewhere.guard.trial(split(move=2))
    ours = scene.guard.trial(split())
    assert theirs is not None
    assert other is not None
    assert ours is not None
    for _ in range(40):
        scene.guard.hear(other.id, 2, Outcome(failed=True))
    assert [figure.n for figure in scene.guard.figures(split())] == [0]
    for _ in range(10):
        for outcome in (Outcome(failed=False), Outcome(failed=True)):
            scene.guard.hear(theirs.id, 1 + int(outcome.failed is True), outcome)
            scene.guard.see(ours, 1 + int(outcome.failed is True), outcome)
    await until(lambda: scene.idle and scene.counted)
    assert scene.registry.asked[0]["figures"]["n"] == 20


@pytest.mark.parametrize("quiet", [split(bounds=None), split(incumbent=None)])
def test_without_bounds_or_an_incumbent_nobody_is_judged(quiet: Alias) -> None:
    scene = Scene()
    assert scene.guard.trial(quiet) is None
    assert scene.guard.figures(quiet) == []


@pytest.mark.parametrize("later", [split(move=2), split(bounds=CanaryBounds(max_error_rate=0.5))])
async def test_a_move_or_other_bounds_begin_a_new_trial_and_the_old_ones_verdict_is_dropped(
    until: Any, later: Alias
) -> None:
    scene = Scene()
    old = scene.guard.trial(split())
    assert old is not None
    new = scene.guard.trial(later)
    assert new is not old
    assert scene.guard.trial(later) is new
    for _ in range(40):
        scene.guard.see(old, 2, Outcome(failed=True))
    await until(lambda: scene.idle)
    assert scene.registry.asked == []
    assert [figure.n for figure in scene.guard.figures(later)] == [0]


async def test_a_service_that_stops_in_the_middle_of_the_move_still_raises_its_alert(until: Any) -> None:
    begun, go = threading.Event(), threading.Event()
    scene = Scene()

    def slow(judged: Alias, **move: Any) -> Alias | None:
        begun.set()
        go.wait()
        return judged

    scene.registry.roll_back_canary = slow  # type: ignore[method-assign]
    with capture_logs() as logs:
        scene.break_bounds(split())
        await asyncio.to_thread(begun.wait)
        await scene.background.stop()
        go.set()
        await until(lambda: scene.counted)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == [ALERT]


def test_the_reason_says_what_broke_and_by_how_much() -> None:
    slow = Figure(canary=2, name="ttft", bound=1.5, value=2.314, baseline=None, bad=None, n=80, evidence=3.0)
    assert why(split(), slow) == (
        "triage:2: the p95 of its time to the first token is 2.31 times that of triage:1 in its last 80 requests, "
        "over the bound of 1.5"
    )
    found = Figure(canary=2, name="not_json", bound=0.05, value=0.5, baseline=0.04, bad=10, n=20, evidence=3.0)
    assert why(split(), found) == (
        "triage:2: 10 of its last 20 requests were not_json, 0.500 [0.299, 0.701], over the bound of 0.05 and over "
        "0.040 of triage:1"
    )
