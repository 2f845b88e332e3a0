"""A line of the log, of the service and of the worker: `key=value` pairs or a JSON object, without an API key."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Literal

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from lifecycle.access.keys import SECRET

Format = Literal["logfmt", "json"]
FORMAT_VARIABLE = "DABT_LOG_FORMAT"
"""Tells processes the format that begin with an environment and no configuration of ours: vLLM's, and workers."""


def configure(log_format: Format) -> None:
    """Our own lines, on standard error, for the life of the process and of those that it starts."""
    os.environ[FORMAT_VARIABLE] = log_format
    structlog.configure(
        processors=[*known(), renderer(log_format)],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


def told() -> Format:
    """What the environment says."""
    return "json" if os.environ.get(FORMAT_VARIABLE) == "json" else "logfmt"


def known() -> Sequence[Processor]:
    return (
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        # As text: structured tracebacks hold local variables, and with them what was asked.
        structlog.processors.format_exc_info,
        _hide_keys,
    )


def renderer(log_format: Format) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    return structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)


def _hide_keys(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """No line is meant to hold an API key; this is for one that came in a place where nobody looks for it."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = SECRET.sub("dabt-…", value)
    return event
