"""Arms take turns in asking: chunks of samples in a seeded order, each arm at the same concurrency.

Twice as many samples are under way as requests may be in flight. So behind each request the next one stands ready, its
version warmed up, and it is sent as soon as the first one's answer is on disk: the endpoint does not wait for scores.
Read `measure.py` for the whole of it.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from evals.asking.asker import Asker
from evals.config import EvalConfig
from evals.progress import Progress
from evals.sample import Sample
from evals.solvers.solver import Attempt, Solver

if TYPE_CHECKING:
    from evals.asking.services import Services

_T = TypeVar("_T")
_LATER = 3
"""Rounds of the event loop in which a request that waited for its flight is on its way."""
_IN_A_ROW = 50
"""Turns, at least, that are asked without a pause between them."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Samples that one arm answers, once by each of its askers."""

    label: str
    askers: Sequence[Asker]
    samples: Sequence[Sample]


def turns_of(config: EvalConfig, samples: Sequence[Sample], askers: Mapping[str, Sequence[Asker]]) -> Iterator[Turn]:
    """Every arm has its turn with each chunk, in an order that chance decides anew for each."""
    order = random.Random(config.seed)
    for start in range(0, len(samples), config.chunk):
        chunk = samples[start : start + config.chunk]
        for arm in order.sample(list(askers), len(askers)):
            yield Turn(arm, askers[arm], chunk)


def rows(turns: Iterator[Turn], arms: int) -> Iterator[list[Turn]]:
    """Turns that are asked in one go: whole chunks, of all `arms`."""
    while row := list(islice(turns, -(-_IN_A_ROW // arms) * arms)):
        yield row


@contextmanager
def _unswept() -> Iterator[None]:
    """Python's collector looks at nothing that was there before. It stops all else while it looks, for some tenths of a
    second at what the libraries and the items hold: the endpoint would wait, and each reply would seem late.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def solve(
    turns: Sequence[Turn],
    solver: Solver,
    services: Services,
    concurrency: int,
    progress: Progress,
    then: Callable[[Turn, Sample, Attempt], Awaitable[_T]],
) -> list[list[tuple[_T, ...]]]:
    """Of each turn what `then` makes of each sample's attempts, one by each asker."""
    left = [len(turn.samples) * len(turn.askers) for turn in turns]

    async def made(number: int, sample: Sample, asker: Asker) -> _T:
        turn = turns[number]
        attempt = await solver.solve(sample, asker)
        progress.advance(turn.label, solver.requests(sample))
        for _ in range(_LATER):
            await asyncio.sleep(0)
        given = await then(turn, sample, attempt)
        left[number] -= 1
        if not left[number]:
            await asker.check_alive()
        return given

    work = [
        partial(made, number, sample, asker)
        for number, turn in enumerate(turns)
        for sample in turn.samples
        for asker in turn.askers
    ]
    with _unswept():
        results = iter(services.own.gather(work, concurrency=2 * concurrency, done=lambda _: None))
    return [[tuple(next(results) for _ in turn.askers) for _ in turn.samples] for turn in turns]
