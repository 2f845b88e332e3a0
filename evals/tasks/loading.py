"""The suite that an evaluation names: rows, a short task file, another package's suite, or a task of lm-eval's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lifecycle.config_file import checked
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.version import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from evals.config import EvalConfig
    from evals.tasks.source import SuiteSource
    from evals.tasks.suite import Suite


def load_suite(config: EvalConfig, cache: Path) -> Suite:
    """Loads it, and looks at every target before anything is asked. `config.scorers` score beside its own.

    Raises `NotFound` for a task that there is not, `InvalidConfig` where nothing can be decided, and `InvalidData` with
    all rows and targets that are bad.
    """
    suite = _load(config, cache)
    if not config.scorers:
        return suite
    from evals.tasks.beside import with_scorers

    return with_scorers(suite, config.scorers)


def _load(config: EvalConfig, cache: Path) -> Suite:
    from evals.tasks.source import SOURCES

    if config.task_file or not config.task:
        return _of_rows(config)
    if config.task_files is None and config.task in SOURCES.names():
        return _of_package(config)
    from evals.tasks.lmeval.task import load

    return load(config, cache)


def _of_rows(config: EvalConfig) -> Suite:
    from evals.scorers.choices import Choice
    from evals.scorers.json_answers import Json
    from evals.solvers.chat import Chat
    from evals.solvers.choices import Choices
    from evals.tasks.building import Contents, build
    from evals.tasks.by_shape import scorers_for
    from evals.tasks.choice_rows import KIND
    from evals.tasks.rows import read
    from evals.tasks.task_file import TaskFile

    given = TaskFile.load(config.task_file) if config.task_file else None
    file, solver, scorers = given or (None, Chat(), ())
    data = config.data or (file.data if file else None)
    assert data is not None, "an evaluation has a task or data"
    cluster = config.cluster or (file.cluster if file else None)
    rows = read(data, cluster, config.slices or (file.slices if file else ()))
    metric = file.metric if file else None
    if rows.kind == KIND and (file is None or "solver" not in file.model_fields_set):
        solver = Choices()
    if not scorers and config.answer_schema:
        scorers = (Json(schema=config.answer_schema),)
        metric = metric or "fields"
    elif not scorers and isinstance(solver, Choices):
        scorers = (Choice(),)
    elif not scorers:
        scorers, decides = scorers_for(rows.samples, rows.kind)
        metric = metric or decides
    safety = file.safety if file else None
    contents = Contents(rows.samples, rows.digests, rows.places, solver, scorers, metric, safety, cluster)
    return build(config, config.title, contents)


def _of_package(config: EvalConfig) -> Suite:
    from evals.tasks.building import Contents, build
    from evals.tasks.source import SOURCES

    if config.data or config.cluster or config.slices:
        cure = "take data, cluster and slices out: the suite brings its own"
        raise InvalidConfig("the suite cannot be used", [Problem("task", f"'{config.task}' brings its samples", cure)])
    source = _set_up(SOURCES.named(config.task, "task"), config)
    samples = list(source.samples())
    contents = [[s.id, list(s.messages), s.target, dict(s.metadata), list(s.tools), s.cluster] for s in samples]
    digests = [digest_of(content) for content in contents]
    keyed = [replace(s, key=f"{s.id}/{digest[7:19]}") for s, digest in zip(samples, digests, strict=True)]
    places = [f"{config.task}:{sample.id}" for sample in keyed]
    parts = (source.solver(), tuple(source.scorers()), source.metric, source.safety)
    return build(config, config.task, Contents(keyed, digests, places, *parts, notes=source.notes()))


def _set_up(kind: type[SuiteSource], config: EvalConfig) -> SuiteSource:
    """With the settings that the evaluation gives it."""
    source, told = checked(kind, config.settings)
    if source is None:
        problems = [replace(problem, place=f"settings.{problem.place}".rstrip(".")) for problem in told]
        raise InvalidConfig(f"the suite '{config.task}' cannot be set up", problems)
    return source
