"""The log of a test, as a service in production would write it, and everything as it was afterwards."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import structlog

from service.observability import logs


@dataclass
class Log:
    written: io.StringIO = field(default_factory=io.StringIO)

    def text(self) -> str:
        return self.written.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        """Each line as the object that it is; a line that is none fails the test."""
        return [json.loads(line) for line in self.text().splitlines()]

    def requests(self) -> list[dict[str, Any]]:
        """The lines of requests, those of probes left out."""
        return [line for line in self.lines() if line["event"] == "request" and line["level"] != "debug"]


@contextmanager
def logged(level: str = "debug", log_format: logs.Format = "json") -> Iterator[Log]:
    log = Log()
    root = logging.getLogger()
    handlers, root_level = root.handlers, root.level
    logging.captureWarnings(False)  # pytest has its own hook by now; taking ours twice would leave that one in place
    # An earlier test's import of vLLM gave the logger of warnings a handler of its own: that of the process it was in.
    warned = logging.getLogger("py.warnings")
    with (
        patch.object(sys, "stderr", log.written),
        patch.dict(os.environ),
        patch.multiple(warned, handlers=[], propagate=True),
    ):
        logs.configure(level, log_format)
        try:
            yield log
        finally:
            structlog.reset_defaults()
            logging.captureWarnings(False)
            root.handlers = handlers
            root.setLevel(root_level)
