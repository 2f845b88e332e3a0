"""Ray Train as one more launcher: the run that `launching.here` makes in one process, by workers of a Ray cluster.

Ray starts the workers and tells each its place, as torchrun does; everything else is `processes.py`. Without an
address (`RAY_ADDRESS`) the cluster is this machine, for as long as the command runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.errors import DabtError, InvalidConfig, Problem, Unavailable
from training.launching import Asked

if TYPE_CHECKING:
    from training.run import TrainResult

_TRIES = 3
"""Each goes on from the last checkpoint. A worker that ends again and again has a reason of its own."""
_OBJECTS = 128 * 2**20
"""Bytes for what workers give each other through Ray, which is next to nothing."""
_PATIENCE_S = 3600
"""For workers to start, which is a minute by Ray's own measure: a busy machine takes longer to import PyTorch."""
_TOLD = ("DABT_", "HF_", "TOKENIZERS_", "MLFLOW_", "WANDB_")
"""Beginnings of the variables that workers elsewhere are told too."""


def by_ray(asked: Asked, workers: int) -> TrainResult:
    """Train by so many workers, on GPUs where the cluster has them and `DABT_DEVICE` is not `cpu`.

    A run whose worker is lost goes on by itself. The home and what the configuration names must lie where all workers
    see them. Raises `InvalidConfig` where Ray is not installed, `Unavailable` where it does not start, and what `here`
    raises.
    """
    try:
        import ray
        from ray.train import TrainingFailedError
    except ImportError as error:
        problem = Problem("--launcher", "Ray is not installed", "pip install 'dabt[ray]'")
        raise InvalidConfig("the run cannot be launched", [problem]) from error
    from lifecycle.home import Home

    asked = asked.anywhere()
    home = Home.at(asked.home)
    asked.job(home)  # what is wrong with it is said before anything is started
    try:
        _start(ray, workers)
        for left in reversed(range(_TRIES)):
            try:
                return _result(_trainer(asked, workers, home.root).fit().return_value, home)
            except TrainingFailedError as error:
                _tell(error, left)
        raise AssertionError
    finally:
        ray.shutdown()


def _start(ray: Any, workers: int) -> None:
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(_PATIENCE_S))
    variables = {name: value for name, value in os.environ.items() if name.startswith(_TOLD)}
    settings: dict[str, Any] = {"runtime_env": {"env_vars": variables}, "ignore_reinit_error": True}
    if not os.environ.get("RAY_ADDRESS"):
        cores = max(workers, len(os.sched_getaffinity(0)))
        settings |= {"num_cpus": cores, "object_store_memory": _OBJECTS}
    try:
        ray.init(logging_level="ERROR", **settings)
    except Exception as error:  # a bare one, where its parts take longer to start than Ray waits for them
        raise Unavailable(f"Ray does not start: {error}") from error


def _trainer(asked: Asked, workers: int, root: Path) -> Any:
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    gpus = os.environ.get("DABT_DEVICE") != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    return TorchTrainer(
        _work,
        train_loop_config={"asked": asked},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=RunConfig(storage_path=str(root / "ray")),
    )


def _work(told: Mapping[str, Any]) -> dict[str, Any]:
    """In each worker. Ray gives back what the first of them returns."""
    from training import processes
    from training.launching import here

    with processes.together():
        result = here(told["asked"])
    return {
        "folder": str(result.folder),
        "version": result.version.ref,
        "reused": result.reused,
        "untracked": list(result.untracked),
    }


def _result(told: Mapping[str, Any], home: Any) -> TrainResult:
    from lifecycle.publishing import Shelf
    from training.records import whole_run
    from training.run import TrainResult

    folder = Path(told["folder"])
    record = whole_run(folder)
    assert record is not None
    version = Shelf.at(home, actor="").registry.version(told["version"])
    return TrainResult(version, folder, record, told["reused"], tuple(told["untracked"]))


def _tell(error: Any, left: int) -> None:
    """Raise what a worker raised, unless one was lost and there are tries left."""
    raised = list(getattr(error, "worker_failures", {}).values())
    raised = [getattr(each, "_base_exc", each) for each in raised]  # as Ray wraps what is the user's
    ours = [each for each in raised if isinstance(each, DabtError) and not isinstance(each, Unavailable)]
    if ours:
        raise ours[0] from error
    unknown = [each for each in raised if not isinstance(each, Unavailable | SystemExit) and not _of_ray(each)]
    if unknown:
        raise unknown[0] from error
    if not left:
        raise Unavailable("a worker of Ray ended, again and again; the same command goes on from there") from error


def _of_ray(error: BaseException) -> bool:
    """Whether Ray says it of a worker, such as that it is gone."""
    return type(error).__module__.startswith("ray.")
