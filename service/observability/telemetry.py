"""Prometheus metrics by version and by key: requests, errors, tokens, latencies, and what is resident.

Cardinality is bounded (`cardinality.py`): a request that reached no version is counted under `unknown`, and past the
limits below the rest share `other`. By version and by key are two sets of series, because every pair of them would be
too many. The engine's own series (prefix `vllm:`) are added to the page by the route; docs/guides/observability.md
has the table of all.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)

from service.observability.cardinality import Bounded
from service.observability.counted import PER_TOKEN, SECONDS, Counted, counted, value_of
from service.request_context import Endpoint, RequestFigures

if TYPE_CHECKING:
    from service.request_context import RequestContext

MAX_VERSIONS, MAX_KEYS = 1000, 1000
MAX_TIMED_VERSIONS = 100
"""Fewer, because the latencies of one version are more than sixty lines on the page."""
UNKNOWN = "unknown"

# A line for every counter that says when it began, which nothing reads in this format.
disable_created_metrics()  # type: ignore[no-untyped-call]

_OF_THE_API = ("/v1/", "/classify")
"""How the routes begin whose requests are counted by key. vLLM has `/classify` without the version path."""


@dataclass(frozen=True, slots=True)
class ClassifierLoads:
    """Told by `classification/residents.py`."""

    loads: Counter
    failures: Counter
    evictions: Counter
    seconds: Histogram

    def loaded(self, seconds: float) -> None:
        self.loads.inc()
        self.seconds.observe(seconds)

    def load_failed(self) -> None:
        self.failures.inc()

    def evicted(self) -> None:
        self.evictions.inc()


class Telemetry:
    """One per app, with its own registry of series, so that several apps can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._watched: dict[str, tuple[Gauge, Callable[[], float]]] = {}

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"dabt_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"dabt_{name}", text, labels, registry=self.registry, buckets=buckets)

        per, key = "version", "key"
        self._requests = counter("requests", "Requests by version and endpoint", per, "endpoint")
        self._errors = counter("request_errors", "Requests that ended in an error, by the error's code", per, "code")
        self._prompt = counter("prompt_tokens", "Prompt tokens, with system text, shots and passages", per)
        self._completion = counter("completion_tokens", "Generated tokens", per)
        self._version = Bounded(per, MAX_VERSIONS)
        self._version.covers(self._requests, self._errors, self._prompt, self._completion)
        self._ttft = histogram("time_to_first_token_seconds", "From arrival to the first token", SECONDS, per)
        self._itl = histogram("inter_token_latency_seconds", "A request's mean time between tokens", PER_TOKEN, per)
        self._e2e = histogram("request_seconds", "From arrival to the last token", SECONDS, per)
        self._queue = histogram("queue_seconds", "Waiting for a slot, and for the first step", SECONDS, per)
        self._retrieval = histogram("retrieval_seconds", "Finding a request's passages", SECONDS, per)
        self._timed = Bounded(per, MAX_TIMED_VERSIONS)
        self._timed.covers(self._ttft, self._itl, self._e2e, self._queue, self._retrieval)
        self._key_requests = counter("key_requests", "Requests to the OpenAI API by key, refused ones too", key)
        self._key_errors = counter("key_request_errors", "Those that ended in an error, by its code", key, "code")
        self._key_prompt = counter("key_prompt_tokens", "Prompt tokens by key", key)
        self._key_completion = counter("key_completion_tokens", "Generated tokens by key", key)
        self._key = Bounded(key, MAX_KEYS)
        self._key.covers(self._key_requests, self._key_errors, self._key_prompt, self._key_completion)
        self._responses = counter("http_responses", "Everything that was answered over HTTP", "route", "status")
        self._in_flight = Gauge("dabt_requests_in_flight", "Requests being answered now", registry=self.registry)
        self._lease = histogram("adapter_wait_seconds", "A request's wait for its adapter, loads included", SECONDS)
        self._loads = counter("adapter_loads", "Adapters loaded into the engine")
        self._load_failures = counter("adapter_load_failures", "Loads that failed, golden prompts included")
        self._evictions = counter("adapter_evictions", "Adapters unloaded to make room")
        self._load_seconds = histogram("adapter_load_seconds", "Fetching, loading and verifying", SECONDS)
        self.classifiers = ClassifierLoads(
            loads=counter("classifier_loads", "Classifiers loaded into memory"),
            failures=counter("classifier_load_failures", "Loads that failed, golden texts included"),
            evictions=counter("classifier_evictions", "Classifiers that left memory to make room"),
            seconds=histogram("classifier_load_seconds", "Fetching, loading and verifying a classifier", SECONDS),
        )
        self._restarts = counter("engine_restarts", "Times that a dead engine was started again")
        self._rollbacks = counter("canary_rollbacks", "Canaries that broke a bound and were rolled back here", "alias")
        self._shadows = counter("shadow_requests", "Copies of requests for a shadow, by what became of them", "outcome")
        self._info("build", "The program", version=_program_version(), python=platform.python_version())

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Ask `read`, in the event loop, whenever the page is."""
        self._watched[name] = Gauge(f"dabt_{name}", text, registry=self.registry), read

    def serving(self, bases: Mapping[str, str]) -> None:
        """`bases` are names by digest."""
        told = Gauge("dabt_base_info", "The base model that runs here", ("base", "digest"), registry=self.registry)
        for digest, name in bases.items():
            told.labels(name, digest).set(1)

    def request(self, version: str, endpoint: Endpoint) -> RequestFigures:
        """Count an arrival. The result is told how it went."""
        self._requests.labels(self._version(version), endpoint).inc()
        self._in_flight.inc()
        return RequestFigures(version, self._ended)

    def _ended(self, figures: RequestFigures) -> None:
        self._in_flight.dec()
        version, timed = self._version(figures.version), self._timed(figures.version)
        if figures.tally is None:
            self._errors.labels(version, figures.code).inc()
            return
        self._prompt.labels(version).inc(figures.tally.prompt_tokens)
        self._completion.labels(version).inc(figures.tally.completion_tokens)
        self._e2e.labels(timed).observe(figures.seconds)
        if figures.first_token is not None:
            self._ttft.labels(timed).observe(figures.first_token)
        if figures.tally.per_token is not None:
            self._itl.labels(timed).observe(figures.tally.per_token)
        if figures.tally.queue is not None:
            self._queue.labels(timed).observe(figures.waited + figures.tally.queue)

    def answered(self, context: RequestContext, route: str, status: int) -> None:
        """Count a request's end: by route, and by key where the route is one of the OpenAI API's."""
        self._responses.labels(route, str(status)).inc()
        if not route.startswith(_OF_THE_API):
            return
        key = self._key(context.key_id)
        self._key_requests.labels(key).inc()
        if context.outcome != "ok":
            self._key_errors.labels(key, context.outcome).inc()
        if context.figures is not None and context.figures.tally is not None:
            self._key_prompt.labels(key).inc(context.figures.tally.prompt_tokens)
            self._key_completion.labels(key).inc(context.figures.tally.completion_tokens)

    def retrieving(self, version: str) -> AbstractContextManager[object]:
        """Around the search for a request's passages."""
        return self._retrieval.labels(self._timed(version)).time()

    def leasing(self) -> AbstractContextManager[object]:
        """Around a request's wait for its adapter."""
        return self._lease.time()

    def loaded(self, seconds: float) -> None:
        self._loads.inc()
        self._load_seconds.observe(seconds)

    def load_failed(self) -> None:
        self._load_failures.inc()

    def evicted(self) -> None:
        self._evictions.inc()

    def engine_restarted(self) -> None:
        self._restarts.inc()

    def canary_rolled_back(self, alias: str) -> None:
        self._rollbacks.labels(alias).inc()

    def shadowed(self, outcome: str) -> None:
        self._shadows.labels(outcome).inc()

    def look(self) -> None:
        """Bring the watched gauges up to date: before `page`, in the event loop that owns what they watch."""
        for gauge, read in self._watched.values():
            gauge.set(read())

    def gauges(self) -> dict[str, float]:
        """What `look` looks at, now, by the names that they were watched under; and `requests_in_flight`."""
        watched = {name: read() for name, (_, read) in self._watched.items()}
        return {"requests_in_flight": value_of(self._in_flight), **watched}

    def counted(self) -> dict[str, Counted]:
        """All of the series by version, as they are now. Safe in any thread."""
        return counted(
            {
                "requests": self._requests,
                "errors": self._errors,
                "prompt_tokens": self._prompt,
                "completion_tokens": self._completion,
                "first_token": self._ttft,
                "per_token": self._itl,
                "queue": self._queue,
            }
        )

    def page(self) -> bytes:
        """In Prometheus' text format. Safe in any thread: with all places taken it is a tenth of a second's work."""
        return generate_latest(self.registry)

    def _info(self, name: str, text: str, **facts: str) -> None:
        Info(f"dabt_{name}", text, registry=self.registry).info(facts)


def _program_version() -> str:
    try:
        return importlib.metadata.version("dabt")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
