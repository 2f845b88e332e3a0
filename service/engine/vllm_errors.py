"""The border to vLLM's errors: those it raises, and those it puts into an answer or a stream, become ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from lifecycle.errors import (
    DabtError,
    EngineDead,
    InvalidInput,
    NotFound,
    Overloaded,
    Problem,
    PromptTooLong,
    Unavailable,
)

_INVALID = "The request is not valid:"


_TOO_LONG = ("input_tokens", "input_text")
"""What vLLM names as the wrong parameter when a prompt is over the limit."""


@contextmanager
def border(is_dead: Callable[[], bool], prompt_field: str = "prompt") -> Iterator[None]:
    """Around every call into vLLM. `is_dead` tells whether its engine has stopped; `prompt_field` is where the request
    has its prompt.
    """
    from jinja2 import TemplateError
    from pydantic import ValidationError
    from vllm.exceptions import GracefulHTTPError, VLLMClientError, VLLMNotFoundError, VLLMValidationError

    try:
        yield
    except DabtError:
        raise
    except ValidationError as error:
        raise InvalidInput(_INVALID, _problems(error)) from error
    except VLLMNotFoundError as error:
        raise NotFound(str(error)) from error
    except VLLMValidationError as error:
        if error.parameter in _TOO_LONG:
            raise PromptTooLong(_INVALID, [Problem(prompt_field, str(error.args[0]))]) from error
        problems = [Problem(error.parameter, str(error.args[0]))] if error.parameter else []
        raise InvalidInput(_INVALID if problems else str(error), problems) from error
    except (VLLMClientError, ValueError, TypeError, OverflowError, NotImplementedError, TemplateError) as error:
        # vLLM checks much of a request with plain ValueErrors; its own server answers 400 to all of these.
        raise InvalidInput(str(error)) from error
    except GracefulHTTPError as error:
        raise Overloaded(str(error), retry_after=1.0) from error
    except Exception as error:
        if is_dead():
            raise EngineDead("the engine stopped while it answered") from error
        raise Unavailable(f"the engine failed on this request: {last_line(error)}") from error


def raise_reported(error: dict[str, Any], *, dead: bool) -> NoReturn:
    """Ours for an error that vLLM reported as an object {message, code, param} instead of raising it."""
    message, status, param = str(error.get("message")), error.get("code"), error.get("param")
    if dead:
        raise EngineDead("the engine stopped while it answered")
    if status == 404:
        raise NotFound(message)
    if status in (400, 422, 501):
        raise InvalidInput(_INVALID, [Problem(param, message)]) if param else InvalidInput(message)
    if status == 503:
        raise Overloaded(message, retry_after=1.0)
    raise Unavailable(f"the engine failed on this request: {message}")


def last_line(error: BaseException) -> str:
    """The part of a worker's message that says what happened."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = lines[-1].strip() if lines else type(error).__name__
    return text.removesuffix(", please check the stack trace above for the root cause")


def _problems(error: Any) -> list[Problem]:
    """One problem per place: pydantic reports every member of a union that did not fit."""
    found: dict[str, Problem] = {}
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        # The names of a union's members are no keys of the request.
        path = [str(part) for part in one["loc"] if not isinstance(part, str) or part.isidentifier()]
        place = ".".join(path) or "body"
        found.setdefault(place, Problem(place, one["msg"]))
    return list(found.values())
