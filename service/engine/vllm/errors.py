"""The border to vLLM's errors: those that it raises or reports become ours, by where and as what they were raised.

Before its engine has taken a request, an error of a known kind is the caller's. Every other is a fault of ours or of
the engine: it is logged with its traceback, and the caller is told no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import structlog

from lifecycle.errors import (
    DabtError,
    EngineDead,
    EngineFault,
    InvalidInput,
    NotFound,
    Overloaded,
    Problem,
    PromptTooLong,
    Unavailable,
)
from lifecycle.validation import problems_of
from service.engine.vllm.submission import Submission
from service.engine.vllm.words import NOTHING_LEFT, in_our_words

_INVALID = "The request is not valid:"
TOO_LONG = ("input_tokens", "input_text")
"""What vLLM names as the wrong parameter when a prompt is over the limit."""
_CHECKS_REQUESTS = (
    *("vllm.sampling_params", "vllm.v1.engine.input_processor", "vllm.v1.structured_output", "vllm.inputs"),
    *("vllm.entrypoints", "vllm.renderers", "vllm.tokenizers", "vllm.tool_parsers", "vllm.parser", "vllm.reasoning"),
)
"""Modules that raise plain ValueErrors at what is wrong with a request. From elsewhere the same class is a fault."""

log = structlog.get_logger(__name__)


@contextmanager
def border(is_dead: Callable[[], bool], submission: Submission) -> Iterator[None]:
    """Around every call into vLLM. `is_dead` tells whether its engine has stopped."""
    from vllm.exceptions import GracefulHTTPError, RetryableRequestError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    try:
        yield
    except DabtError:
        raise
    except GracefulHTTPError as error:
        raise Overloaded(str(error), retry_after=1.0) from error
    except Exception as error:
        # vLLM wraps what is raised on the way in; the kind is the cause's.
        cause = error.__cause__ if isinstance(error, EngineGenerateError) and error.__cause__ is not None else error
        if isinstance(cause, DabtError):
            raise cause from None
        refusal = None if submission.accepted else _refusal(cause, submission)
        if refusal is not None:
            raise refusal from error
        if is_dead() or isinstance(cause, EngineDeadError):
            raise EngineDead("the engine stopped while it answered") from error
        if isinstance(cause, RetryableRequestError):
            raise Unavailable("the engine could not answer this request now; try again", retry_after=1.0) from error
        raise fault(error, submission) from error


def fault(error: BaseException | str, submission: Submission) -> EngineFault:
    """What a caller is told of a fault in or around the engine; the log gets the rest."""
    request = "" if submission.call is None else submission.call.request_id
    if isinstance(error, str):
        log.error("the engine failed on a request", engine_request=request, reported=error)
    else:
        log.error("the engine failed on a request", engine_request=request, exc_info=error)
    return EngineFault("the engine failed on this request; the service's log has the details")


def raise_reported(error: dict[str, Any], submission: Submission, *, dead: bool) -> NoReturn:
    """Ours for an error that vLLM reported as an object {message, code, param} instead of raising it."""
    message, status, param = str(error.get("message")), error.get("code"), error.get("param")
    if dead:
        raise EngineDead("the engine stopped while it answered")
    if status == 503:
        raise Overloaded(message, retry_after=1.0)
    if status == 404 and not submission.accepted:
        raise NotFound(_said(message))
    if status in (400, 422, 501) and not submission.accepted:
        raise InvalidInput(_INVALID, [_problem(param, message)]) if param else InvalidInput(_said(message))
    raise fault(message, submission)


def last_line(error: BaseException) -> str:
    """The part of a worker's message that says what happened."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = lines[-1].strip() if lines else type(error).__name__
    return text.removesuffix(", please check the stack trace above for the root cause")


def _refusal(error: BaseException, submission: Submission) -> DabtError | None:
    """What the caller did wrong, when `error` is vLLM's word for that."""
    from vllm.exceptions import VLLMClientError, VLLMNotFoundError, VLLMValidationError

    if isinstance(error, VLLMNotFoundError):
        return NotFound(_said(str(error)))
    if isinstance(error, VLLMValidationError) and error.parameter in TOO_LONG:
        return PromptTooLong(_INVALID, [Problem(submission.prompt_field, _said(str(error.args[0])))])
    problems = _problems(error, submission)
    if problems:
        return InvalidInput(_INVALID, problems)
    return InvalidInput(_said(str(error))) if isinstance(error, VLLMClientError) or _is_check(error) else None


def _problems(error: BaseException, submission: Submission) -> list[Problem]:
    """Those with a place; none when `error` names no place."""
    from jinja2 import TemplateError
    from pydantic import ValidationError
    from vllm.exceptions import VLLMValidationError

    if (template := _template_error(error)) is not None:
        # A template's own refusal is a plain TemplateError; of its other errors the words are about its code.
        said = f": {template}" if type(template) is TemplateError else ""
        return [Problem(submission.prompt_field, f"the base's chat template does not take these messages{said}")]
    if isinstance(error, ValidationError):
        return [replace(problem, fault=_said(problem.fault)) for problem in problems_of(error, submission.body)]
    if isinstance(error, VLLMValidationError) and (place := error.parameter or _named(error, submission.body)):
        return [_problem(place, str(error.args[0]))]
    return []


def _named(error: BaseException, body: Mapping[str, Any]) -> str:
    """The field that vLLM's words begin with, as most of them do: "n must be 1 when using greedy sampling"."""
    first = str(error.args[0]).partition(" ")[0].strip("`'") if error.args else ""
    return first if first in body else ""


def _template_error(error: BaseException) -> BaseException | None:
    """What the chat template raised, when that is behind `error`."""
    from jinja2 import TemplateError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TemplateError):
        cause = cause.__cause__
    return cause


def _problem(place: str, message: str) -> Problem:
    return Problem(place, _said(message))


def _said(message: str) -> str:
    return in_our_words(message) or NOTHING_LEFT


def _is_check(error: BaseException) -> bool:
    return type(error) in (ValueError, NotImplementedError) and _raised_in(error).startswith(_CHECKS_REQUESTS)


def _raised_in(error: BaseException) -> str:
    """The module whose code raised `error`."""
    trace, module = error.__traceback__, ""
    while trace is not None:
        module, trace = trace.tb_frame.f_globals.get("__name__", ""), trace.tb_next
    return module
