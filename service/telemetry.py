"""Prometheus metrics, one series per version: requests, errors, tokens, latencies, and what is resident.

Cardinality is bounded: a request that reached no version is counted under `unknown`, and past `MAX_VERSIONS` versions
the rest share `other`. The engine's own series (prefix `vllm:`) are added to the page by the route.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.engine import Kind, Tally

if TYPE_CHECKING:
    from service.residency import Residency

MAX_VERSIONS = 1000
UNKNOWN, OTHER = "unknown", "other"

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2)


class Telemetry:
    """One per app, with its own registry of series, so that several apps can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._labels: set[str] = set()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"dabt_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"dabt_{name}", text, labels, registry=self.registry, buckets=buckets)

        per = "version"
        self._requests = counter("requests", "Requests by version and endpoint", per, "endpoint")
        self._errors = counter("request_errors", "Requests that ended in an error, by the error's code", per, "code")
        self._prompt = counter("prompt_tokens", "Prompt tokens, with system text, shots and passages", per)
        self._completion = counter("completion_tokens", "Generated tokens", per)
        self._ttft = histogram("time_to_first_token_seconds", "From arrival to the first token", _LATENCY, per)
        self._itl = histogram("inter_token_latency_seconds", "A request's mean time between tokens", _PER_TOKEN, per)
        self._e2e = histogram("request_seconds", "From arrival to the last token", _LATENCY, per)
        self._queue = histogram("queue_seconds", "Waiting inside the engine for the first step", _LATENCY, per)
        self._in_flight = Gauge("dabt_requests_in_flight", "Requests being answered now", registry=self.registry)
        self._loads = counter("adapter_loads", "Adapters loaded into the engine")
        self._load_failures = counter("adapter_load_failures", "Loads that failed, golden prompts included")
        self._evictions = counter("adapter_evictions", "Adapters unloaded to make room")
        self._load_seconds = histogram("adapter_load_seconds", "Fetching, loading and verifying", _LATENCY)
        self._restarts = counter("engine_restarts", "Times that a dead engine was started again")

    def watch(self, residency: Residency, registry_age: Callable[[], float], ready: Callable[[], bool]) -> None:
        """Read these values whenever the page is."""
        self._gauge("resident_adapters", "Adapters in the engine's memory", lambda: len(residency.residents()))
        self._gauge("adapter_leases", "Requests that hold an adapter", residency.leases)
        self._gauge("registry_age_seconds", "Since the registry was last read", registry_age)
        self._gauge("ready", "1 when /ready answers 200", lambda: float(ready()))

    def request(self, version: str, endpoint: Kind) -> Measured:
        """Count an arrival. The result is told how it went."""
        return Measured(self, self._label(version), endpoint)

    def loaded(self, seconds: float) -> None:
        self._loads.inc()
        self._load_seconds.observe(seconds)

    def load_failed(self) -> None:
        self._load_failures.inc()

    def evicted(self) -> None:
        self._evictions.inc()

    def engine_restarted(self) -> None:
        self._restarts.inc()

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(f"dabt_{name}", text, registry=self.registry).set_function(read)

    def _label(self, version: str) -> str:
        if version not in self._labels:
            if len(self._labels) >= MAX_VERSIONS:
                return OTHER
            self._labels.add(version)
        return version


class Measured:
    """One request's way into the metrics. Call `done` or `failed` once; later calls are ignored."""

    def __init__(self, telemetry: Telemetry, version: str, endpoint: Kind) -> None:
        self._to = telemetry
        self._version = version
        self._arrived = time.perf_counter()
        self._handed: float | None = None
        self._open = True
        telemetry._requests.labels(version, endpoint).inc()
        telemetry._in_flight.inc()

    def handed_to_engine(self) -> None:
        self._handed = time.perf_counter() - self._arrived

    def done(self, tally: Tally) -> None:
        if not self._close():
            return
        to, version = self._to, self._version
        to._prompt.labels(version).inc(tally.prompt_tokens)
        to._completion.labels(version).inc(tally.completion_tokens)
        to._e2e.labels(version).observe(time.perf_counter() - self._arrived)
        if tally.first_token is not None:
            to._ttft.labels(version).observe((self._handed or 0.0) + tally.first_token)
        if tally.per_token is not None:
            to._itl.labels(version).observe(tally.per_token)
        if tally.queue is not None:
            to._queue.labels(version).observe(tally.queue)

    def failed(self, code: str) -> None:
        if self._close():
            self._to._errors.labels(self._version, code).inc()

    def _close(self) -> bool:
        was_open, self._open = self._open, False
        if was_open:
            self._to._in_flight.dec()
        return was_open
