"""Small searches for better settings with Optuna (Akiba et al. 2019, arXiv 1907.10902): a run for each that is tried.

Every trial is an ordinary run, reused where it is there, that publishes nothing. The best by the validation rows is
then trained as `dabt train` would, so golden prompts and a draft are made of that one alone. No test row is ever read.
"""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lifecycle.config_file import checked, load_mapping
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.home import Home
from lifecycle.publishing import Shelf
from lifecycle.version import Frozen, digest_of
from training import processes, run
from training.config import TrainJob
from training.methods import DEFAULT
from training.progress import Point, Silent, Watcher

_SECTIONS = ("method", "optimisation")
"""What may be searched: how is learnt, never from which rows or over which base."""
_LOWER = ("loss", "perplexity", "cost")
"""Endings of figures of which less is better."""


class Range(Frozen, allow_inf_nan=False):
    """Numbers from `low` to `high`, both included: whole ones where both are."""

    low: int | float
    high: int | float
    log: bool = False
    """Search by factors and not by differences: for learning rates."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, and {self.low} is not below {self.high}")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range starts above 0")
        return self


class SweepSettings(Frozen):
    """What is tried, under `sweep:` beside the configuration of a run."""

    keys: dict[str, Range | tuple[Any, ...]] = Field(min_length=1)
    """`optimisation.lr: {low: 1e-5, high: 1e-3, log: true}`, or a list of choices: `method.r: [8, 16]`."""
    trials: int = Field(default=12, ge=1, le=1000)
    metric: str = "eval_loss"
    """Of the run's figures; a loss, a perplexity or a cost is to be low, any other is to be high."""
    pruner: Literal["median", "none"] = "median"
    """`median` stops a trial whose validation loss is worse than the median of the others' at that step."""
    seed: int = Field(default=17, ge=0, lt=2**31)

    @property
    def lower(self) -> bool:
        return self.metric.endswith(_LOWER)


@dataclass(frozen=True)
class Sweep:
    """A configuration, what of it is tried, and the folder where its paths start."""

    raw: Mapping[str, Any]
    settings: SweepSettings
    folder: Path

    @classmethod
    def load(cls, path: Path, *, base: str | None = None) -> Sweep:
        """Raises `InvalidConfig` with what is wrong with `sweep:`, and with each choice and end of a range alone."""
        raw = load_mapping(path)
        if base is not None:
            raw["base"] = str(Path(base).resolve()) if Path(base).is_dir() else base
        given = raw.pop("sweep", None)
        if given is None:
            raise InvalidConfig(f"{path} says nothing to try", [Problem("sweep", "is missing", "sweep: {keys: {…}}")])
        settings, told = checked(SweepSettings, given)
        problems = [Problem(f"sweep.{one.place}".rstrip("."), one.fault, one.cure) for one in told]
        try:
            _job(raw, path.resolve().parent, {})
        except InvalidConfig as error:
            raise InvalidConfig(f"{path} cannot be used", [*error.problems, *problems]) from error
        if settings is not None:
            sweep = cls(raw, settings, path.resolve().parent)
            problems = sweep._wrong_choices()
        if settings is None or problems:
            raise InvalidConfig(f"{path} cannot be used", problems)
        return sweep

    def job(self, chosen: Mapping[str, Any]) -> TrainJob:
        """The run with these settings. Raises `InvalidConfig`."""
        return _job(self.raw, self.folder, chosen)

    def _wrong_choices(self) -> list[Problem]:
        problems = []
        for key, tried in self.settings.keys.items():
            if key.partition(".")[0] not in _SECTIONS or not key.partition(".")[2]:
                cure = "a key of method or optimisation, such as optimisation.lr"
                problems.append(Problem(f"sweep.keys.{key}", "cannot be tried", cure))
                continue
            for value in (tried.low, tried.high) if isinstance(tried, Range) else tried:
                try:
                    self.job({key: value})
                except InvalidConfig as error:
                    problems += [Problem(f"sweep.keys.{key}", f"{value}: {each.fault}") for each in error.problems]
        return problems

    @property
    def name(self) -> str:
        """Of everything that decides what is tried, but for how often."""
        job = self.job({})
        settings = self.settings.model_dump(mode="json", exclude={"trials"})
        return f"{job.config.name}-{digest_of({'run': job.anywhere(), 'rows': run.data_digest(job), **settings})[7:19]}"


def _job(written: Mapping[str, Any], folder: Path, chosen: Mapping[str, Any]) -> TrainJob:
    raw = deepcopy(dict(written))
    if isinstance(method := raw.get("method", DEFAULT), str | Mapping):  # anything else is refused as it is
        raw["method"] = {"type": method} if isinstance(method, str) else dict(method)
    for key, value in chosen.items():
        section, _, name = key.partition(".")
        raw[section] = {**(raw.get(section) or {}), name: value}
    return TrainJob.from_mapping(raw, folder)


class Trial(Frozen):
    """What was tried, and what came of it: one line of a sweep's record."""

    number: int
    settings: dict[str, Any]
    came_to: Literal["its end", "stopped early", "refused", "cut short"]
    value: float | None = None
    """The sweep's metric. Of one that was stopped early, its last validation loss."""
    run: str = ""
    """The folder of what was learnt, among the home's runs."""
    why: str = ""


@dataclass(frozen=True)
class Swept:
    """What came of a sweep: the draft of the best, its settings and figure, and all that was tried."""

    result: run.TrainResult
    chosen: Mapping[str, Any]
    value: float
    trials: tuple[Trial, ...]
    folder: Path
    """Where `trials.json` is, the record of them."""

    @property
    def tried(self) -> int:
        return sum(trial.came_to != "cut short" for trial in self.trials)


def search(sweep: Sweep, home: Home, shelf: Shelf, watch: Callable[[str], Watcher] = lambda name: Silent()) -> Swept:
    """Try until there are so many trials, those of an earlier call included, and train and publish the best.

    A sweep that is stopped goes on where it was, with the trial that was cut short; one that ended the process twice
    is left. Settings that a run refuses, or has no memory for, are told and count as tried. Raises `InvalidConfig`
    where no trial came to an end.
    """
    import optuna

    if processes.count() > 1:
        problem = Problem("sweep", "is not for several processes", "dabt sweep alone; its runs follow one another")
        raise InvalidConfig("a sweep runs in one process", [problem])
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = home.root / "sweeps" / sweep.name
    folder.mkdir(parents=True, exist_ok=True)
    settings = sweep.settings
    prunes = settings.pruner == "median" and settings.metric == "eval_loss"
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}",
        study_name=sweep.name,
        direction="minimize" if settings.lower else "maximize",
        pruner=optuna.pruners.MedianPruner() if prunes else optuna.pruners.NopPruner(),
        load_if_exists=True,
    )
    _take_up(study, settings)
    looked: run.Looked = {}
    while (tried := sum(trial.came_to != "cut short" for trial in _trials(study, settings))) < settings.trials:
        # Of its number alone, so that a sweep that goes on draws what one that was not stopped would have drawn.
        study.sampler = optuna.samplers.TPESampler(seed=settings.seed + tried)
        trial = study.ask()
        chosen = {key: _suggested(trial, key, of) for key, of in settings.keys.items()}
        told = ", ".join(f"{key.partition('.')[2]} {short(value)}" for key, value in chosen.items())
        follows = _Pruning(watch(f"trial {tried + 1} of {settings.trials} ({told})"), trial, prunes)
        try:
            name, learnt = run.learn(sweep.job(chosen), home, shelf, watch=follows, looked=looked)
            trial.set_user_attr(_RUN, name)
            study.tell(trial, _figure(learnt.metrics, settings.metric))
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            follows.say("stopped early: it is behind the others")
        except InvalidConfig as error:  # such as a loss that is no number, or no room in memory: no good settings
            trial.set_user_attr(_REFUSED, str(error))
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            follows.say(f"refused: {error}")
        except KeyboardInterrupt:
            trial.set_user_attr(_PAUSED, True)
            raise
        _keep(study, settings, folder)
        gc.collect()  # a trainer refers to itself, and the next trial wants its memory
    trials = _trials(study, settings)
    if not any(trial.came_to == "its end" for trial in trials):
        refused = [trial.why for trial in trials if trial.came_to == "refused"]
        raise InvalidConfig(refused[-1] if refused else "no trial came to its end; write sweep.pruner: none")
    best = study.best_trial
    chosen = {key: _value(best.params[key], of) for key, of in settings.keys.items()}
    note = f"the best of {tried} configurations that were tried, by {settings.metric} on the validation rows"
    result = run.train(sweep.job(chosen), home, shelf, watch=watch("the best"), notes=(note,))
    return Swept(result, chosen, float(best.value), trials, folder)


_RUN, _REFUSED, _PAUSED, _AGAIN = "run", "refused", "paused", "again"
"""What is noted of a trial in the study: the last, that it was begun before, and ended the process."""


def _take_up(study: Any, settings: SweepSettings) -> None:
    """The trial that an earlier call had begun when it was stopped, once more."""
    import optuna

    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        paused = _PAUSED in trial.user_attrs
        if len(trial.params) == len(settings.keys) and (paused or _AGAIN not in trial.user_attrs):
            study.enqueue_trial(trial.params, user_attrs={} if paused else {_AGAIN: True})


def _trials(study: Any, settings: SweepSettings) -> tuple[Trial, ...]:
    """All that were begun, in order."""
    made = []
    for trial in study.get_trials():
        state, notes = trial.state.name, trial.user_attrs
        ends = {"COMPLETE": "its end", "PRUNED": "stopped early", "FAIL": "cut short"}
        if state not in ends:
            continue
        why = notes.get(_REFUSED, "")
        if state == "FAIL" and _AGAIN in notes and _PAUSED not in notes:
            why = why or "the process ended in it twice, as it does where memory runs out"
        reported = trial.intermediate_values
        value = trial.value if state == "COMPLETE" else reported[max(reported)] if reported else None
        chosen = {key: _value(trial.params[key], of) for key, of in settings.keys.items() if key in trial.params}
        made.append(
            Trial(
                number=trial.number + 1,
                settings=chosen,
                came_to="refused" if why else ends[state],
                value=value,
                run=notes.get(_RUN, ""),
                why=why,
            )
        )
    return tuple(made)


def _keep(study: Any, settings: SweepSettings, folder: Path) -> None:
    part = folder / "trials.json.part"
    lines = [trial.model_dump(mode="json") for trial in _trials(study, settings)]
    part.write_text(json.dumps(lines, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(folder / "trials.json")


class _Pruning(Silent):
    """Passes on what a trial tells, and ends it by an exception where the pruner says so."""

    def __init__(self, watch: Watcher, trial: Any, prunes: bool) -> None:
        self._watch, self._trial, self._prunes = watch, trial, prunes

    def stage(self, text: str) -> None:
        self._watch.stage(text)

    def step(self, done: int, total: int) -> None:
        self._watch.step(done, total)

    def say(self, text: str) -> None:
        self._watch.say(text)

    def loss(self, kind: str, point: Point) -> None:
        import optuna

        self._watch.loss(kind, point)
        if self._prunes and kind == "validation" and point.step:
            self._trial.report(point.loss, point.step)
            if self._trial.should_prune():
                raise optuna.TrialPruned


def _suggested(trial: Any, key: str, of: Range | Sequence[Any]) -> Any:
    if not isinstance(of, Range):
        return _value(trial.suggest_categorical(key, list(range(len(of)))), of)
    whole = isinstance(of.low, int) and isinstance(of.high, int)
    return (trial.suggest_int if whole else trial.suggest_float)(key, of.low, of.high, log=of.log)


def _value(kept: Any, of: Range | Sequence[Any]) -> Any:
    """A choice is kept as its place: it may be a list or nothing at all, which Optuna keeps in no database."""
    return kept if isinstance(of, Range) else of[kept]


def _figure(figures: Mapping[str, float], metric: str) -> float:
    if metric not in figures:
        problem = Problem("sweep.metric", f"{metric!r} is no figure of this method", f"one of {', '.join(figures)}")
        raise InvalidConfig("there is nothing to choose by", [problem])
    return figures[metric]


def short(value: Any) -> str:
    """As a person reads it in a table."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
