"""How lines are written: one a line whatever is in them, ours and the libraries' alike, in all processes."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import structlog

from lifecycle.home import Home
from service.config import ServeConfig
from service.engine.vllm.flags import set_environment
from service.observability import logs
from service.request_context import RequestContext, begun
from service.worker_process import WorkerProcess
from tests.service.logged import logged

ROOT = Path(__file__).parents[2]


def test_lines_of_libraries_and_warnings_have_the_same_form_as_ours() -> None:
    with logged("info") as log:
        structlog.get_logger().info("ours", size=3)
        logging.getLogger("uvicorn.error").warning("theirs %s", "now")
        warnings.warn("take care", stacklevel=1)
    ours, theirs, warning = log.lines()
    assert (ours["event"], ours["level"], ours["size"]) == ("ours", "info", 3)
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("theirs now", "warning", "uvicorn.error")
    assert (warning["level"], warning["logger"]) == ("warning", "py.warnings")
    assert "take care" in warning["event"]
    assert set(ours) - {"size"} == set(theirs) - {"logger"}


def test_the_worker_beside_the_service_writes_as_the_service_does(tmp_path: Path) -> None:
    for log_format in ("json", "logfmt"):
        config = ServeConfig.model_validate({"base": tmp_path, "log_format": log_format})
        command = WorkerProcess(config, Home.at(tmp_path), "http://127.0.0.1:8000")._command
        assert command[command.index("--log-format") + 1] == log_format


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
def test_an_event_is_one_line_whatever_is_in_it(log_format: logs.Format) -> None:
    with logged("info", log_format) as log:
        structlog.get_logger().info("two\nlines", name='a "b" = {c}', text="عيادة\r\nlevel=error")
        logging.getLogger("x").error("three\n\nlines")
        try:
            raise ValueError("four\nlines")
        except ValueError:
            structlog.get_logger().exception("failed")
            logging.getLogger("x").exception("failed")
    assert log.text().count("\n") == 4
    if log_format == "json":
        assert log.lines()[0]["text"] == "عيادة\r\nlevel=error"
        assert all("ValueError: four" in line["exception"] for line in log.lines()[2:])


def test_a_traceback_shows_no_local_variable() -> None:
    with logged("info") as log:
        body = "what the patient said"
        try:
            raise ValueError(len(body))
        except ValueError:
            structlog.get_logger().exception("failed")
    assert body not in log.text()


@pytest.mark.parametrize(
    ("level", "heard"), [("debug", "INFO"), ("info", "WARNING"), ("warning", "WARNING"), ("error", "ERROR")]
)
def test_libraries_are_heard_from_warnings_on(level: str, heard: str) -> None:
    assert logs.library_level(level) == heard


def test_a_request_is_named_by_the_lines_that_it_causes_and_by_no_others() -> None:
    with logged("info") as log:
        with begun({}, RequestContext("r1", key_id="key-1", version="triage:3", digest="sha256:0")):
            structlog.get_logger().info("inside")
            logging.getLogger("a.library").warning("a library, inside")
        structlog.get_logger().info("outside")
    inside, library, outside = log.lines()
    named = {"request_id": "r1", "key": "key-1", "version": "triage:3", "digest": "sha256:0"}
    assert named.items() <= inside.items()
    assert named.items() <= library.items()
    assert not named.keys() & outside.keys()


def test_vllms_own_processes_write_lines_of_the_same_form() -> None:
    """As vLLM does it: its logging is set up from the file that the environment names, in a fresh process."""
    program = """
import json, logging, logging.config, os
logging.config.dictConfig(json.load(open(os.environ["VLLM_LOGGING_CONFIG_PATH"])))
make = logging.getLogRecordFactory()
def named(*args, **kwargs):
    record = make(*args, **kwargs)
    record.vllm_process_name = "EngineCore"
    return record
logging.setLogRecordFactory(named)
logging.getLogger("vllm.v1.engine.core").warning("from the core")
logging.getLogger("vllm.v1.engine.core").info("not asked for")
"""
    (line,) = lines_of_a_vllm_process(program)
    assert (line["event"], line["logger"], line["process"]) == ("from the core", "vllm.v1.engine.core", "EngineCore")


def test_warnings_in_vllms_own_processes_are_lines_of_that_form_too() -> None:
    program = """
import json, logging.config, os, warnings
logging.config.dictConfig(json.load(open(os.environ["VLLM_LOGGING_CONFIG_PATH"])))
warnings.warn("out of date", FutureWarning)
"""
    (line,) = lines_of_a_vllm_process(program)
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "FutureWarning: out of date" in line["event"]


def lines_of_a_vllm_process(program: str) -> list[dict[str, Any]]:
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "VLLM_LOGGING_CONFIG_PATH": str(logs.VLLM_LOGGING),
        "VLLM_LOGGING_LEVEL": "WARNING",
        logs.FORMAT_VARIABLE: "json",
    }
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_our_format_is_what_vllm_is_told_and_an_operators_own_wins() -> None:
    config = ServeConfig(base=Path("/m"), log_level="debug", otlp_endpoint="http://127.0.0.1:4318")
    with patch.dict(os.environ, {"VLLM_LOGGING_LEVEL": "ERROR"}):
        os.environ.pop("VLLM_LOGGING_CONFIG_PATH", None)
        set_environment(config)
        assert os.environ["VLLM_LOGGING_CONFIG_PATH"] == str(logs.VLLM_LOGGING)
        assert os.environ["VLLM_LOGGING_LEVEL"] == "ERROR"
        assert os.environ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"
