"""What the pages at /ui cost: `python -m benchmarks.console --events` and `python -m benchmarks.console --paint`.

`--events`: one `dabt serve` over the clinic's base, with a canary whose evidence moves at every request. The same
requests are made without and with 50 open streams of events, by turns and in both orders, and the ratio of each pair of
turns is printed: the median, and the range. Beside it stands the ratio of two turns that are both without, which is how
much two turns differ anyway. `--paint` is `console_paint.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy

from benchmarks import load, machine
from benchmarks.beside_a_job import CLINIC, ROWS, first_tokens, whole
from benchmarks.load import Ask, Run
from benchmarks.servers import Recipe, Server
from lifecycle.home import Home
from lifecycle.models.base import fingerprint
from lifecycle.registry import Registry
from lifecycle.traffic import CanaryBounds, TrafficPolicy
from lifecycle.version import Decoding, VersionSpec

TOKENS = 32
TOPICS = "overview,canary"
Figure = tuple[str, Callable[[Run], list[float]], float]
FIGURES: tuple[Figure, ...] = (
    ("first token, p50", first_tokens, 0.5),
    ("first token, p95", first_tokens, 0.95),
    ("whole answer, p50", whole, 0.5),
    ("whole answer, p95", whole, 0.95),
)


@dataclass(frozen=True, slots=True)
class Turn:
    without: Run
    again: Run
    """Without, once more."""
    beside: Run
    """With the open streams."""
    events: int
    """Of all streams together."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", action="store_true", help="p95 of requests with and without open pages")
    parser.add_argument("--paint", action="store_true", help="first paint with much and with little to show")
    parser.add_argument("--pages", type=int, default=50, help="open event streams")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--requests", type=int, default=100, help="of a turn")
    parser.add_argument("--concurrent", type=int, default=2, help="in flight at a time")
    given = parser.parse_args()
    print(json.dumps(machine.facts()["processor"]), machine.facts()["cores"], "cores")
    if given.events:
        print(events_table(measure(given.pages, given.turns, given.requests, given.concurrent), given.pages))
    if given.paint:
        from benchmarks import console_paint

        console_paint.run()


def measure(pages: int, turns: int, requests: int, concurrent: int) -> list[Turn]:
    texts = [json.loads(line)["messages"][1]["content"] for line in ROWS.read_text(encoding="utf-8").splitlines()]
    work = [Ask("triage", text, TOKENS) for text in texts[:requests]]
    with tempfile.TemporaryDirectory() as root:
        home = Home.at(Path(root) / "home")
        split_alias(home)
        command = [sys.executable, "-m", "dabt", "serve", "--base", str(CLINIC / "base_model"), "--no-worker"]
        command += ["--home", str(home.root), "--kv-cache-gib", "0.5"]
        with Server(Recipe("dabt", tuple(command), {}, "/ready"), Path(root)) as server:
            load.run(server.url, work, concurrent)  # warm

            def without() -> Run:
                return load.run(server.url, work, concurrent)

            def beside() -> tuple[Run, int]:
                with open_pages(server.url, pages) as heard:
                    run = load.run(server.url, work, concurrent)
                return run, sum(heard)

            told = []
            for turn in range(turns):
                if turn % 2:
                    (run, events), one, two = beside(), without(), without()
                else:
                    one, two, (run, events) = without(), without(), beside()
                told.append(Turn(one, two, run, events))
    return told


def split_alias(home: Home) -> None:
    """Two versions behind `triage`, and bounds that a canary of the same weights keeps."""
    bounds = CanaryBounds(max_error_rate=0.5, max_ttft_ratio=100.0, guards={"empty": 0.9})
    with Registry.open(home.registry_url) as registry:
        base = fingerprint(CLINIC / "base_model").digest
        for most in (512, 513):  # a version with a prompt of its own tells nobody the tokens that are counted here
            spec = VersionSpec(base=base, decoding=Decoding(max_tokens=most))
            registry.create_version("triage", spec, actor="benchmark")
        order: dict[str, Any] = {"actor": "benchmark", "reason": "measured", "force": True}
        registry.promote("triage:1", **order)
        registry.promote("triage:2", share=0.5, **order)
        registry.amend_policy(
            "triage", "prod", lambda _: TrafficPolicy(canary=bounds), actor="benchmark", reason="measured"
        )


@contextmanager
def open_pages(url: str, pages: int) -> Iterator[list[int]]:
    """So many streams, read by a process of their own; the list has how many events each got, once they are closed."""
    context = multiprocessing.get_context("spawn")
    opened, closing, counts = context.Event(), context.Event(), context.Queue()
    reader = context.Process(target=_listen, args=(url, pages, opened, closing, counts))
    reader.start()
    while not opened.wait(1.0):  # it imports as much as a benchmark does
        assert reader.is_alive(), "the streams were not opened"
    heard: list[int] = []
    try:
        yield heard
    finally:
        closing.set()
        heard += counts.get(timeout=600)
        reader.join(600)
    assert all(heard), "a stream got nothing"


def _listen(url: str, pages: int, opened: Event, closing: Event, counts: Any) -> None:
    asyncio.run(_read_all(url, pages, opened, closing, counts))


async def _read_all(url: str, pages: int, opened: Event, closing: Event, counts: Any) -> None:
    heard, begun, place = [0] * pages, [asyncio.Event() for _ in range(pages)], urlsplit(url)
    head = f"GET /ui/events?topics={TOPICS} HTTP/1.1\r\nHost: {place.netloc}\r\nAccept: text/event-stream\r\n\r\n"

    async def one(n: int) -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(head.encode())
        while piece := await reader.read(2**16):
            heard[n] += piece.count(b"\nevent: ")
            if heard[n]:
                begun[n].set()

    streams = [asyncio.create_task(one(n)) for n in range(pages)]
    for first in begun:
        await first.wait()
    opened.set()
    await asyncio.to_thread(closing.wait)
    for stream in streams:
        stream.cancel()
    counts.put(heard)


def events_table(turns: Sequence[Turn], pages: int) -> str:
    """In Markdown; times in milliseconds."""
    lines = [f"| | without | with {pages} open pages | ratio (range) | without against without (range) |"]
    lines.append("|---|---|---|---|---|")
    for name, of, quantile in FIGURES:

        def at(run: Run, of: Callable[[Run], list[float]] = of, quantile: float = quantile) -> float:
            return float(numpy.quantile(of(run), quantile))

        ratios = [at(turn.beside) / median([at(turn.without), at(turn.again)]) for turn in turns]
        noise = [at(turn.again) / at(turn.without) for turn in turns]
        times = [median(map(at, runs)) for runs in ([t.without for t in turns], [t.beside for t in turns])]
        lines.append(f"| {name} | {_ms(times[0])} | {_ms(times[1])} | {_spread(ratios)} | {_spread(noise)} |")
    failed = [sum(len(run.failed) for run in runs) for runs in ([t.without for t in turns], [t.beside for t in turns])]
    lines.append(f"| requests failed | {failed[0]} | {failed[1]} | | |")
    seconds = sum(turn.beside.seconds for turn in turns)
    lines.append(f"| events a second to each page | | {sum(t.events for t in turns) / seconds / pages:.2f} | | |")
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
