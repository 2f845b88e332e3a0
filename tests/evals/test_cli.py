"""`dabt eval` against a real HTTP server in another thread, as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from evals.cli import eval_
from lifecycle.home import Home
from lifecycle.registry import Registry

ROOT = Path(__file__).parents[2]
app = typer.Typer()
app.command("eval")(eval_)


@pytest.fixture
def server(models) -> Iterator[str]:
    """The fake models on a real port."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            request = httpx.Request(
                self.command, f"http://test{self.path}", content=content, headers=dict(self.headers)
            )
            with lock:
                response = models._handle(request)
            self.send_response(response.status_code)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.content)

        do_GET = do_POST = _answer  # noqa: N815  # names that the base class looks for

        def log_message(self, *_: object) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def arguments(workplace: Path, server: str, home: Home) -> list[str]:
    return [str(workplace / "toy.yaml"), "--endpoint", server, "--home", str(home.root)]


@pytest.fixture
def urls(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DABT_REGISTRY_URL", home.registry_url)
    monkeypatch.setenv("DABT_ARTIFACTS_URL", home.artifacts_url)


@pytest.mark.e2e
def test_the_command_prints_the_table_the_advice_and_where_the_report_is(
    workplace, trained, server, home, urls, registry: Registry
) -> None:
    result = CliRunner().invoke(app, arguments(workplace, server, home), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Ship adapter (toy:1)" in result.output
    path = Path(result.output.split("report: ")[1].strip())
    assert path.is_file()
    assert registry.verdicts("toy:1")[0].passed


@pytest.mark.e2e
def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(
    workplace, trained, server, home, urls, models
) -> None:
    # A process that a shell started in the background is deaf to Ctrl-C, and so are those that it starts.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", hears + "import typer; from evals.cli import eval_; typer.run(eval_)"]
    command += arguments(workplace, server, home)
    reached, signalled = threading.Event(), threading.Event()

    def count(models, version, question):
        if sum(models.answered.values()) >= 50:
            reached.set()
            signalled.wait(60)  # so that the signal comes before the last answer, however busy the machine is

    models.before = count
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert reached.wait(120)
    process.send_signal(signal.SIGINT)
    signalled.set()
    assert process.wait(60) != 0
    finished = {
        line for file in (home.cache / "answers").iterdir() for line in file.read_text("utf-8").splitlines() if line
    }
    assert finished
    before = sum(models.answered.values())
    models.before = lambda *_: None
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    total = 4 * 40 + 8
    assert sum(models.answered.values()) - before == total - len(finished)


def test_help_shows_an_example_and_imports_nothing_heavy() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert "dabt eval examples/clinic/evals/triage.yaml" in " ".join(result.output.split())
    heavy = ("lm_eval", "scipy", "numpy", "datasets", "torch", "jinja2", "rich.table")
    code = f"import evals.cli, sys; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_evaluation_imports_neither_torch_nor_the_rooms_next_door() -> None:
    code = (
        "import sys; import evals.run, evals.report.table, evals.tasks.lmeval.task; "
        "print([m for m in ('torch', 'vllm', 'service', 'training') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.e2e
def test_suites_of_harm_are_asked_one_after_another_of_the_same_arms(
    server, models, trained, base_model, home, urls
) -> None:
    models.speaks.update(base=lambda _: "Gladly.", adapter=lambda _: "I cannot help with that.")
    given = ["--endpoint", server, "--home", str(home.root), "--base", str(base_model)]
    asked = ["--suites", "safety/toxicity,safety/refusal", "--arms", f"base,{trained}", *given]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "safety/toxicity: 30 items" in done.output
    assert "safety/refusal: 80 items" in done.output
    assert "Failures, and the most that they may be" in done.output
