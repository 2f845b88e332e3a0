"""Traces by OpenTelemetry, sent to a collector over OTLP. Imported only when `--otlp-endpoint` is given.

Sampling, batching, headers and resource attributes follow OpenTelemetry's own environment variables. Read `spans.py`
for what the rest of the service uses, `access_log.py` for the request's own span.
"""

from __future__ import annotations

import importlib.metadata
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from lifecycle.errors import DabtError
from service.config import TraceProtocol
from service.observability.tracer import Attributes

_CLOSE_SECONDS = 3.0
"""For the last batch at the end; a collector that does not answer must not hold up the process."""
_W3C = TraceContextTextMapPropagator()


class OtelTracer:
    """Implements `service.observability.tracer.Tracer`. It has a provider of its own, so several may exist."""

    def __init__(self, endpoint: str, protocol: TraceProtocol) -> None:
        """`endpoint` is where the collector takes traces: http://127.0.0.1:4318/v1/traces, or no path for gRPC."""
        known = {"service.version": importlib.metadata.version("dabt")}
        if "OTEL_SERVICE_NAME" not in os.environ:
            known["service.name"] = "dabt"
        self._provider = TracerProvider(resource=Resource.create(known), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(endpoint, protocol)))
        self._tracer = self._provider.get_tracer("dabt")

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[OtelSpan]:
        """A request's own span, which goes on with the caller's trace where the headers name one."""
        with self._inside(self._start(name, {}, SpanKind.SERVER, _W3C.extract(headers))) as made:
            yield made

    @contextmanager
    def span(self, name: str, attributes: Attributes) -> Iterator[OtelSpan]:
        with self._inside(self.begin(name, attributes)) as made:
            yield made

    @contextmanager
    def under(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Spans made inside go on with the trace of whoever sent these."""
        token = attach(_W3C.extract(headers))
        try:
            yield
        finally:
            detach(token)

    def begin(self, name: str, attributes: Attributes) -> OtelSpan:
        return self._start(name, attributes, SpanKind.INTERNAL)

    def close(self) -> None:
        """Send what is left, for `_CLOSE_SECONDS` at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _start(self, name: str, attributes: Attributes, kind: SpanKind, parent: Context | None = None) -> OtelSpan:
        return OtelSpan(self._tracer.start_span(name, parent, kind, attributes))

    @contextmanager
    def _inside(self, made: OtelSpan) -> Iterator[OtelSpan]:
        with trace.use_span(made.raw, record_exception=False, set_status_on_exception=False):
            try:
                yield made
            except BaseException as error:
                made.failed(error.code if isinstance(error, DabtError) else type(error).__name__)
                raise
            finally:
                made.end()


def _exporter(endpoint: str, protocol: TraceProtocol) -> SpanExporter:
    """Only the protocol that is spoken is imported."""
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

        return OverGrpc(endpoint=endpoint)  # encrypted unless its scheme is http
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

    return OverHttp(endpoint=endpoint)


class OtelSpan:
    """Implements `service.observability.tracer.Span`."""

    def __init__(self, raw: trace.Span) -> None:
        self.raw = raw
        self._began = time.time_ns()

    @property
    def trace_id(self) -> str:
        """Empty when OpenTelemetry was switched off by its own variable (OTEL_SDK_DISABLED)."""
        context = self.raw.get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else ""

    def rename(self, name: str) -> None:
        self.raw.update_name(name)

    def set(self, attributes: Attributes) -> None:
        self.raw.set_attributes(attributes)

    def event(self, name: str, after: float) -> None:
        self.raw.add_event(name, timestamp=self._began + int(after * 1e9))

    def failed(self, code: str) -> None:
        self.raw.set_attribute("error.type", code)
        self.raw.set_status(Status(StatusCode.ERROR, code))

    def end(self) -> None:
        self.raw.end()

    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, trace.set_span_in_context(self.raw))
        return carrier
