"""Ray Train as one more launcher: the run that `launching.here` makes in one process, by workers of a Ray cluster.

Ray starts the workers and tells each its place, as torchrun does; everything else is `processes.py`. Without an
address (`RAY_ADDRESS`) the cluster is this machine, for as long as the command runs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lifecycle.errors import DabtError, InvalidConfig, Problem, Unavailable
from lifecycle.validation import fault_of
from training import processes
from training.launching import Asked

if TYPE_CHECKING:
    from training.run import TrainResult

_LOSSES = 2
"""After each the run goes on from its last checkpoint. Workers that end again and again have a reason of their own."""
_OBJECTS = 128 * 2**20
"""Bytes for what workers give each other through Ray, which is next to nothing."""
_PATIENCE_S = 3600
"""For workers to start, which is a minute by Ray's own measure: a busy machine takes longer to import PyTorch."""
_AT_ONCE_S, _LOOK_S = 2.0, 1.0
"""Room that comes within the first is no matter to speak of. The second is between two looks for it: a signal is heard
between them."""
_TOLD = ("DABT_", "HF_", "TOKENIZERS_", "MLFLOW_", "WANDB_")
"""Beginnings of the variables that workers elsewhere are told too."""
_CLEANER = "PlacementGroupCleanerMonitor"
"""How Ray 2.x names its cleaner's thread."""


class WorkersLost(Unavailable):
    """Its own class because a queue counts it as a try: the next one may end alike."""


@dataclass(frozen=True)
class Group:
    """The workers of one run."""

    workers: int
    each: Mapping[str, float] = field(default_factory=dict)
    """What Ray sets aside for each, in its own words: `{"CPU": 4, "GPU": 1}`. Where nothing is said, a GPU where the
    cluster has some and they train on one, else a core."""
    option: str = "--workers"
    """Which said how many."""

    @classmethod
    def told(cls, count: int, each: str, option: str) -> Group:
        """As a command is told of them. Raises `InvalidConfig` with all that is wrong with them."""
        from pydantic import AllowInfNan, NonNegativeFloat, TypeAdapter, ValidationError

        try:
            needs = TypeAdapter(dict[str, Annotated[NonNegativeFloat, AllowInfNan(False)]]).validate_json(each)
        except ValidationError as error:
            cure = 'write resources of Ray, as {"CPU": 4, "GPU": 1}'
            places = ((".".join(["--each", *map(str, fault["loc"])]), fault_of(fault)) for fault in error.errors())
            problems = [Problem(place, message, cure) for place, message in places]
            raise InvalidConfig("the workers of Ray cannot be started", problems) from error
        if (gpus := needs.get("GPU", 0)) > 1 and gpus % 1:
            problem = Problem(
                "--each.GPU", f"{gpus:g} of them cannot be set aside", "write a whole number, or less than 1"
            )
            raise InvalidConfig("the workers of Ray cannot be started", [problem])
        return cls(count, needs, option)

    @property
    def needs(self) -> dict[str, float]:
        """Of each. The cluster is there."""
        import ray

        gpus = _on_gpus() and ray.cluster_resources().get("GPU", 0) > 0
        asked = {name: amount for name, amount in self.each.items() if amount}
        return asked or ({"GPU": 1} if gpus else {"CPU": 1})


def by_ray(asked: Asked, group: Group, tell: Callable[[str], object]) -> TrainResult:
    """Train by these workers, on GPUs where the cluster has them and `DABT_DEVICE` is not `cpu`.

    A run whose worker is lost goes on by itself. The home and what the configuration names must lie where all workers
    see them. Raises `InvalidConfig` where Ray is not installed or this machine has no room, `Unavailable` where Ray
    does not start or loses workers again and again, and what `here` raises.
    """
    from lifecycle.home import Home

    require_ray()
    asked = asked.anywhere()
    home = Home.at(asked.home)
    asked.job(home)  # what is wrong with it is said before anything is started
    with cluster(group):
        wait_for_room(group, tell)
        return _result(fit(_work, {"asked": asked}, group, home.root), home)


def require_ray(option: str = "--launcher") -> None:
    """Raises `InvalidConfig` where it is not installed."""
    try:
        import ray.train  # noqa: F401
    except ImportError as error:
        problem = Problem(option, "Ray is not installed", "pip install 'dabt[ray]'")
        raise InvalidConfig("the run cannot be launched", [problem]) from error


@contextmanager
def cluster(group: Group) -> Iterator[None]:
    """Inside of it this process belongs to the cluster. Raises `Unavailable` where that does not start."""
    import ray

    try:
        _start(ray, group.workers)
        yield
    finally:
        ray.shutdown()


def wait_for_room(group: Group, tell: Callable[[str], object]) -> None:
    """Return once the cluster can set aside what all of the workers need; `tell` hears why that is not at once.

    Call it inside `cluster`. An autoscaler knows of what waits here, and adds nodes for it. Raises as `require_places`.
    """
    from ray.util.placement_group import placement_group, remove_placement_group

    require_places(group)
    room = placement_group([group.needs] * group.workers)
    try:
        if not room.wait(_AT_ONCE_S):
            fault, places = _asked_and_there(group)
            tell(f"waiting for room: {fault}{', which others are in' if places >= group.workers else ''}")
        while not room.wait(_LOOK_S):
            pass
    finally:
        remove_placement_group(room)


def require_places(group: Group) -> None:
    """Raises `InvalidConfig` where this machine is all of the cluster, and has not so many places.

    Other clusters grow: whoever asks waits there. Call it inside `cluster`.
    """
    fault, places = _asked_and_there(group)
    if places < group.workers and not _joined():
        raise InvalidConfig("this machine is too small", [Problem(group.option, fault, "ask for fewer")])


def _asked_and_there(group: Group) -> tuple[str, int]:
    """In words, and how many places the nodes have now, whoever is in them."""
    import ray

    needs = group.needs
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = sum(min(int(node.get(name, 0) // amount) for name, amount in needs.items()) for node in nodes)
    each = ", ".join(f"{name} {amount:g}" for name, amount in needs.items())
    return f"{group.workers} places with {each} are asked for, and the nodes have {places}", places


def _joined() -> bool:
    """A cluster that is there without this command: its nodes may come and go."""
    return bool(os.environ.get("RAY_ADDRESS"))


def fit(work: Callable[[Mapping[str, Any]], Any], told: Mapping[str, Any], group: Group, root: Path) -> Any:
    """What `work` returns in the first of the workers; each is `told` the same. Call it inside `cluster`.

    Raises what a worker raises that says more than that another one is gone, `Unavailable` for what was away to the
    end, and `WorkersLost`.
    """
    from ray.train import TrainingFailedError

    try:
        return _trainer(work, told, group, root).fit().return_value
    except TrainingFailedError as error:
        raise _failure(error) from error


def _start(ray: Any, workers: int) -> None:
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(_PATIENCE_S))
    variables = {name: value for name, value in os.environ.items() if name.startswith(_TOLD)}
    everywhere = {"env_vars": variables, "worker_process_setup_hook": f"{__name__}.{quiet_cleaner.__name__}"}
    settings: dict[str, Any] = {"runtime_env": everywhere, "ignore_reinit_error": True}
    settings["logging_config"] = ray.LoggingConfig(log_level="ERROR")  # of its own parts, elsewhere too
    if not _joined():
        cores = max(workers, len(os.sched_getaffinity(0)))
        settings |= {"address": "local", "num_cpus": cores, "object_store_memory": _OBJECTS}
    try:
        ray.init(logging_level="ERROR", **settings)
    except Exception as error:  # a bare one, where its parts take longer to start than Ray waits for them
        raise Unavailable(f"Ray does not start: {error}") from error


def quiet_cleaner() -> None:
    """In each process that Ray starts. Its cleaner watches the run from a thread, to tidy up behind one that was
    killed. Where a run has ended, the cluster may end before the thread does, and what that says then is no fault.
    """
    told = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or args.thread.name != _CLEANER:
            told(args)

    threading.excepthook = hook


def _on_gpus() -> bool:
    """Unless they are told to train on processors, whatever Ray sets aside."""
    return os.environ.get("DABT_DEVICE") != "cpu"


def _trainer(work: Callable[[Mapping[str, Any]], Any], told: Mapping[str, Any], group: Group, root: Path) -> Any:
    from ray.train import ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    needs = group.needs
    gpus = needs.get("GPU", 0) > 0
    talk = "nccl" if gpus and _on_gpus() else "gloo"
    return TorchTrainer(
        work,
        train_loop_config=dict(told),
        torch_config=TorchConfig(backend=talk),
        scaling_config=ScalingConfig(num_workers=group.workers, use_gpu=gpus, resources_per_worker=needs),
        run_config=_run_config(root),
    )


def _run_config(root: Path) -> Any:
    from ray.train import FailureConfig, LoggingConfig, RunConfig, UserCallback

    class NotAgain(UserCallback):  # type: ignore[misc]
        """Ray starts the workers again whatever they raise; what is raised here ends the run."""

        def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, BaseException]) -> None:
            if reason := _not_of_loss(worker_exceptions.values()):
                raise reason

    return RunConfig(
        storage_path=str(root / "ray"),
        failure_config=FailureConfig(max_failures=_LOSSES, controller_failure_limit=_LOSSES),
        callbacks=[NotAgain()],
        logging_config=LoggingConfig(log_level="CRITICAL"),  # what is wrong is said once, by us
    )


def _work(told: Mapping[str, Any]) -> dict[str, Any]:
    """In each worker. Ray gives back what the first of them returns."""
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


def _not_of_loss(raised: Iterable[BaseException]) -> BaseException | None:
    """What a worker says is wrong, where it is not only that one was lost: our own word before any other."""
    told = [each for each in _plain(raised) if not isinstance(each, Unavailable | SystemExit) and not _of_ray(each)]
    return next((each for each in told if isinstance(each, DabtError)), next(iter(told), None))


def _failure(error: Any) -> BaseException:
    """Of a whole run: what a worker said is wrong, what was away, or that workers were lost too often."""
    raised = getattr(error, "worker_failures", {}).values() or [getattr(error, "controller_failure", error)]
    away = [each for each in _plain(raised) if isinstance(each, Unavailable) and str(each) != processes.ANOTHER_ENDED]
    lost = WorkersLost(
        f"workers of Ray ended {_LOSSES + 1} times in this run: they need more memory than there is, as a rule. "
        "Lower optimisation.batch_size or max_length, or give them more memory; the same command goes on from there"
    )
    return _not_of_loss(raised) or next(iter(away), lost)


def _plain(raised: Iterable[BaseException]) -> list[BaseException]:
    """Ray wraps what is the user's."""
    return [getattr(each, "_base_exc", each) for each in raised]


def _of_ray(error: BaseException) -> bool:
    """Whether Ray says it of a worker, such as that it is gone."""
    return type(error).__module__.startswith("ray.")
