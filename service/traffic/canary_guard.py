"""Watches split aliases and rolls a canary back that breaks a bound: one move, one alert in the log, one count.

Every service judges the requests of all (`canary_exchange.py`), and several may find the same fault: the registry moves
the alias for the first (`Registry.roll_back_canary`), and only that one raises the alert. A guard that cannot act says
why (in the log, in the registry's trail when that can be written, in `dabt_canaries_stuck`, under `/ready` and
`/admin/traffic`) and tries again for as long as the canary stands.

Read `canary.py` for how requests are judged, `policies.py` for where they come from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from lifecycle.aliases import Alias
from lifecycle.errors import Conflict, DabtError, Unavailable
from lifecycle.intervals import wilson
from lifecycle.traffic import CanaryBounds
from lifecycle.version import Digest, digest_of
from service.concurrency import Background
from service.openai.answer_guards import Fits, schema_check
from service.traffic.arrivals import Arrivals
from service.traffic.canary import Figure, Judge, Outcome
from service.traffic.canary_exchange import CanaryExchange

ACTOR = "canary-guard"
_LONGEST_PAUSE = 30.0
_PATIENCE = 60.0
"""Seconds for one move. A registry that takes longer is as good as away; what it does later is seen then."""

log = structlog.get_logger(__name__)


class Moves(Protocol):
    """The part of `lifecycle.registry.Registry` that is used here."""

    def roll_back_canary(self, judged: Alias, *, actor: str, reason: str, figures: dict[str, Any]) -> Alias | None: ...
    def note_stuck(self, judged: Alias, *, actor: str, problem: str, reason: str) -> None: ...


class CanaryObserver(Protocol):
    """Told of what happens; `telemetry.py` counts it."""

    def canary_rolled_back(self, alias: str) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One split alias, from one move or change of its bounds to the next."""

    id: Digest
    """The same in every service that sees the alias like this."""
    alias: Alias
    judge: Judge
    fits: Fits | None
    arrivals: Arrivals
    """The requests of this service."""
    counted_loads: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Of each version's parts, the failed load that was counted last: its number, and when that was told."""


class CanaryGuard:
    """Belongs to one event loop. `refresh` reads the registry again. It and `moves` may block, and `run` does both in
    a thread; `pause` is the first of growing ones, in seconds, while the registry is away.
    """

    def __init__(
        self,
        moves: Moves,
        refresh: Callable[[], None],
        observer: CanaryObserver,
        background: Background,
        exchange: CanaryExchange,
        run: Callable[..., Awaitable[None]] = asyncio.to_thread,
        pause: float = 1.0,
    ) -> None:
        self._moves = moves
        self._refresh = refresh
        self._observer = observer
        self._background = background
        self._exchange = exchange
        self._run = run
        self._pause = pause
        self._trials: dict[str, Trial] = {}
        self._moving: set[Trial] = set()
        """Whose canary broke a bound, and is being rolled back."""
        self._problems: dict[Trial, str] = {}
        """Why that does not succeed."""

    def start(self) -> None:
        """Begin to hear from the registry's other services."""
        self._exchange.start(self.hear)

    async def stop(self) -> None:
        """Hear no more. Moves that are under way are the background's to end."""
        await self._exchange.stop()

    def trial(self, alias: Alias) -> Trial | None:
        """Of the alias as the newest snapshot has it; None where nothing is judged."""
        bounds = alias.policy.canary
        if bounds is None or alias.incumbent is None:
            self._end(alias.ref)
            return None
        trial = self._trials.get(alias.ref)
        if trial is None or (trial.alias.move, trial.alias.policy.canary) != (alias.move, bounds):
            self._end(alias.ref)
            trial = self._begun(alias, alias.incumbent, bounds)
            self._trials[alias.ref] = trial
            self._exchange.begin(trial.id)
        return trial

    def figures(self, alias: Alias) -> list[Figure]:
        """Of the alias's canaries, as far as this service has seen or heard; none where nothing is judged."""
        trial = self.trial(alias)
        return trial.judge.figures() if trial is not None else []

    def problem(self, alias: Alias) -> str | None:
        """Why a canary of the alias broke a bound and was not rolled back yet."""
        trial = self.trial(alias)
        return self._problems.get(trial) if trial is not None else None

    def stuck(self) -> int:
        """Aliases of which there is such a problem."""
        return sum(1 for trial in self._problems if self._stands(trial))

    def see(self, trial: Trial, number: int, outcome: Outcome) -> None:
        """Judge a request of this service, in the order of arrival, and tell the others of it."""
        self._exchange.tell(trial.id, number, outcome)
        self._judge(trial, number, outcome)

    def hear(self, trial_id: str, number: int, outcome: Outcome) -> None:
        """Judge a request of another service; nothing when that trial is over here."""
        for trial in list(self._trials.values()):
            if trial.id == trial_id:
                self._judge(trial, number, outcome)

    def _judge(self, trial: Trial, number: int, outcome: Outcome) -> None:
        figure = trial.judge.see(number, outcome)
        if figure is not None and trial not in self._moving and self._stands(trial):
            self._moving.add(trial)
            self._background.begin(self._roll_back(trial, figure))

    def _begun(self, alias: Alias, incumbent: int, bounds: CanaryBounds) -> Trial:
        def arrived(number: int, outcome: Outcome) -> None:
            self.see(trial, number, outcome)

        judge = Judge(bounds, incumbent, {target.number: target.weight for target in alias.targets})
        fits = schema_check(bounds.answer_schema)
        trial = Trial(_id(alias, bounds), alias, judge, fits, Arrivals(arrived))
        return trial

    def _end(self, ref: str) -> None:
        if trial := self._trials.pop(ref, None):
            self._exchange.end(trial.id)

    def _stands(self, trial: Trial) -> bool:
        """Whether the alias has no newer judge by now."""
        return self._trials.get(trial.alias.ref) is trial

    async def _roll_back(self, trial: Trial, figure: Figure) -> None:
        """Until it is done, or somebody has moved the alias or changed its bounds."""
        pause = self._pause
        try:
            while self._stands(trial) and (problem := await self._tried(trial, figure)):
                self._problems[trial] = problem
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            self._problems.pop(trial, None)
            with suppress(DabtError, TimeoutError):  # else the next poll sees it
                async with asyncio.timeout(_PATIENCE):
                    await self._run(self._refresh)
            # Should it stand as before, nothing was moved: then the next request's evidence is acted on again.
            await asyncio.sleep(self._pause)
        finally:
            self._problems.pop(trial, None)
            self._moving.discard(trial)

    async def _tried(self, trial: Trial, figure: Figure) -> str:
        """Why it did not succeed; empty when it did, or when another has done it."""
        alias, reason = trial.alias.ref, why(trial.alias, figure)
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._run(self._move, trial.alias, figure)
        except (Unavailable, Conflict, TimeoutError) as error:
            problem = str(error) or f"the registry has not answered for {_PATIENCE:.0f} s"
            log.warning("canary not rolled back yet", alias=alias, error=problem, reason=reason)
        except DabtError as error:
            problem = str(error)
            await self._stuck(trial, problem, reason, error=problem)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            await self._stuck(trial, problem, reason, exc_info=error)
        else:
            return ""
        return problem

    async def _stuck(self, trial: Trial, problem: str, reason: str, **told: Any) -> None:
        """Say it once, in the log and in the registry, where `dabt traffic show` finds it."""
        if problem == self._problems.get(trial):
            return
        log.error("canary cannot be rolled back", alias=trial.alias.ref, reason=reason, **told)
        with suppress(Exception):  # whatever keeps it from being written, the move is tried again
            async with asyncio.timeout(_PATIENCE):
                await self._run(self._note, trial.alias, problem, reason)

    def _note(self, alias: Alias, problem: str, reason: str) -> None:
        self._moves.note_stuck(alias, actor=ACTOR, problem=problem, reason=reason)

    def _move(self, alias: Alias, figure: Figure) -> None:
        """In a thread, from the move to the alert, so that a service that stops meanwhile does not lose the alert."""
        reason = why(alias, figure)
        facts = {
            "canary": f"{alias.name}:{figure.canary}",
            "incumbent": f"{alias.name}:{alias.incumbent}",
            **figure.model_dump(exclude={"canary"}),
        }
        now = self._moves.roll_back_canary(alias, actor=ACTOR, reason=reason, figures=facts)
        if now is None:
            log.info("canary had been moved already", alias=alias.ref, reason=reason)
            return
        log.error("canary rolled back", alias=alias.ref, reason=reason, **facts)
        self._observer.canary_rolled_back(alias.ref)


def _id(alias: Alias, bounds: CanaryBounds) -> Digest:
    return digest_of({"alias": alias.ref, "move": alias.move, "bounds": bounds.model_dump(mode="json")})


def why(alias: Alias, figure: Figure) -> str:
    """The reason that goes into the trail: the figure with its interval, and the bound that it broke."""
    canary, n, bound = f"{alias.name}:{figure.canary}", figure.n, f"over the bound of {figure.bound:g}"
    if figure.bad is None:
        what = "time to the first token" if figure.name == "ttft" else "time for a whole answer"
        times = f"is {figure.value:.2f} times that of {alias.name}:{alias.incumbent}"
        return f"{canary}: the p95 of its {what} {times} in its last {n} requests, {bound}"
    interval = wilson(figure.bad, n)
    what = "failed" if figure.name == "error_rate" else f"were {figure.name}"
    share = f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    beside = "" if figure.baseline is None else f" and over {figure.baseline:.3f} of {alias.name}:{alias.incumbent}"
    return f"{canary}: {figure.bad} of its last {n} requests {what}, {share}, {bound}{beside}"
