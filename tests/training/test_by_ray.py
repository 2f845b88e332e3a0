"""Ray Train launches the same run: by two workers, of which some are lost, with the figures of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from lifecycle.errors import InvalidConfig, Problem, Unavailable
from tests.training.methods_at_work import place_of, prepare
from training import by_ray, processes
from training.launching import Asked

HERE = Path(__file__).parents[2]
REFUSED = InvalidConfig("no", [Problem("optimisation.lr", "is too high")])
LOST = Unavailable(processes.ANOTHER_ENDED)


class Gone(Exception):
    """As Ray says of a worker."""


Gone.__module__ = "ray.exceptions"


@pytest.mark.e2e
def test_a_worker_that_is_killed_costs_a_pause_and_the_run_ends_in_the_weights_of_one_that_was_not_stopped(
    tmp_path: Path, bases: Callable[..., Path]
) -> None:
    """It is killed inside the second epoch. The run has the name and the figures that it has in one process."""
    pytest.importorskip("ray.train", reason="the extra `ray` is not installed")
    folder = prepare(tmp_path / "place", bases())
    place, settings = place_of(folder, "lora", "alone")
    alone = place.train(**settings)
    place, settings = place_of(folder, "lora", "by-ray")
    whole, settings = place_of(folder, "lora", "whole")
    (folder / "run.yaml").write_text(yaml.safe_dump({**place.raw, **settings}), encoding="utf-8")
    plan = folder / "plan.json"
    plan.write_text(json.dumps({"steps": [5], "whole": str(whole.home.root)}), encoding="utf-8")
    command = ["train", "run.yaml", "--launcher", "ray", "--workers", "2", "--home", str(place.home.root)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.losing_workers", str(plan), *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE), "RAY_worker_niceness": "0"},  # which is 15, far behind other tests
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert json.loads(plan.read_text())["steps"] == []
    assert "training, on from checkpoint-4" in told
    assert "colours:1 is a draft (trained)" in done.stdout
    assert "Traceback" not in told
    folders = [each.home.runs / alone.folder.name for each in (place, whole)]
    stopped, never = (json.loads((run / "run.json").read_text()) for run in folders)
    assert stopped["artifact"] == never["artifact"]
    assert stopped["metrics"] == never["metrics"] == pytest.approx(alone.record.metrics, rel=2e-4)


def test_ray_itself_starts_lost_workers_again_so_often_and_no_more(tmp_path: Path) -> None:
    pytest.importorskip("ray.train", reason="the extra `ray` is not installed")
    how = by_ray._run_config(tmp_path)
    assert how.failure_config.max_failures == 2
    assert how.failure_config.controller_failure_limit == 2
    (not_again,) = how.callbacks
    not_again.after_exception(None, {0: Gone(), 1: LOST})
    with pytest.raises(InvalidConfig, match="is too high"):
        not_again.after_exception(None, {0: SystemExit(1), 1: REFUSED})


def test_only_what_rays_own_cleaner_says_of_a_cluster_that_ended_is_not_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray.train", reason="the extra `ray` is not installed")
    from ray.train.v2._internal.execution.controller.placement_group_cleaner import PlacementGroupCleaner

    def ends(*_: object, **__: object) -> bool:
        raise ConnectionError("the cluster is gone")

    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    by_ray.quiet_cleaner()
    monkeypatch.setattr(f"{PlacementGroupCleaner.__module__}.is_actor_alive", ends)
    cleaner = PlacementGroupCleaner("an id", check_interval_s=0, get_actor_timeout_s=0, stop_timeout=None)
    cleaner.start_monitoring()
    assert cleaner._monitor_thread is not None
    cleaner._monitor_thread.join()
    assert capsys.readouterr().err == ""
    other = threading.Thread(target=ends)
    other.start()
    other.join()
    assert "ConnectionError: the cluster is gone" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidConfig, match=r"--launcher: Ray is not installed → pip install 'dabt\[ray\]'"):
        by_ray.by_ray(Asked(tmp_path / "run.yaml"), by_ray.Group(2), print)


def test_ray_that_does_not_start_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits 30 seconds for its own processes, and then raises a bare exception."""

    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(by_ray.os, "environ", dict(os.environ))
    with pytest.raises(Unavailable, match="Ray does not start: The current node timed out during startup"):
        by_ray._start(SimpleNamespace(init=init, LoggingConfig=dict), 2)


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        ([SystemExit(1), REFUSED], REFUSED),
        ([KeyError("a fault of ours"), REFUSED], REFUSED),
        ([Gone(), LOST, SystemExit(1)], None),
        ([], None),
    ],
)
def test_what_a_worker_refuses_ends_the_run_and_a_lost_worker_does_not(
    raised: list[BaseException], reason: BaseException | None
) -> None:
    assert by_ray._not_of_loss(raised) is reason
    failed = SimpleNamespace(worker_failures=dict(enumerate(raised))) if raised else SimpleNamespace()
    assert by_ray._failure(failed) is reason or reason is None


def test_a_fault_of_ours_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError):
        raise by_ray._failure(SimpleNamespace(worker_failures={1: KeyError("a fault of ours")}))


def test_workers_that_are_lost_again_and_again_are_told_in_a_sentence_that_says_what_to_do() -> None:
    for failed in ({"worker_failures": {0: Gone(), 1: LOST}}, {"controller_failure": Gone()}):
        said = by_ray._failure(SimpleNamespace(**failed))
        assert isinstance(said, Unavailable)
        assert str(said) == (
            "workers of Ray ended 3 times in this run: they need more memory than there is, as a rule. Lower "
            "optimisation.batch_size or max_length, or give them more memory; the same command goes on from there"
        )


def test_what_was_away_to_the_end_is_told_rather_than_that_workers_ended() -> None:
    away = Unavailable("the artifact store does not answer")
    assert by_ray._not_of_loss([away]) is None  # it may be there again
    assert by_ray._failure(SimpleNamespace(worker_failures={0: LOST, 1: away})) is away


def test_what_the_controller_was_told_of_a_refusal_is_what_the_command_says() -> None:
    assert by_ray._failure(SimpleNamespace(controller_failure=REFUSED)) is REFUSED
