"""The worker's command: its lines are as it is told, by its option or by the service that starts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from lifecycle.errors import DabtError, InvalidConfig, Problem
from training import by_ray
from training.jobs import by_devices
from training.jobs.cli import worker


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_the_lines_of_a_worker_follow_its_log_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for log_format in ("json", "logfmt"):
        with pytest.raises(DabtError):
            worker(base=str(tmp_path / "none"), home=tmp_path, log_format=log_format)
        structlog.get_logger().info("job taken", job="ftjob-1", said="dabt-" + "k" * 43)
    first, second = capsys.readouterr().err.splitlines()
    line = json.loads(first)
    assert (line["event"], line["level"], line["job"], line["said"]) == ("job taken", "info", "ftjob-1", "dabt-…")
    assert 'event="job taken"' in second


def test_devices_that_the_cluster_does_not_have_are_refused_by_hand_and_waited_for_by_a_services_own_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(group: by_ray.Group) -> None:
        raise InvalidConfig("the cluster is too small", [Problem(group.option, f"has no {dict(group.each)}")])

    monkeypatch.setattr(by_devices, "require_devices", none)
    options = {"base": [str(tmp_path / "none")], "home": tmp_path}
    with pytest.raises(InvalidConfig, match=r"--devices: has no \{'GPU': 1\.0\}"):
        worker(**options, each='{"GPU": 1}')
    with pytest.raises(DabtError, match="none"):
        worker(**options, devices=2, leave_with=1)
