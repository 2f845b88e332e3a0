"""What an answer is to keep to is compiled on trial before the engine is given it: within a deadline, in turns.

The engine's core compiles with one thread for everybody, which can be neither stopped nor looked into. So nothing
reaches it that has not been compiled once by `worker.py`, in a process that can be killed. What passed is
remembered, and so is what did not. Callers take turns, so that one who sends many waits for his own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import struct
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lifecycle.errors import InvalidInput, Overloaded, Problem, Unavailable

_PROGRAM = Path(__file__).with_name("worker.py")
_AT_ONCE = 2
_WAITING = 256
_WAITING_OF_ONE = 16
_REMEMBERED = 4096
_PATIENCE = 10
"""Seconds of the clock for each of the processor's that a trial may take: on a busy machine it gets few of them."""
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a worker that ended is started again; they double while it does not live as long as the longest."""
_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer is to keep to. `kind` is json, regex, grammar, lark or structural_tag."""

    kind: str
    spec: str
    place: str = ""
    """The caller's field."""

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(f"{self.kind}\0{self.spec}".encode("utf-8", "surrogatepass")).digest()


@dataclass(slots=True, eq=False)
class _Trial:
    constraint: Constraint
    caller: str
    ended: asyncio.Future[str]
    """What is wrong with the constraint; empty when nothing is."""
    asking: int = 0
    """Requests that wait for it."""
    id: int = 0
    """Once the worker has it."""


class GrammarTrials:
    """Belongs to one event loop. One worker process, started by `start` and again when it has died."""

    def __init__(self, seconds: float) -> None:
        """`seconds` of the processor is the most that one constraint may take to compile."""
        self._seconds = seconds
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._open: dict[bytes, _Trial] = {}
        self._turns: OrderedDict[str, deque[_Trial]] = OrderedDict()
        """Caller → what waits for the worker, in order of arrival."""
        self._at_work: dict[int, _Trial] = {}
        self._count = 0
        self._tokens: dict[str, Any] = {}
        self._worker: asyncio.StreamWriter | None = None
        self._running: asyncio.Task[None] | None = None
        self._series = _Series(lambda: self.is_ready)

    def start(self, tokens: str, *, whitespace: bool) -> None:
        """`tokens` is xgrammar's TokenizerInfo as JSON; `whitespace` is whether JSON may have any."""
        self._tokens = {"tokens": tokens, "whitespace": whitespace}
        if self._running is None:
            self._running = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
            self._running = None
        self._known.clear()  # another engine may have other tokens

    @property
    def is_ready(self) -> bool:
        return self._worker is not None

    def page(self) -> bytes:
        """Series in Prometheus' text format."""
        return self._series.page()

    async def check(self, constraint: Constraint, caller: str = "") -> None:
        """Return when `constraint` can be kept to.

        Raises `InvalidInput` at its place when it cannot or costs too much, `Overloaded` when too many wait, and
        `Unavailable` when it cannot be found out now.
        """
        fault = await self._fault(constraint, caller)
        if fault:
            cure = "write it simpler, or leave it out and check the answer yourself"
            raise InvalidInput("The request is not valid:", [Problem(constraint.place, fault, cure)])

    async def _fault(self, constraint: Constraint, caller: str) -> str:
        key = constraint.digest
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            self._series.ended("remembered")
            return known
        trial = self._open.get(key) or self._asked(key, constraint, caller)
        trial.asking += 1
        try:
            return await asyncio.shield(trial.ended)
        finally:
            trial.asking -= 1
            if not trial.asking and not trial.ended.done():
                self._forget(key, trial)

    def _asked(self, key: bytes, constraint: Constraint, caller: str) -> _Trial:
        if self._running is None:
            raise _not_now()
        own = self._turns.get(caller, ())
        if len(own) >= _WAITING_OF_ONE or sum(map(len, self._turns.values())) >= _WAITING:
            self._series.ended("overloaded")
            raise Overloaded("too many schemas and grammars wait to be compiled; try again later", retry_after=2.0)
        trial = self._open[key] = _Trial(constraint, caller, asyncio.get_running_loop().create_future())
        self._turns.setdefault(caller, deque()).append(trial)
        self._give()
        return trial

    def _forget(self, key: bytes, trial: _Trial) -> None:
        """Nobody waits for it any more."""
        del self._open[key]
        trial.ended.cancel()
        self._series.ended("cancelled")
        if trial.id and self._worker is not None:
            self._send(self._worker, {"cancel": trial.id})  # its place is free when it has ended
        elif not trial.id:
            self._turns[trial.caller].remove(trial)
            if not self._turns[trial.caller]:
                del self._turns[trial.caller]

    def _give(self) -> None:
        """Give the worker what is next. A caller has one place at most, so that there is always one for others."""
        while self._worker is not None and len(self._at_work) < _AT_ONCE:
            busy = {trial.caller for trial in self._at_work.values()}
            caller = next((caller for caller in self._turns if caller not in busy), None)
            if caller is None:
                return
            trial = self._turns[caller].popleft()
            if self._turns[caller]:
                self._turns.move_to_end(caller)
            else:
                del self._turns[caller]
            self._count += 1
            trial.id = self._count
            self._at_work[trial.id] = trial
            asked = {"id": trial.id, "kind": trial.constraint.kind, "spec": trial.constraint.spec}
            patience = self._seconds * _PATIENCE
            self._send(self._worker, {**asked, "seconds": self._seconds, "patience": patience})

    def _ended(self, said: dict[str, Any]) -> None:
        trial = self._at_work.pop(said["id"])
        outcome, fault = said["outcome"], str(said["message"])
        self._series.seconds.observe(said["seconds"])
        if not trial.ended.done():
            key = trial.constraint.digest
            del self._open[key]
            self._series.ended(outcome)
            if outcome == "late":
                trial.ended.set_exception(_not_now())
            else:
                self._known[key] = fault
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
                trial.ended.set_result(fault)
        self._give()

    async def _keep_running(self) -> None:
        pause = _PAUSE
        try:
            while True:
                began = time.monotonic()
                await self._run()
                pause = _PAUSE if time.monotonic() - began > _LONGEST_PAUSE else min(_LONGEST_PAUSE, pause)
                log.error("the process that compiles grammars ended; it is started again", seconds=pause)
                await asyncio.sleep(pause)
                pause *= 2
        finally:
            self._fail()

    async def _run(self) -> None:
        """One life of the worker."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", str(_PROGRAM)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # signals of a terminal are for this process, which ends it
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._send(process.stdin, self._tokens)
        try:
            async for line in process.stdout:
                said = json.loads(line)
                if "ready" in said:
                    self._worker = process.stdin
                    self._give()
                else:
                    self._ended(said)
        finally:
            self._worker = None
            self._fail(self._at_work)
            with suppress(ProcessLookupError):
                process.kill()  # its children end by their own limits
            await process.wait()

    @staticmethod
    def _send(worker: asyncio.StreamWriter, asked: dict[str, Any]) -> None:
        frame = json.dumps(asked).encode()
        worker.write(struct.pack(">I", len(frame)) + frame)

    def _fail(self, trials: Mapping[int, _Trial] | None = None) -> None:
        """What the worker had, or everything, is told that it cannot be found out now."""
        for key, trial in list(self._open.items()):
            if trials is None or trial.id in trials:
                del self._open[key]
                trial.ended.set_exception(_not_now())
                trial.ended.exception()  # there may be nobody to take it
                self._series.ended("failed")
        self._at_work.clear()
        if trials is None:
            self._turns.clear()


def _not_now() -> Unavailable:
    return Unavailable("no answer can be held to a schema or grammar now; try again", retry_after=2.0)


class _Series:
    """What became of constraints, and how long they took."""

    def __init__(self, up: Callable[[], bool]) -> None:
        self._registry = CollectorRegistry()
        self._ended = Counter(
            "dabt_constraints",
            "Schemas, expressions and grammars that answers were to keep to, by what became of them",
            ["outcome"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "dabt_constraint_compile_seconds",
            "Seconds of the processor to compile one on trial",
            registry=self._registry,
            buckets=_BUCKETS,
        )
        gauge = Gauge("dabt_constraints_up", "1 when one can be compiled", registry=self._registry)
        gauge.set_function(lambda: float(up()))

    def ended(self, outcome: str) -> None:
        self._ended.labels(outcome).inc()

    def page(self) -> bytes:
        return generate_latest(self._registry)
