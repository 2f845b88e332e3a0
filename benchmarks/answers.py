"""Which tokens are right: what each adapter answers alone, one request at a time, on the same server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks import load
from benchmarks.load import Ask, Run

Expected = dict[Ask, tuple[int, ...]]


class NoAnswer(Exception):
    """A server failed a request that it had to itself."""


def alone(url: str, asks: Iterable[Ask]) -> Expected:
    """The tokens of each different request, made with nothing beside it."""
    run = load.run(url, list(dict.fromkeys(asks)), concurrent=1)
    if run.failed:
        raise NoAnswer(f"{run.failed[0].ask.model} alone: {run.failed[0].error or 'too few tokens'}")
    return {one.ask: one.tokens for one in run.told}


def check_apart(expected: Expected, base: str) -> None:
    """Raises `NoAnswer` when a model answers just as `base` does: a mixed batch could not tell them apart."""
    of_base = {ask.text: tokens for ask, tokens in expected.items() if ask.model == base}
    for model in {ask.model for ask in expected} - {base}:
        own = {ask.text: tokens for ask, tokens in expected.items() if ask.model == model}
        if all(of_base.get(text) == tokens for text, tokens in own.items()):
            raise NoAnswer(f"{model} answers as the base does, so nothing would be shown by its answers")


def share_wrong(run: Run, expected: Expected) -> float:
    """Of the requests that were answered, the share whose tokens differ from those given alone."""
    answered = len(run.told) - len(run.failed)
    return len(run.differing(expected)) / answered if answered else 1.0


def percent_wrong(runs: Sequence[Run], expected: Expected) -> tuple[float, ...]:
    """The same of each run, in percent."""
    return tuple(100 * share_wrong(run, expected) for run in runs)
