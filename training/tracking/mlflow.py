"""MLflow: an SQLite store beside the runs, or any tracking server or database that `uri` names.

A folder as the store is refused: MLflow itself reads none any more since 3.13.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from lifecycle.errors import Problem
from training.tracking.tracker import RunFacts, TrackedRun, Tracker

_URI = "MLFLOW_TRACKING_URI"
_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""A server that is gone is waited for briefly, because training waits too."""
_AT_ONCE = 100
"""Parameters in one request, by MLflow's limit."""
_LONGEST = 6000
"""Characters of a parameter, by MLflow's limit."""


class MLflow(Tracker):
    """Settings under `tracking:` beside `type: mlflow`."""

    type: Literal["mlflow"] = "mlflow"
    experiment: str = "dabt"
    uri: str | None = None
    """Of a database or a server. None takes `MLFLOW_TRACKING_URI`, or `mlflow.db` in the home."""

    package: ClassVar[str] = "mlflow"

    def problems(self) -> list[Problem]:
        scheme = re.split("[:+]", self.uri)[0] if self.uri is not None else ""
        problems = super().problems()
        if self.uri is not None and scheme not in _SCHEMES:
            cure = "write sqlite:///FILE, or the URL of a server; a folder is no store of MLflow's any more"
            problems.append(Problem("tracking.uri", f"{self.uri} names no database and no server", cure))
        if self.uri is not None and re.search(r"//[^/@]*:[^/@]*@|[?&](password|token)=", self.uri):
            fault = "it holds a password, and a run's records keep its configuration"
            problems.append(Problem("tracking.uri", fault, f"leave uri out and set {_URI} in the environment"))
        return problems

    def begin(self, run: RunFacts, known: str) -> TrackedRun:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Param

        uri = self.uri or os.environ.get(_URI) or f"sqlite:///{run.home.resolve() / 'mlflow.db'}"
        client = MlflowClient(tracking_uri=uri)
        if known:
            client.update_run(known, status="RUNNING")
            return _StoredRun(client, known)
        opened = client.create_run(
            _experiment(client, self.experiment), run_name=run.name, tags=dict(run.facts)
        ).info.run_id
        parameters = [Param(_name(key), str(value)[:_LONGEST]) for key, value in run.settings.items()]
        for start in range(0, len(parameters), _AT_ONCE):
            client.log_batch(opened, params=parameters[start : start + _AT_ONCE])
        return _StoredRun(client, opened)


class _StoredRun:
    def __init__(self, client: Any, known: str) -> None:
        self._client, self.id = client, known

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 10**6
        self._client.log_batch(self.id, [Metric(_name(name), value, now, step) for name, value in figures.items()])

    def end(self, said: Mapping[str, str | float], *, whole: bool) -> None:
        for name, value in said.items():
            if isinstance(value, str):
                self._client.set_tag(self.id, name, value)
            else:
                self._client.log_metric(self.id, _name(name), value)
        self._client.set_terminated(self.id, "FINISHED" if whole else "KILLED")


def _experiment(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another run has just made it
            experiment = client.get_experiment_by_name(name)
    return str(experiment.experiment_id)


def _name(name: str) -> str:
    """As MLflow takes one: `f1[good]` is `f1/good`, and of other signs their number, so that no two names are one."""
    name = name.replace("[", "/").replace("]", "")
    return re.sub(r"[^\w\-./ ]", lambda sign: f":{ord(sign.group()):x}", name)
