"""The log on standard error: one line an event, `key=value` pairs or a JSON object, ours and the libraries' alike.

Lines that a request causes name it: its id, key, version and digest, from `request_context.py`. What was asked and
answered is in no line unless `--log-bodies` is given; no header is in any, and no API key. `access_log.py` writes the
line of each request.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from lifecycle.log_lines import FORMAT_VARIABLE, Format, known, renderer, told
from service.request_context import current

VLLM_LOGGING = Path(__file__).with_name("vllm_logging.json")
"""A `logging.config.dictConfig` that gives vLLM's loggers the handler below, in each of its processes."""


def configure(level: str, log_format: Format) -> None:
    """For the life of the process. Libraries are heard from warnings on, unless everything is (`debug`)."""
    structlog.configure(
        processors=[*_known(), renderer(log_format)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=cast(TextIO, _Lossy(sys.stderr))),
    )
    os.environ[FORMAT_VARIABLE] = log_format
    root = logging.getLogger()
    root.handlers = [handler()]
    root.setLevel(library_level(level))
    logging.captureWarnings(True)


def library_level(level: str) -> str:
    return "INFO" if level == "debug" else max("WARNING", level.upper(), key=logging.getLevelNamesMapping().__getitem__)


def handler(level: str = "NOTSET") -> logging.Handler:
    """Writes the lines of libraries as ours are written."""
    log_format = told()
    made = _Stderr()
    made.setLevel(level)
    made.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, _name_process, *_known()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer(log_format)],
        )
    )
    return made


def vllm_handler() -> logging.Handler:
    """Named in `vllm_logging.json`: vLLM makes it in each of its processes."""
    logging.captureWarnings(True)  # for the logger py.warnings, which that file gives this handler too
    return handler(os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"))


class _Lossy:
    """A full disk behind the log costs the line, and not the request that wrote it; `logging` does the same."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()


class _Stderr(logging.StreamHandler[TextIO]):
    """Standard error as it is at each line: what replaces it later (a test's capture) is obeyed."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _known() -> Sequence[Processor]:
    return (
        _name_request,
        *known(),
    )


def _name_request(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    context = current()
    if context is not None:
        facts = {
            "request_id": context.id,
            "trace_id": context.trace_id,
            "key": context.key_id,
            "version": context.version,
            "digest": context.digest,
        }
        for name, value in facts.items():
            if value:
                event.setdefault(name, value)
    return event


def _name_process(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Which of vLLM's processes speaks, when it is not this one."""
    name = getattr(event.get("_record"), "vllm_process_name", "MainProcess")
    if name != "MainProcess":
        event["process"] = name
    return event
