"""`dabt eval` beside lm-eval's own API models on one endpoint, in one run: items a second, and what five arms take.

    python -m benchmarks.evals
    python -m benchmarks.evals --quick

Both sides have the same requests in flight at a time. What is timed of ours is an arm's whole turn, answers kept and
scored; of lm-eval's, its model's call alone (`loglikelihood`, `generate_until`). Five arms are timed from the reading
of the task to the written report, against the seconds that the same endpoint takes for the same requests, arm by arm,
from a client that does nothing else. Ends with 1 when a bar does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
from benchmarks.plan import Plan, by_turns
from benchmarks.servers import BASE, Server, ours
from evals.arms import resolve_arms
from evals.asking.endpoint import Endpoint
from evals.asking.measure import measure
from evals.asking.services import asked
from evals.progress import Silent
from evals.run import evaluate
from evals.tasks.lmeval.solver import LmEvalSolver
from evals.tasks.loading import load_suite
from lifecycle.home import Home
from service.engine.vllm_flags import cpu_dtype

_AS_QUICK = Bar(at_least=1.0)
_LITTLE_BESIDE = Bar(at_most=1.1)


@dataclass(frozen=True)
class Bench:
    """What is asked."""

    url: str
    place: Workplace


def items_a_second(bench: Bench, task: str, rounds: int) -> list[Figure]:
    """One arm of ours, the base as it is, against lm-eval's models over the same items."""
    config = bench.place.config(task, bench.url)
    with bench.place.stock.registry() as registry, scratch(bench.place) as home:
        suite = load_suite(config, home.cache)
        arm = next(arm for arm in resolve_arms(config, registry, actor="benchmark") if arm.label == config.baseline)

    def mine() -> float:
        alone = config.model_copy(update={"noise_items": 0})
        with asked(Endpoint(url=config.endpoint), [arm], None) as services, scratch(bench.place) as home:
            began = time.perf_counter()
            (made,), _ = measure(alone, suite, [arm], services, home.cache, Silent())
            seconds = time.perf_counter() - began
        if failed := [outcome.error for outcome in made.outcomes if outcome.error]:
            raise SystemExit(f"{len(failed)} of our requests failed: {failed[0]}")
        return len(suite.samples) / seconds

    assert isinstance(suite.solver, LmEvalSolver)
    requests = [request for sample in suite.samples for request in suite.solver.instances[sample.key]]
    rivals = dict(_rivals(bench, task))
    works: list[Callable[[], float]] = [
        mine,
        *(partial(_theirs, model, requests, len(suite.samples)) for model in rivals.values()),
    ]
    by_turns(1, *works)  # connections, prefix caches and imports
    own, *others = by_turns(rounds, *works)
    scenario = "generation" if task == GENERATION else "log-likelihood, 4 choices"
    return [
        ratio(scenario, f"items a second / {name}", own, theirs, _AS_QUICK)
        for name, theirs in zip(rivals, others, strict=True)
    ]


def five_arms(bench: Bench, task: str, rounds: int) -> list[Figure]:
    """The whole evaluation against the endpoint's own seconds for its requests."""
    config = bench.place.config(task, bench.url, arms=bench.place.five_arms(), limit=bench.place.items // 4)
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


def _theirs(model: Any, requests: Sequence[Any], items: int) -> float:
    """Items a second."""
    chats = type(model).__name__ == "LocalChatCompletion"
    sent = list(requests)
    if chats:
        turns = [[{"role": "user", "content": request.args[0]}] for request in requests]
        sent = [
            replace(request, arguments=(model.apply_chat_template(turn), *request.args[1:]))
            for request, turn in zip(requests, turns, strict=True)
        ]
    call: Callable[..., list[Any]] = getattr(model, requests[0].request_type)
    with contextlib.redirect_stderr(io.StringIO()):  # its bar
        began = time.perf_counter()
        answers = call(sent, disable_tqdm=True)
        seconds = time.perf_counter() - began
    if len(answers) != len(sent) or any(answer is None for answer in answers):
        raise SystemExit("lm-eval's model did not answer everything")
    return items / seconds


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
    work: Annotated[Path, typer.Option(help="Where the home, logs and results are kept.")] = Path(".dabt/benchmarks"),
) -> None:
    """Measure, print the table, write JSON."""
    console, work = Console(), work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if quick:
        rounds, items = 1, items // 4
    plan = Plan(bases.TINY, "tiny", work, rounds, cpu_dtype(), quick)
    place = workplace(plan.base, work, items, tokens, concurrency)
    options = {"rounds": rounds, "items": items, "tokens": tokens, "concurrency": concurrency, "dtype": plan.dtype}
    facts = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **options, "machine": machine.facts()}
    console.print_json(data=facts)
    figures: list[Figure] = []
    with Server(ours(plan.config(), place.stock.home.root), plan.logs) as server:
        bench = Bench(server.url, place)
        for what in (items_a_second, five_arms):
            for task in (GENERATION, CHOICE):
                began = time.monotonic()
                made = what(bench, task, rounds)
                report.show(made, console)
                console.print(f"[dim]{what.__name__}, {task}: {time.monotonic() - began:.0f} s[/]\n")
                figures += made
    report.write_json(figures, facts, work / "evals.json")
    if any(figure.passed is False for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
