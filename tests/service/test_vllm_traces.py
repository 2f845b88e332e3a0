"""How the trace goes on in vLLM: by the one way in which its handlers take it."""

from __future__ import annotations

from service.engine.interface import Call
from service.engine.vllm.submission import traced

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_traced_call_reaches_vllms_handlers_with_its_context_and_nothing_else() -> None:
    request = traced(Call("chat", {}, "triage", None, "r1", {"traceparent": PARENT}))
    assert dict(request.headers) == {"traceparent": PARENT}
    assert request.headers.get("x-request-id") is None, "vLLM would take it for the engine's id"
    request.state.request_metadata = "vLLM leaves its notes here"


def test_a_call_that_nobody_traces_has_no_request() -> None:
    assert traced(Call("chat", {}, "triage", None, "r1")) is None
