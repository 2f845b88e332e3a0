"""A distillation from inputs to rows: look at everything, ask what is still unknown, write what is known in order.

The journal stands beside the output and decides what is asked, so that a run may be cut off at any moment and begun
again. Only inputs whose request was under way at that moment are asked twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lifecycle.errors import DabtError, NotAllowed, Unavailable
from lifecycle.rows.writing import write
from training.data.distill.inputs import Asked
from training.data.distill.journal import Journal
from training.data.distill.labels import Label, Rejection, judged, wanted
from training.data.distill.outcome_rows import labelled, set_aside
from training.data.distill.plan import Distillation
from training.data.distill.spending import Budget, CapReached, Prices, Tokens
from training.data.distill.teacher import Clock, Teacher, Unanswered

_IN_A_ROW = 8
"""So many inputs without an answer, and none with one between them, are the endpoint's fault and not theirs."""


@dataclass(frozen=True)
class Course:
    """How far a run is. `done` of `total` inputs are behind it, of which `asked` in this run, in `seconds`."""

    done: int
    total: int
    asked: int
    seconds: float
    requests: int
    tokens: int
    cost: float | None

    @property
    def words(self) -> str:
        rate = self.asked / self.seconds if self.seconds > 0 else 0.0
        parts = [f"{self.done:,} of {self.total:,} inputs", f"{rate:.1f} a second"]
        parts += [f"{self.requests:,} requests", f"{self.tokens:,} tokens"]
        parts += [f"cost {self.cost:.4f}"] if self.cost is not None else []
        left = (self.total - self.done) / rate if rate else 0.0
        return ", ".join([*parts, *([f"{_time(left)} left"] if left else [])])


@dataclass
class Distilled:
    """What there is now. `stopped` is why not all inputs have an outcome."""

    inputs: int = 0
    labelled: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    requests: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    cost: float | None = None
    notes: list[str] = field(default_factory=list)
    stopped: DabtError | None = None


Watch = Callable[[Course], None]


def distil(plan: Distillation, watch: Watch, clock: Clock | None = None) -> Distilled:
    """Asks what is still unknown, and writes rows and rejections: each time all that is known, in the inputs' order.

    Raises `InvalidConfig`, `InvalidData` with every bad row, and what `Journal` raises, before anything is asked.
    """
    plan.require_sound()
    total = sum(1 for _ in plan.inputs)
    with Journal(plan.journal, plan.identity) as journal:
        budget = Budget(plan.caps, plan.prices or Prices(), journal.spent, journal.requests)
        run = _Run(plan, journal, budget, total, watch)
        asyncio.run(run.through(clock or Clock()))
        return run.written()


class _Run:
    def __init__(self, plan: Distillation, journal: Journal, budget: Budget, total: int, watch: Watch) -> None:
        self._plan, self._journal, self._budget, self._watch = plan, journal, budget, watch
        self._total, self._done, self._asked = total, 0, 0
        self._began = time.monotonic()
        self._stopped: DabtError | None = None
        self._notes: list[str] = []
        self._without: list[str] = []
        """Inputs in a row that got no answer, in words."""

    async def through(self, clock: Clock) -> None:
        """Every input, `concurrency` at a time; what is under way when the run is stopped is finished."""
        plan = self._plan
        waiting, taken = iter(plan.inputs), set[str]()
        async with Teacher(plan.teacher, plan.schema, self._budget, self._journal, clock) as teacher:

            async def worker() -> None:
                for asked in waiting:
                    if self._stopped:
                        return
                    if asked.key not in taken:
                        taken.add(asked.key)
                        await self._label(asked, teacher)
                    self._done += 1
                    self._tell()

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(plan.teacher.concurrency):
                        group.create_task(worker())
            except BaseExceptionGroup as errors:  # our own errors must reach the caller as they are
                raise errors.exceptions[0] from None
            self._notes += teacher.notes

    async def _label(self, asked: Asked, teacher: Teacher) -> None:
        plan, key = self._plan, asked.key
        if plan.retry_rejected and isinstance(self._outcome(asked), Rejection):
            self._journal.again(key)
        asked_now, refused = False, ""
        while want := wanted(self._journal.answers(key), plan.schema, plan.sampling):
            if self._stopped:
                return
            try:
                answer = await teacher.ask(key, want.turn, [*asked.request(plan.prompt), *want.behind])
            except CapReached as cap:
                self._stop(
                    NotAllowed(f"the next request could pass {cap}: raise it, and run the same command to go on")
                )
                return
            except Unanswered as error:
                self._missed(f"{asked.place}: {error}")
                return
            except DabtError as error:
                self._stop(error)
                return
            asked_now, refused = True, answer.error
        self._asked += asked_now
        if refused:
            self._missed(f"{asked.place}: {refused}")
        elif asked_now:
            self._without.clear()

    def _missed(self, words: str) -> None:
        self._without.append(words)
        if len(self._without) >= max(_IN_A_ROW, self._plan.teacher.concurrency):
            count = len(self._without)
            self._stop(Unavailable(f"{count} inputs in a row got no answer (the last: {words}); see to the endpoint"))

    def _stop(self, error: DabtError) -> None:
        self._stopped = self._stopped or error

    def _tell(self) -> None:
        self._watch(
            Course(
                done=self._done,
                total=self._total,
                asked=self._asked,
                seconds=time.monotonic() - self._began,
                requests=self._budget.requests,
                tokens=self._budget.spent.total,
                cost=self._budget.cost if self._plan.prices else None,
            )
        )

    def _outcome(self, asked: Asked) -> Label | Rejection | None:
        return judged(self._journal.answers(asked.key), self._plan.schema, self._plan.sampling)

    def written(self) -> Distilled:
        """Writes all that is known. A file without a row is taken away: it would be that of an earlier run."""
        found = Distilled(
            requests=self._budget.requests,
            tokens=self._budget.spent,
            cost=self._budget.cost if self._plan.prices else None,
            notes=self._notes,
            stopped=self._stopped,
        )
        for asked in self._plan.inputs:
            outcome = self._outcome(asked)
            found.inputs += 1
            found.labelled += isinstance(outcome, Label)
            found.unanswered += outcome is None
            if isinstance(outcome, Rejection):
                found.rejected[outcome.code] += 1
        for path, kind, count in (
            (self._plan.out, Label, found.labelled),
            (self._plan.rejected, Rejection, found.rejected.total()),
        ):
            if count:
                write(path, self._rows(kind))
            else:
                path.unlink(missing_ok=True)
        if found.unanswered and not found.stopped:
            words = self._without[-1] if self._without else "no answer"
            found.stopped = Unavailable(f"{found.unanswered:,} inputs got no answer (the last: {words})")
        return found

    def _rows(self, kind: type[Label] | type[Rejection]) -> Iterator[dict[str, Any]]:
        for asked in self._plan.inputs:
            outcome = self._outcome(asked)
            if isinstance(outcome, kind):
                answers = self._journal.answers(asked.key)
                if isinstance(outcome, Label):
                    yield labelled(self._plan, asked, outcome, answers)
                else:
                    yield set_aside(self._plan, asked, outcome, answers)


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds} s"
