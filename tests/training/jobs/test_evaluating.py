"""A job's evaluation by its worker: `dabt eval` in a process of its own, with a key of its own where keys are asked."""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lifecycle.access.keys import KeyGrant
from lifecycle.home import Home
from lifecycle.jobs.nouns import Job, JobRequest, JobResult
from lifecycle.jobs.states import JobState
from lifecycle.registry import Registry
from training.jobs.evaluating import Evaluations, evaluate
from training.jobs.watching import Interrupted

pytestmark = pytest.mark.timeout(300)

JOB = Job(
    id="ftjob-0123456789",
    owner="amal",
    state=JobState.EVALUATING,
    base="sha256:" + "0" * 64,
    name="triage",
    request=JobRequest(model="tiny", training_file="file-a", seed=1, metadata={"dabt_eval": "triage"}),
    result=JobResult(version="triage:1"),
    created_at=datetime.now(UTC),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path, registry_url=f"sqlite:///{tmp_path / 'r.db'}", artifacts_url=str(tmp_path / "a"))


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A program in the place of `dabt`, of which only these lines are known."""

    def write(*lines: str) -> None:
        program = tmp_path / "program"
        program.write_text("\n".join([f"#!{sys.executable}", "import os, sys, time", *lines]))
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return write


def evaluations(tmp_path: Path) -> Evaluations:
    (tmp_path / "triage.yaml").write_text("")
    return Evaluations(tmp_path, "http://127.0.0.1:1/v1")


def test_an_evaluation_that_cannot_be_run_says_why(home: Home, command: Any, tmp_path: Path) -> None:
    command("print('the endpoint is away'); sys.exit(3)")
    with Registry.open(home.registry_url) as registry:
        told = evaluate(JOB, evaluations(tmp_path), home, registry, threading.Event())
        assert (told.name, told.ruling, told.verdict) == ("triage", "error", None)
        assert told.opens == "there is no verdict: `dabt eval` ended with 3: the endpoint is away"
        for none in (Evaluations(), Evaluations(tmp_path / "nowhere")):
            told = evaluate(JOB, none, home, registry, threading.Event())
            assert (told.ruling, "--evals FOLDER" in told.opens) == ("error", True)


def test_the_error_that_it_ends_with_is_told_whole_with_a_line_for_each_problem(
    home: Home, command: Any, tmp_path: Path
) -> None:
    command(
        "print('asking'); print('error: triage.yaml cannot run\\n  arms: none → name two', file=sys.stderr)",
        "sys.exit(1)",
    )
    with Registry.open(home.registry_url) as registry:
        told = evaluate(JOB, evaluations(tmp_path), home, registry, threading.Event())
    whole = "triage.yaml cannot run\n  arms: none → name two"
    assert told.opens == f"there is no verdict: `dabt eval` ended with 1: {whole}"


def test_it_is_asked_of_this_version_and_service_with_a_key_that_ends_with_it(
    home: Home, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DABT_API_KEY", raising=False)
    seen = tmp_path / "seen"
    command(
        f"open({str(seen)!r}, 'w').write(' '.join(sys.argv[1:]) + '|' + os.environ.get('DABT_API_KEY', ''))",
        "sys.exit(3)",
    )
    with Registry.open(home.registry_url) as registry:
        evaluate(JOB, evaluations(tmp_path), home, registry, threading.Event())
        words, _, key = seen.read_text().partition("|")
        assert words == (
            f"-m dabt eval {tmp_path}/triage.yaml --candidate triage:1 --home {tmp_path} "
            "--endpoint http://127.0.0.1:1/v1"
        )
        assert (key, registry.keys.all()) == ("", [])  # the first key would close the service for everybody else
        registry.keys.create(KeyGrant(name="amal"), actor="test")
        evaluate(JOB, evaluations(tmp_path), home, registry, threading.Event())
        own = next(each for each in registry.keys.all() if each.name.startswith("worker-"))
        assert seen.read_text().endswith(own.hint)
        assert (own.role, own.revoked_at is not None, own.expires_at is not None) == ("evaluator", True, True)
        monkeypatch.setenv("DABT_API_KEY", "given")
        evaluate(JOB, evaluations(tmp_path), home, registry, threading.Event())
        assert seen.read_text().endswith("|given")
        assert len(registry.keys.all()) == 2


def test_a_worker_that_is_to_stop_ends_it(home: Home, command: Any, tmp_path: Path) -> None:
    seen, stop = tmp_path / "seen", threading.Event()
    command(f"open({str(seen)!r}, 'w').write(str(os.getpid()))", "time.sleep(600)")
    stop.set()
    with Registry.open(home.registry_url) as registry, pytest.raises(Interrupted):
        evaluate(JOB, evaluations(tmp_path), home, registry, stop)
    if seen.exists() and (began := seen.read_text()):  # it may end before it has begun, or written who it is
        with pytest.raises(ProcessLookupError):
            os.kill(int(began), 0)
