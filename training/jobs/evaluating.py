"""The evaluation that a job asks for: `dabt eval` of its model, by the service that serves it, and what came of it.

It is a process of its own, since the worker knows nothing of evaluations. Answers that it has are kept, so that another
worker goes on with it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lifecycle.access.keys import KeyGrant, Role
from lifecycle.home import Home
from lifecycle.jobs.nouns import Job, JobEvaluation, evaluation_file
from lifecycle.registry import Registry
from lifecycle.standing import opens
from training.jobs.watching import Interrupted

ENDPOINT = "http://127.0.0.1:8000/v1"
_LOOK = 0.5
"""Seconds between two looks at whether it is over."""
_LONGEST = 1000
"""Characters of an error that are kept."""
_KEY_DAYS = 2
"""After which a key that a killed worker has left opens nothing."""


@dataclass(frozen=True)
class Evaluations:
    """Where they lie, and which service answers them."""

    folder: Path | None = None
    """`NAME.yaml` of each; None where there are none."""
    endpoint: str = ENDPOINT


def evaluate(
    job: Job, evaluations: Evaluations, home: Home, registry: Registry, stop: threading.Event
) -> JobEvaluation:
    """Of the job's version. What cannot be evaluated has no verdict, and says why. Raises `Interrupted`."""
    name, ref = job.evaluation, job.result.version
    file = evaluation_file(evaluations.folder, name) if evaluations.folder is not None else None
    if file is None or not file.is_file():
        return _none(name, "its worker has no such evaluation; start it with `--evals FOLDER`")
    command = [sys.executable, "-m", "dabt", "eval", str(file), "--candidate", ref, "--home", str(home.root)]
    with _key(registry) as key:
        places = {"DABT_REGISTRY_URL": home.registry_url, "DABT_ARTIFACTS_URL": home.artifacts_url, **key}
        log = home.root / "jobs" / job.id / "evaluation.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, "--endpoint", evaluations.endpoint],
                env={**os.environ, **places, "PYTHONUNBUFFERED": "1"},  # its error is the last thing in the log
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            _wait(process, job, stop)
    verdicts = registry.verdicts(ref) if process.returncode == 0 else []
    if not verdicts:
        said = _last_words(log.read_text(encoding="utf-8", errors="replace"))
        return _none(name, f"`dabt eval` ended with {process.returncode}: {said}")
    verdict = verdicts[0]
    suite = registry.report(verdict.evaluation_digest).suite
    told = opens(registry.gate(job.name), verdict, verdicts, suite)
    return JobEvaluation(name=name, ruling=verdict.ruling.value, verdict=verdict.digest, opens=told)


def _last_words(log: str) -> str:
    """The error that a command ended with, with a line for each of its problems; without one its last lines."""
    _, error, told = f"\n{log.strip()}".rpartition("\nerror: ")
    if error:
        return told[:_LONGEST]
    return " ".join(log.strip().splitlines()[-3:])[-_LONGEST:]


def _wait(process: subprocess.Popen[bytes], job: Job, stop: threading.Event) -> None:
    while process.poll() is None:
        if stop.wait(_LOOK):
            process.terminate()
            process.wait()
            raise Interrupted(f"{job.id} is to stop")


@contextmanager
def _key(registry: Registry) -> Iterator[dict[str, str]]:
    """What opens the service for the evaluation: the worker's own DABT_API_KEY, or a key for this one alone."""
    if os.environ.get("DABT_API_KEY") or not registry.keys.all():
        yield {}
        return
    expires = datetime.now(UTC) + timedelta(days=_KEY_DAYS)
    grant = KeyGrant(name=f"worker-{secrets.token_hex(6)}", role=Role.EVALUATOR, expires_at=expires)
    key, secret = registry.keys.create(grant, actor="worker")
    try:
        yield {"DABT_API_KEY": secret}
    finally:
        registry.keys.revoke(key.id, actor="worker", reason="its evaluation is over")


def _none(name: str, why: str) -> JobEvaluation:
    return JobEvaluation(name=name, ruling="error", opens=f"there is no verdict: {why}")
