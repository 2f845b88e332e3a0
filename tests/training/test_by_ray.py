"""Ray Train launches the same run: by two workers, with the figures of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from lifecycle.errors import InvalidConfig, Problem, Unavailable
from tests.training.methods_at_work import place_of, prepare, stopping
from training import by_ray
from training.launching import Asked

HERE = Path(__file__).parents[2]


@pytest.mark.e2e
def test_two_workers_of_ray_go_on_with_a_run_that_was_stopped_and_it_is_the_run_of_one_process(
    tmp_path: Path, bases: Callable[..., Path]
) -> None:
    pytest.importorskip("ray.train", reason="the extra `ray` is not installed")
    folder = prepare(tmp_path / "place", bases())
    place, settings = place_of(folder, "lora", "alone")
    alone = place.train(**settings)
    place, settings = place_of(folder, "lora", "by-ray")
    with stopping(4):
        place.train(**settings)
    (folder / "run.yaml").write_text(yaml.safe_dump({**place.raw, **settings}), encoding="utf-8")
    command = ["dabt", "train", "run.yaml", "--launcher", "ray", "--workers", "2", "--home", str(place.home.root)]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training, on from checkpoint-3" in done.stdout + done.stderr
    assert "colours:1 is a draft (trained)" in done.stdout
    (run,) = place.home.runs.glob("*/run.json")
    assert run.parent.name == alone.folder.name
    version = place.shelf.registry.version("colours:1")
    manifest = place.shelf.registry.artifact(version.spec.artifact[1])
    assert manifest.metrics == pytest.approx(alone.record.metrics, rel=2e-4)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidConfig, match=r"--launcher: Ray is not installed → pip install 'dabt\[ray\]'"):
        by_ray.by_ray(Asked(tmp_path / "run.yaml"), 2)


def test_ray_that_does_not_start_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits 30 seconds for its own processes, and then raises a bare exception."""

    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(by_ray.os, "environ", dict(os.environ))
    with pytest.raises(Unavailable, match="Ray does not start: The current node timed out during startup"):
        by_ray._start(SimpleNamespace(init=init), 2)


class Failed(Exception):
    def __init__(self, *raised: BaseException) -> None:
        self.worker_failures = dict(enumerate(raised))


def test_what_a_worker_refuses_is_raised_at_once_and_a_lost_one_only_when_no_try_is_left() -> None:
    refused = InvalidConfig("no", [Problem("optimisation.lr", "is too high")])
    with pytest.raises(InvalidConfig, match="is too high"):
        by_ray._tell(Failed(SystemExit(1), refused), 2)
    by_ray._tell(Failed(Unavailable("another process ended")), 1)
    with pytest.raises(Unavailable, match="the same command goes on"):
        by_ray._tell(Failed(Unavailable("another process ended")), 0)
    with pytest.raises(KeyError):
        by_ray._tell(Failed(KeyError("a fault of ours")), 2)
