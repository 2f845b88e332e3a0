"""The border where our errors become HTTP: one table, and its sibling that renders the same error inside a stream.

The bodies have the OpenAI shape: {"error": {"message", "type", "param", "code"}}. Nothing else in the service
knows a status code.
"""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import Response

from lifecycle.errors import (
    AdapterRefused,
    AdapterUnloadable,
    AliasMoved,
    ArtifactRefused,
    Conflict,
    Corrupt,
    DabtError,
    EngineDead,
    EngineFault,
    Forbidden,
    InvalidConfig,
    InvalidData,
    InvalidInput,
    JobRefused,
    LeaseLost,
    LimitReached,
    ModelNotFound,
    NoRoom,
    NotAllowed,
    NotFound,
    NotKept,
    Overloaded,
    PromptTooLong,
    QuotaSpent,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
    Unreadable,
    WrongHost,
)

STATUS: dict[type[DabtError], tuple[int, str]] = {
    DabtError: (500, "server_error"),
    InvalidInput: (400, "invalid_request_error"),
    InvalidConfig: (400, "invalid_request_error"),
    InvalidData: (400, "invalid_request_error"),
    ArtifactRefused: (400, "invalid_request_error"),
    AdapterRefused: (400, "invalid_request_error"),
    TooLarge: (413, "invalid_request_error"),
    TooSlow: (408, "invalid_request_error"),
    PromptTooLong: (400, "invalid_request_error"),
    JobRefused: (400, "invalid_request_error"),
    NotKept: (400, "invalid_request_error"),
    NotFound: (404, "not_found_error"),
    ModelNotFound: (404, "invalid_request_error"),
    NotAllowed: (403, "permission_error"),
    Unauthorized: (401, "authentication_error"),
    Forbidden: (403, "permission_error"),
    WrongHost: (421, "invalid_request_error"),
    LimitReached: (429, "rate_limit_error"),
    QuotaSpent: (429, "insufficient_quota"),
    Conflict: (409, "conflict_error"),
    LeaseLost: (409, "conflict_error"),
    AliasMoved: (409, "conflict_error"),
    Corrupt: (500, "server_error"),
    NoRoom: (500, "server_error"),
    EngineFault: (500, "server_error"),
    Unreadable: (503, "service_unavailable_error"),
    Unavailable: (503, "service_unavailable_error"),
    AdapterUnloadable: (503, "service_unavailable_error"),
    EngineDead: (503, "service_unavailable_error"),
    Overloaded: (503, "service_unavailable_error"),
}
"""Every class of the tree, without inheritance: a new error must be placed here on purpose (a test holds this)."""
MOST_TOLD = 20
"""Problems in one message. Whoever sent a list of a million faults needs no list of a million."""
_LONGEST_PROBLEM = 600
_LONGEST_MESSAGE = 8000
"""Characters: a caller's own text may be quoted in a message, and is as long as he likes."""


def status_of(error: DabtError) -> int:
    return STATUS[type(error)][0]


def body_of(error: DabtError) -> dict[str, Any]:
    """The JSON object that tells a client of `error`. `param` is the place of its first problem."""
    param = error.problems[0].place if isinstance(error, InvalidInput) and error.problems else None
    if isinstance(error, NotAllowed | AdapterUnloadable | Unreadable):
        param = "model"
    if isinstance(error, NotFound):
        param = error.place
    _, kind = STATUS[type(error)]
    param = None if param is None else _cut(param, _LONGEST_PROBLEM)
    return {"error": {"message": _message(error), "type": kind, "param": param, "code": error.code}}


def response(error: DabtError, headers: dict[str, str] | None = None) -> Response:
    headers = dict(headers or {})
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, QuotaSpent | Unreadable | AliasMoved):
        # The OpenAI clients would try again: for a whole day, until the service is upgraded, or without looking.
        headers["x-should-retry"] = "false"
    if isinstance(error, TooLarge | TooSlow):
        headers["Connection"] = "close"  # or the rest of the body would be received, and for ever if it has no end
    if isinstance(error, Unavailable | LimitReached):
        # Whole seconds, and never 0: clients that obey it must not come back at once.
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after if error.retry_after is not None else 1)))
    return Response(_dump(error), status_of(error), headers, media_type="application/json")


def stream_event(error: DabtError) -> str:
    """The same error as one server-sent event, for a stream whose status has already been sent."""
    return f"data: {_dump(error)}\n\n"


def whole_stream(error: DabtError) -> str:
    """All of a stream that fails before its first event."""
    return f"{stream_event(error)}data: [DONE]\n\n"


def unexpected() -> DabtError:
    """What a caller is told of a fault of ours; the log has the rest."""
    return DabtError("the service failed on this request; its log has the details")


def _message(error: DabtError) -> str:
    if not isinstance(error, InvalidInput):
        return _cut(str(error), _LONGEST_MESSAGE)
    told = [f"  {_cut(str(problem), _LONGEST_PROBLEM)}" for problem in error.problems[:MOST_TOLD]]
    more = len(error.problems) - len(told)
    lines = [_cut(error.summary, _LONGEST_MESSAGE), *told, *([f"  and {more} more"] if more else [])]
    return "\n".join(lines)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _dump(error: DabtError) -> str:
    return json.dumps(body_of(error), ensure_ascii=False)
