"""Traces, as a collector gets them: a request's steps in one tree, with figures and without a word of its text."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from lifecycle.errors import InvalidConfig
from retrieval.passage import Retrieved
from service.config import config_from
from service.observability import spans
from tests.service.cluster.rooms_here import a_fleet
from tests.service.logged import logged

pytestmark = pytest.mark.timeout(300)

SECRET = "حديث بين الطبيب ومريضه"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVALUATION = {"x-dabt-purpose": "evaluation"}
ERROR = Status.StatusCode.STATUS_CODE_ERROR


@dataclass
class Collector:
    """What an OpenTelemetry collector is to us: it takes protobuf over HTTP on loopback."""

    server: ThreadingHTTPServer
    batches: list[bytes] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def received(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(batch) for batch in self.batches]

    def spans(self) -> dict[str, Span]:
        return by_name(self.received())


def by_name(received: Sequence[ExportTraceServiceRequest], of: str = "") -> dict[str, Span]:
    """Every span, or those of one trace; a name that comes twice fails the test."""
    found = [
        span
        for request in received
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.trace_id.hex().startswith(of)
    ]
    assert len({span.name for span in found}) == len(found), [span.name for span in found]
    return {span.name: span for span in found}


@pytest.fixture
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.paths.add(self.path)
            made.batches.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return None

    made = Collector(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def told(span: Span) -> dict[str, Any]:
    """A span's attributes."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


async def test_a_request_is_one_tree_from_the_callers_own_span_down_to_the_engine(
    house: Any, start: Any, collector: Collector
) -> None:
    house.adapter("one")
    version = house.version("triage", adapter="one")  # behind no alias, so that nothing loads it ahead of the request
    headers = {"traceparent": CALLER, **EVALUATION}
    async with start(house, otlp_endpoint=collector.url) as running:
        reply = await running.chat("triage:1", "one two", max_tokens=5, temperature=0.5, headers=headers)
    assert collector.paths == {"/v1/traces"}
    found = collector.spans()
    request = found["POST /v1/chat/completions"]
    assert {span.trace_id.hex() for span in found.values()} == {CALLER.split("-")[1]}
    assert request.parent_span_id.hex() == CALLER.split("-")[2]
    assert request.kind == Span.SpanKind.SPAN_KIND_SERVER
    parents = {name: span.parent_span_id for name, span in found.items()}
    for step in ("resolve", "lease", "slot", "chat triage:1"):
        assert parents[step] == request.span_id, step
    assert parents["load"] == found["lease"].span_id
    facts = told(request)
    assert (facts["http.response.status_code"], facts["http.route"]) == (200, "/v1/chat/completions")
    assert (facts["dabt.version"], facts["dabt.digest"]) == ("triage:1", version.digest)
    assert facts["dabt.request_id"] == reply.headers["x-request-id"]
    engine = told(found["chat triage:1"])
    assert (engine["gen_ai.request.model"], engine["gen_ai.response.model"]) == ("triage:1", "triage:1")
    assert (engine["gen_ai.request.max_tokens"], engine["gen_ai.request.temperature"]) == (5, 0.5)
    usage = reply.json()["usage"]
    assert engine["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert engine["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    assert [event.name for event in found["chat triage:1"].events] == ["first token"]


async def test_what_an_engine_of_a_cluster_does_for_a_request_is_in_the_trace_of_its_gateway(
    house: Any, collector: Collector
) -> None:
    house.adapter("one")
    house.version("triage", adapter="one")
    headers = {"traceparent": CALLER, **EVALUATION}
    traced = {"otlp_endpoint": collector.url}
    async with a_fleet(house, rooms=1, **traced) as fleet, fleet.gateway(**traced) as gateway:
        for at in range(2):
            await gateway.chat("triage:1", "one two", headers=headers if at == 0 else EVALUATION)
    found = by_name(collector.received(), of=CALLER.split("-")[1])
    parents = {name: span.parent_span_id for name, span in found.items()}
    assert parents["chat triage:1"] == found["POST /v1/chat/completions"].span_id
    for step in ("lease", "slot"):
        assert parents[step] == found["chat triage:1"].span_id, step
    assert parents["load"] == found["lease"].span_id


async def test_a_stream_has_the_same_spans_and_ends_them_with_the_stream(
    house: Any, start: Any, collector: Collector
) -> None:
    with logged("info") as log:
        async with start(house, otlp_endpoint=collector.url) as running:
            await running.chat("tiny", "one two", stream=True)
    found = collector.spans()
    request, engine = found["POST /v1/chat/completions"], found["chat tiny"]
    assert engine.parent_span_id == request.span_id
    assert told(engine)["gen_ai.usage.output_tokens"] == 8
    assert request.start_time_unix_nano <= engine.start_time_unix_nano
    assert engine.end_time_unix_nano <= request.end_time_unix_nano
    (line,) = log.requests()
    assert line["trace_id"] == request.trace_id.hex(), "the log names the trace"
    assert {line["event"] for line in log.lines()} >= {"request"}
    assert not [line for line in log.lines() if line["level"] in ("warning", "error")]


async def test_retrieval_is_a_step_of_its_own(
    house: Any, start: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "passages.jsonl").write_text("{}")
    index = house.index(tmp_path / "built")
    house.prod("faq", knowledge={"index": index, "top_k": 1})

    async def search(*_: Any) -> Retrieved:
        return Retrieved.of([])

    async with start(house, otlp_endpoint=collector.url) as running:
        monkeypatch.setattr(running.app.state.parts.library, "search", search)
        await running.chat("faq")
        page = (await running.client.get("/metrics")).text
    assert told(collector.spans()["retrieve"]) == {"dabt.index": index}
    assert 'dabt_retrieval_seconds_count{version="faq:1"} 1.0' in page


async def test_the_engine_is_given_the_context_to_go_on_with(house: Any, start: Any, collector: Collector) -> None:
    async with start(house, otlp_endpoint=collector.url) as running:
        calls = []
        generate = running.engine.generate

        async def watched(call: Any) -> Any:
            calls.append(call)
            return await generate(call)

        running.engine.generate = watched
        await running.chat("tiny")
    engine = collector.spans()["chat tiny"]
    assert calls[0].trace["traceparent"].startswith(f"00-{engine.trace_id.hex()}-{engine.span_id.hex()}-")


async def test_what_fails_is_marked_with_its_code_where_it_failed(house: Any, start: Any, collector: Collector) -> None:
    digest = house.adapter("bad")
    house.version("bad", adapter="bad")
    async with start(house, otlp_endpoint=collector.url) as running:
        running.engine.faults.load_errors[str(house.store.get(digest))] = "no room"
        assert (await running.chat("bad:1", headers=EVALUATION)).status_code == 503
    found = collector.spans()
    assert "chat bad:1" not in found, "the engine was never asked"
    for step in ("load", "lease", "POST /v1/chat/completions"):
        assert found[step].status.code == ERROR, step
    assert told(found["POST /v1/chat/completions"])["error.type"] == "adapter_unloadable"
    assert found["resolve"].status.code != ERROR


async def test_a_broken_stream_is_a_failure_and_a_callers_mistake_is_none(
    house: Any, start: Any, collector: Collector
) -> None:
    async with start(house, otlp_endpoint=collector.url) as running:
        await running.client.get("/v1/models/nobody")
        running.engine.faults.break_stream_after = 2
        await running.chat("tiny", stream=True)
    found = collector.spans()
    assert found["GET /v1/models/{model:path}"].status.code != ERROR
    assert told(found["chat tiny"])["error.type"] == "engine_dead"
    assert found["POST /v1/chat/completions"].status.code == ERROR


async def test_no_text_no_credential_and_no_probe_leaves_the_house(
    house: Any, start: Any, collector: Collector
) -> None:
    house.prod("faq", prompt={"system": f"system {SECRET}"})
    async with start(house, otlp_endpoint=collector.url) as running:
        reply = await running.chat("faq", SECRET, headers={"authorization": "Bearer dabt-secret"})
        answer = reply.json()["choices"][0]["message"]["content"]
        await running.client.get("/v1/nothing", params={"q": SECRET})
    assert {"POST /v1/chat/completions", "GET none"} <= set(collector.spans())
    assert not [name for name in collector.spans() if "ready" in name]
    sent = "\n".join(str(request) for request in collector.received())
    raw = b"".join(collector.batches)
    assert "triage" not in sent
    for secret in (SECRET, answer, "dabt-secret"):
        assert secret.encode() not in raw


async def test_a_collector_that_is_away_is_no_request_s_trouble(house: Any, start: Any) -> None:
    with logged("info") as log:
        async with start(house, otlp_endpoint="http://127.0.0.1:9") as running:
            assert (await running.chat("tiny")).status_code == 200
    assert [line["outcome"] for line in log.requests()] == ["ok"]


async def test_a_collector_that_takes_grpc_gets_the_same_trace(house: Any, start: Any) -> None:
    received: list[ExportTraceServiceRequest] = []

    class Traces(TraceServiceServicer):
        def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
            received.append(request)
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(Traces(), server)
    endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    async with start(house, otlp_endpoint=endpoint, otlp_protocol="grpc") as running:
        await running.chat("tiny")
    await asyncio.to_thread(server.stop(None).wait)
    found = by_name(received)
    assert found["chat tiny"].parent_span_id == found["POST /v1/chat/completions"].span_id


def test_without_a_collector_nothing_of_opentelemetry_is_loaded() -> None:
    imported = "service.app, service.engine.vllm.flags"
    program = f"import sys, {imported}; print(any('opentelemetry' in name for name in sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False"


def test_a_step_outside_of_a_traced_request_costs_no_object() -> None:
    assert spans.span("one") is spans.span("two", {"a": 1})
    assert spans.begin("three").headers() == {}


@pytest.mark.parametrize(
    ("protocol", "url"), [("http/protobuf", "http://collector:4318/v1/traces"), ("grpc", "http://collector:4318")]
)
def test_where_traces_go_depends_on_the_protocol(protocol: str, url: str) -> None:
    config = config_from({"base": "/m", "otlp_endpoint": "http://collector:4318", "otlp_protocol": protocol})
    assert config.traces_url == url


def test_a_protocol_that_is_none_is_refused_by_its_option() -> None:
    with pytest.raises(InvalidConfig, match="--otlp-protocol"):
        config_from({"base": "/m", "otlp_protocol": "thrift"})


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "grpc://collector:4317", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidConfig, match="--otlp-endpoint"):
        config_from({"base": "/m", "otlp_endpoint": endpoint})
