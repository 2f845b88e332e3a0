"""`dabt eval` beside lm-eval's own API models on one endpoint, in one run: items a second, and what five arms take.

    python -m benchmarks.evals
    python -m benchmarks.evals --quick
    python -m benchmarks.evals --client

Both sides have the same requests in flight at a time. What is timed of ours is an arm's whole turn, answers kept and
scored; of lm-eval's, its model's call alone (`loglikelihood`, `generate_until`). Five arms are timed from the reading
of the task to the written report, against the seconds that the same endpoint takes for the same requests, arm by arm,
from a client that does nothing else. The client's own work is processor time an item against a server that answers at
once (`instant.py`). Ends with 1 when a bar does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import httpx
import typer
from rich.console import Console

from benchmarks import bases, machine, report
from benchmarks.eval_tasks import CHOICE, GENERATION, Workplace, workplace
from benchmarks.figures import Bar, Figure, ratio
from benchmarks.instant import instant
from benchmarks.plan import Plan, by_turns
from benchmarks.servers import BASE, Server, ours
from evals.arms import resolve_arms
from evals.asking.endpoint import Endpoint
from evals.asking.measure import measure
from evals.asking.services import asked
from evals.progress import Silent
from evals.run import evaluate
from evals.tasks.lmeval.requests import turns_of
from evals.tasks.lmeval.solver import LmEvalSolver
from evals.tasks.loading import load_suite
from lifecycle.deployment import Deployment
from lifecycle.home import Home
from lifecycle.version import digest_of
from service.engine.vllm.flags import cpu_dtype

_AS_QUICK = Bar(at_least=1.0)
_LITTLE_BESIDE = Bar(at_most=1.1)
_FEWEST = 96
"""Items that five arms are asked at least: reading the task, the statistics and the report take a quarter of a second
however few there are, which beside a second of the engine's time would be the figure."""


@dataclass(frozen=True)
class Bench:
    """What is asked."""

    url: str
    place: Workplace


@dataclass(frozen=True)
class Took:
    """Of an item, in seconds."""

    clock: float
    processor: float
    """Of this process: the client's work."""


@dataclass(frozen=True)
class Sides:
    """One arm of ours, the base as it is, and lm-eval's models over the same items."""

    mine: Callable[[], Took]
    rivals: Mapping[str, Callable[[], Took]]
    """By what the table calls them."""

    def by_turns(self, rounds: int) -> tuple[list[Took], dict[str, list[Took]]]:
        works = [self.mine, *self.rivals.values()]
        by_turns(1, *works)  # connections, prefix caches and imports
        own, *others = by_turns(rounds, *works)
        return own, dict(zip(self.rivals, others, strict=True))


def sides(bench: Bench, task: str, versions: dict[str, str] | None = None) -> Sides:
    """`versions` gets the digest of the arm's version."""
    config = bench.place.config(task, bench.url)
    with bench.place.stock.registry() as registry, scratch(bench.place) as home:
        suite = load_suite(config, home.cache)
        arm = next(arm for arm in resolve_arms(config, registry, actor="benchmark") if arm.label == config.baseline)
    if versions is not None:
        versions[arm.version.ref] = arm.version.digest

    def mine() -> Took:
        alone = config.model_copy(update={"noise_items": 0, "endpoint": f"{bench.url}/v1"})
        with (
            asked(Endpoint(url=alone.endpoint), [arm], None) as services,
            scratch(bench.place) as home,
            timed(len(suite.samples)) as took,
        ):
            (made,), _ = measure(alone, suite, [arm], services, home.cache, Silent())
        if failed := [outcome.error for outcome in made.outcomes if outcome.error]:
            raise SystemExit(f"{len(failed)} of our requests failed: {failed[0]}")
        return took()

    assert isinstance(suite.solver, LmEvalSolver)
    requests = [request for sample in suite.samples for request in suite.solver.instances[sample.key]]
    rivals = {name: partial(_theirs, model, requests, len(suite.samples)) for name, model in _rivals(bench, task)}
    return Sides(mine, rivals)


@contextlib.contextmanager
def timed(items: int) -> Iterator[Callable[[], Took]]:
    """What the block took of each item, once it has ended."""
    began = time.perf_counter(), time.process_time()
    ended: list[Took] = []
    yield lambda: ended[0]
    clock, processor = time.perf_counter() - began[0], time.process_time() - began[1]
    ended.append(Took(clock / items, processor / items))


def items_a_second(bench: Bench, task: str, rounds: int) -> list[Figure]:
    """On the engine."""
    own, others = sides(bench, task).by_turns(rounds)
    return [
        ratio(_scenario(task), f"items a second / {name}", *_speeds(own, theirs), _AS_QUICK)
        for name, theirs in others.items()
    ]


def processor(bench: Bench, task: str, rounds: int) -> list[Figure]:
    """Of the client, against a server that answers at once: a busy machine disturbs it little."""
    digests: dict[str, str] = {}
    what = Deployment(engine="none", dtype="none", base=digest_of("none"), revision="1")
    told = {"digest": what.digest, "deployment": what.model_dump(mode="json")}
    sides(bench, task, digests)
    with tempfile.TemporaryDirectory(prefix="dabt-bench-") as folder, instant(told, digests, Path(folder)) as url:
        own, others = sides(replace(bench, url=url), task).by_turns(rounds)
    milliseconds = [took.processor * 1000 for took in own]
    return [
        ratio(
            f"{_scenario(task)}, a server that answers at once",
            f"the client's processor time an item / {name}",
            milliseconds,
            [took.processor * 1000 for took in theirs],
            note="ms",
        )
        for name, theirs in others.items()
    ]


def _scenario(task: str) -> str:
    return "generation" if task == GENERATION else "log-likelihood, 4 choices"


def _speeds(own: Sequence[Took], theirs: Sequence[Took]) -> tuple[list[float], list[float]]:
    """Items a second of each."""
    return [1 / took.clock for took in own], [1 / took.clock for took in theirs]


def five_arms(bench: Bench, task: str, rounds: int) -> list[Figure]:
    """The whole evaluation against the endpoint's own seconds for its requests."""
    limit = min(bench.place.items, max(bench.place.items // 4, _FEWEST))
    config = bench.place.config(task, bench.url, arms=bench.place.five_arms(), limit=limit)
    recorder = Recorder()

    def whole(transport: httpx.AsyncBaseTransport | None = None) -> float:
        with bench.place.stock.registry() as registry, scratch(bench.place) as home:
            began = time.perf_counter()
            evaluate(config, registry, home, actor="benchmark", transport=transport)
            return time.perf_counter() - began

    whole(recorder)

    def engine() -> float:
        return sum(asyncio.run(_replayed(bench.url, calls, config.concurrency)) for calls in recorder.by_model())

    seconds, alone = by_turns(rounds, whole, engine)
    scenario = f"five arms, {'generation' if task == GENERATION else 'log-likelihood'}"
    return [ratio(scenario, "whole evaluation / the endpoint's time", seconds, alone, _LITTLE_BESIDE)]


@dataclass
class Recorder(httpx.AsyncBaseTransport):
    """The network, and what was sent over it."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._network = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.calls.append((request.url.path, json.loads(request.content)))
        return await self._network.handle_async_request(request)

    def by_model(self) -> list[list[tuple[str, dict[str, Any]]]]:
        groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for path, body in self.calls:
            groups.setdefault(body["model"], []).append((path, body))
        return list(groups.values())


async def _replayed(url: str, calls: Sequence[tuple[str, dict[str, Any]]], concurrent: int) -> float:
    waiting = iter(calls)
    headers = {"x-dabt-purpose": "evaluation"}
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def caller() -> None:
            for path, body in waiting:
                async with session.post(path, json=body) as reply:
                    await reply.read()
                    reply.raise_for_status()

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(concurrent)))
        return time.perf_counter() - began


def _rivals(bench: Bench, task: str) -> Iterator[tuple[str, Any]]:
    """lm-eval's own models over the same endpoint, by what the table calls them."""
    from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

    shared: dict[str, Any] = {
        "model": BASE,
        "tokenizer": str(bench.place.stock.base),
        "num_concurrent": bench.place.concurrency,
        "max_retries": 1,
        "max_length": 2048,
    }
    completions = partial(
        LocalCompletionsAPI, base_url=f"{bench.url}/v1/completions", tokenizer_backend="huggingface", **shared
    )
    yield "local-completions", completions()
    if task == CHOICE:
        yield "local-completions, batch_size 4", completions(batch_size=4)
    else:
        url = f"{bench.url}/v1/chat/completions"
        yield "local-chat-completions", LocalChatCompletion(base_url=url, **shared)


def _theirs(model: Any, requests: Sequence[Any], items: int) -> Took:
    chats = type(model).__name__ == "LocalChatCompletion"
    sent = list(requests)
    if requests[0].request_type == "generate_until":
        turns = [turns_of(request) for request in requests]
        asked = [model.apply_chat_template(said) if chats else said[-1]["content"] for said in turns]
        sent = [
            replace(request, arguments=(said, *request.args[1:])) for request, said in zip(requests, asked, strict=True)
        ]
    call: Callable[..., list[Any]] = getattr(model, requests[0].request_type)
    with contextlib.redirect_stderr(io.StringIO()), timed(items) as took:  # its bar
        answers = call(sent, disable_tqdm=True)
    if len(answers) != len(sent) or any(answer is None for answer in answers):
        raise SystemExit("lm-eval's model did not answer everything")
    return took()


@contextlib.contextmanager
def scratch(place: Workplace) -> Iterator[Home]:
    """The same registry and store, with no answer kept yet."""
    with tempfile.TemporaryDirectory(prefix="dabt-bench-") as folder:
        yield place.stock.home.model_copy(update={"root": Path(folder)})


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each side is measured, by turns.")] = 3,
    items: Annotated[int, typer.Option(min=8, help="Of each task.")] = 384,
    tokens: Annotated[int, typer.Option(min=1, help="Of an answer, at most.")] = 32,
    concurrency: Annotated[int, typer.Option(min=2, help="Requests in flight, of either side.")] = 16,
    quick: Annotated[bool, typer.Option("--quick", help="A quarter of the items, one round.")] = False,
    client: Annotated[bool, typer.Option("--client", help="Only the client's own work, without an engine.")] = False,
    work: Annotated[Path, typer.Option(help="Where the home, logs and results are kept.")] = Path(".dabt/benchmarks"),
) -> None:
    """Measure, print the table, write JSON."""
    console, work = Console(), work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if quick:
        rounds, items = 1, items // 4
    plan = Plan(bases.TINY, "tiny", work, rounds, cpu_dtype(bases.TINY), quick)
    place = workplace(plan.base, work, items, tokens, concurrency)
    options = {"rounds": rounds, "items": items, "tokens": tokens, "concurrency": concurrency, "dtype": plan.dtype}
    facts = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **options, "machine": machine.facts()}
    console.print_json(data=facts)
    figures: list[Figure] = []

    def measured(bench: Bench, *kinds: Callable[[Bench, str, int], list[Figure]]) -> None:
        for what in kinds:
            for task in (GENERATION, CHOICE):
                began = time.monotonic()
                made = what(bench, task, rounds)
                report.show(made, console)
                console.print(f"[dim]{what.__name__}, {task}: {time.monotonic() - began:.0f} s[/]\n")
                figures.extend(made)

    measured(Bench("http://127.0.0.1:1", place), processor)
    if not client:
        with Server(ours(plan.config(), place.stock.home.root), plan.logs) as server:
            measured(Bench(server.url, place), items_a_second, five_arms)
    report.write_json(figures, facts, work / "evals.json")
    if any(figure.passed is False for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
