"""What an alias's policy does with live requests: judge a canary by them, and copy them to a shadow.

`Traffic.observation` is asked once for each request and told of its end; what it makes of that comes after the answer.
Read `canary_guard.py` for what follows when a bound is broken, `shadow.py` for what becomes of a copy.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifecycle.aliases import Alias, refusal
from lifecycle.errors import AdapterUnloadable, Corrupt, DabtError, EngineFault, NotFound, Unavailable
from lifecycle.version import Digest, Version
from service.catalogue import Snapshot
from service.concurrency import Background
from service.engine.interface import Kind
from service.openai.answer_guards import Choice, StreamedChoices, broken_guards, choices_of
from service.request_context import DISCONNECTED, UNEXPECTED, RequestFigures
from service.resolution import Base, Resolved
from service.traffic.arrivals import Arrival
from service.traffic.canary import Outcome
from service.traffic.canary_guard import CanaryGuard, Trial
from service.traffic.shadow import Ask, Copy, Shadows
from service.traffic.shadow_records import Side, answered

_OWN = frozenset(kind.code for kind in (AdapterUnloadable, Corrupt, NotFound))
"""Errors of a version's parts, which do not load: once it is chosen, what is not found is one of them."""
_FAULTS = _OWN | {DabtError.code, EngineFault.code, Unavailable.code, UNEXPECTED}
"""Errors that may be the version's. The engine's death and a full queue meet every version alike, and the rest is the
caller's."""


class Observation:
    """Of one request, by nobody."""

    def chunk(self, text: str) -> None:
        """A piece of a streamed answer, as the engine gave it."""

    def body(self, answer: dict[str, Any]) -> None:
        """A whole answer, as the engine gave it."""

    def ended(self, measured: RequestFigures) -> None:
        """However it ended: `measured` knows."""


UNOBSERVED = Observation()


class Traffic:
    """Belongs to one event loop."""

    def __init__(
        self,
        base: Base,
        guard: CanaryGuard,
        shadows: Shadows,
        background: Background,
        failed_load: Callable[[Digest], int],
    ) -> None:
        """`failed_load` tells an adapter's failed loads apart (`Residency.failed_load`)."""
        self.failed_load = failed_load
        self._base = base
        self.guard = guard
        self.shadows = shadows
        self.background = background

    def observation(
        self, request_id: str, kind: Kind, body: dict[str, Any], resolved: Resolved, snapshot: Snapshot, ask: Ask
    ) -> Observation:
        """Of a request that has just been resolved by `snapshot`. `ask` answers its copy, if it gets one."""
        alias, version = resolved.alias, resolved.version
        if alias is None or version is None:
            return UNOBSERVED
        trial = self.guard.trial(alias)
        # Two versions' likelihoods are never the same, and say nothing of whether their answers are.
        candidate = None if kind == "likelihood" else self._candidate(alias, snapshot)
        if trial is None and candidate is None:
            return UNOBSERVED
        request = _Request(request_id, alias, version, kind, body, resolved.session)
        return _Observed(self, request, trial, _Copied(candidate, ask) if candidate is not None else None)

    def start(self) -> None:
        """Begin to hear of canaries from the registry's other services."""
        self.guard.start()

    async def stop(self) -> None:
        """End copies and all else that is under way."""
        await self.guard.stop()
        await self.shadows.stop()
        await self.background.stop()

    def _candidate(self, alias: Alias, snapshot: Snapshot) -> Version | None:
        shadow = alias.policy.shadow
        if shadow is None or not self.shadows.on or random.random() >= shadow.share:
            return None
        version = snapshot.versions.get(alias.name, {}).get(shadow.version)
        # Rejected or retired since, or made for another base than the one that runs here.
        if version is None or self._base.refusal(version) or refusal("shadow", version, None):
            return None
        return version


@dataclass(frozen=True, slots=True)
class _Request:
    id: str
    alias: Alias
    version: Version
    kind: Kind
    body: dict[str, Any]
    session: str

    @property
    def limit(self) -> int | None:
        """Tokens of an answer, as far as the caller has limited them."""
        limits = [self.body.get(name) for name in ("max_tokens", "max_completion_tokens")]
        return min((limit for limit in limits if type(limit) is int), default=None)


@dataclass(frozen=True, slots=True)
class _Copied:
    candidate: Version
    ask: Ask


class _Observed(Observation):
    """One request behind an alias that has a canary, a shadow or both."""

    def __init__(self, traffic: Traffic, request: _Request, trial: Trial | None, copied: _Copied | None) -> None:
        self._traffic = traffic
        self._request = request
        self._trial = trial
        self._copied = copied
        bounds = request.alias.policy.canary
        self._guards = bounds.guards if trial is not None and bounds is not None else {}
        self._arrived = time.perf_counter()
        self._arrival = self._line_up(trial)
        self._streamed = StreamedChoices() if self._guards or copied is not None else None
        self._body: dict[str, Any] | None = None

    def chunk(self, text: str) -> None:
        if self._arrival.first is None:
            self._arrival.first = time.perf_counter() - self._arrived
        if self._streamed is not None:
            self._streamed.read(text)

    def body(self, answer: dict[str, Any]) -> None:
        self._body = answer

    def ended(self, measured: RequestFigures) -> None:
        total = time.perf_counter() - self._arrived
        # Not now: the answer is still on its way, and nothing of this is for its caller to wait for.
        self._traffic.background.begin(self._look(measured, total))

    async def _look(self, measured: RequestFigures, total: float) -> None:
        choices: list[Choice] = []
        outcome = None
        try:
            if not measured.code and self._streamed is not None:
                choices = self._streamed.choices() if self._body is None else choices_of(self._body)
            if self._trial is not None:
                outcome = self._outcome(measured, total, choices, self._trial)
        finally:  # whatever its answer was, nobody waits for it any longer
            if self._trial is not None:
                self._trial.arrivals.ended(self._arrival, outcome, time.perf_counter())
        if self._copied is not None and (not measured.code or measured.code in _FAULTS):
            copy = self._copy(self._copied.candidate, measured, choices)
            self._traffic.shadows.offer(copy, self._copied.ask)

    def _outcome(self, measured: RequestFigures, total: float, choices: list[Choice], trial: Trial) -> Outcome | None:
        first = measured.first_token if measured.first_token is not None else self._arrival.first
        if measured.code == DISCONNECTED:
            # How long they waited is known, and without it a canary that hangs would leave no trace. Who waits for an
            # answer in one piece does not see its first token.
            ttft = total if first is None and self._arrival.streams else first
            return Outcome(failed=False, ttft=ttft, total=total)
        if measured.code in _OWN:
            # As many requests as wait for a load fail with it.
            again = self._is_the_load_counted_last(measured.code, total, trial)
            return Outcome(failed=None if again else True, own=True)
        if measured.code:
            return Outcome(failed=True) if measured.code in _FAULTS else None
        judged = (
            None if self._cut_by_its_caller(measured, choices) else broken_guards(choices, self._guards, trial.fits)
        )
        return Outcome(failed=False, ttft=first, total=total, caught=judged)

    def _line_up(self, trial: Trial | None) -> Arrival:
        request, session = self._request, ""
        if trial is not None and request.session:
            # Other services are told of it, and of nobody's name.
            session = hashlib.sha256(f"{trial.id}|{request.session}".encode()).hexdigest()[:16]
        streams = request.body.get("stream") is True
        arrival = Arrival(request.version.number, self._arrived, streams, session)
        if trial is not None:
            trial.arrivals.begun(arrival)
        return arrival

    def _is_the_load_counted_last(self, code: str, total: float, trial: Trial) -> bool:
        """Whether the failed load that ended this request has been counted; after this it has."""
        version = self._request.version
        adapter = version.spec.adapter if code == AdapterUnloadable.code else None
        number = self._traffic.failed_load(adapter) if adapter is not None else 0
        before, told = trial.counted_loads.get(version.number, (0, float("-inf")))
        # An adapter's loads have numbers. Whoever came before another part's failure was told has waited for the same.
        again = number == before if number else self._arrived <= told
        if not again:
            trial.counted_loads[version.number] = (number, self._arrived + total)
        return again

    def _cut_by_its_caller(self, measured: RequestFigures, choices: list[Choice]) -> bool:
        """Whether the answer is as long as its caller allowed, and so says nothing of how the version ends its own."""
        limit, tally = self._request.limit, measured.tally
        cut = any(choice.finish == "length" for choice in choices)
        return cut and limit is not None and tally is not None and tally.completion_tokens >= limit

    def _copy(self, candidate: Version, measured: RequestFigures, choices: list[Choice]) -> Copy:
        request, shadow = self._request, self._request.alias.policy.shadow
        served = Side(ref=request.version.ref, digest=request.version.digest, code=measured.code)
        if measured.tally is not None:
            keep = shadow is not None and shadow.record_bodies
            served = answered(request.version.ref, request.version.digest, choices, measured.tally, keep=keep)
        return Copy(request.alias, candidate, request.kind, request.body, request.id, served, choices)
