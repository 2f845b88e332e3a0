"""Where one call stands on its way into vLLM: what was raised before its engine took it may be the caller's fault.

vLLM's handlers pass nothing of ours on, so the task of the request holds it for as long as they work.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

from lifecycle.errors import InvalidInput, Problem
from service.engine.interface import Call, count_prompts


@dataclass(slots=True)
class Submission:
    """One call. `call` is None for what nobody sent: the service's own."""

    call: Call | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    """What was asked, as the engine was given it."""
    accepted: bool = False
    """vLLM has checked the request and its engine works on it: whatever fails from now on is no fault of the caller."""

    @property
    def prompt_field(self) -> str:
        chat = self.call is not None and self.call.kind == "chat"
        return "messages" if chat or "messages" in self.body else "prompt"


_current: ContextVar[Submission] = ContextVar("submission")


def begin(call: Call | None = None, body: Mapping[str, Any] | None = None) -> Submission:
    """The submission that vLLM's handlers work on in this task from now on."""
    submission = Submission(call, body or ({} if call is None else call.body))
    _current.set(submission)
    return submission


def public_name(lora_request: Any = None) -> str:
    """What this task's caller calls the model: vLLM knows an adapter only by its internal name."""
    call = _current.get().call
    return "" if call is None else call.model


def check_size(body: Mapping[str, Any], most: int) -> None:
    """Raises `InvalidInput` when the request alone is more than the engine's queue takes: it would never have room."""
    n = body.get("n")
    answers = count_prompts(body.get("prompt")) * (n if isinstance(n, int) else 1)
    if answers > most:
        fault = f"asks for {answers} answers at once; the engine takes {most}"
        raise InvalidInput("The request is not valid:", [Problem("n", fault, "send several requests")])


def request_names(call: Call) -> list[str]:
    """What vLLM's handlers call its requests for one call."""
    if call.kind == "chat":
        return [f"chatcmpl-{call.request_id}"]
    if call.kind == "likelihood":
        return [f"likelihood-{call.request_id}-{at}" for at in range(len(call.body["continuations"]))]
    return [f"cmpl-{call.request_id}-{at}" for at in range(count_prompts(call.body.get("prompt")))]


def traced(call: Call) -> Any:
    """Nothing but the trace context, in the only form in which vLLM's handlers take it: an HTTP request's headers."""
    from starlette.requests import Request

    if not call.trace:
        return None
    headers = [(name.encode(), value.encode()) for name, value in call.trace.items()]
    return Request({"type": "http", "headers": headers})


def follow(llm: Any, check: Callable[[Submission, Any], Awaitable[None]]) -> None:
    """Have every request of `llm` (an `AsyncLLM`) pass `check`, with its sampling parameters, and be marked when taken.

    It is the one door behind all of vLLM's handlers, whatever field a constraint came in by, and it is passed once a
    request and not once a token.
    """
    take = llm.add_request

    async def add_request(request_id: str, prompt: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
        submission = _current.get()
        await check(submission, params)
        outputs = await take(request_id, prompt, params, *args, **kwargs)
        submission.accepted = True
        return outputs

    llm.add_request = add_request


def raise_what_streams_report(handler: Any) -> None:
    """Have a stream of `handler` raise what it would write into itself as an error, so that it has kind and traceback.

    What is the caller's is then no error of the log's, and what is ours is logged by the border.
    """
    handler.create_streaming_error_response = _again
    handler._convert_generation_error_to_streaming_response = _again
    logging.getLogger(type(handler).__module__).addFilter(lambda record: not record.exc_info)


def _again(error: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise error if isinstance(error, BaseException) else RuntimeError(str(error))
