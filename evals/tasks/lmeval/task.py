"""An lm-eval task as a suite: its files, its shots and decoding, its filters and its metrics as they are.

What is added: a seeded sample of items, and a look at every target before anything is asked. `solver.py` asks the
items' requests, `scorer.py` scores them. Imports lm-eval inside functions (seconds).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache, lru_cache, partial
from inspect import getsource
from pathlib import Path
from typing import Any

from evals import chat_rows
from evals.config import EvalConfig
from evals.sample import Sample
from evals.scorers.labels import MACRO_F1
from evals.scorers.scorer import Figure, Kind
from evals.slices import named, required, with_slices
from evals.tasks.by_shape import are_labels
from evals.tasks.lmeval.metrics import labels_of, register, rules
from evals.tasks.lmeval.requests import BLANK_LINE, begins_its_answers, built, says_more, turns_of
from evals.tasks.lmeval.scorer import FITS, LmEvalScorer, figures_of, generates, suffix_of
from evals.tasks.lmeval.solver import LmEvalSolver
from evals.tasks.sampling import sampled
from evals.tasks.suite import Suite, require_decidable
from lifecycle.answer_schema import AnswerSchema
from lifecycle.errors import DabtError, InvalidConfig, InvalidData, NotFound, Problem, Unavailable
from lifecycle.version import Digest, digest_of


def load(config: EvalConfig, cache: Path) -> Suite:
    """Loads the task that `config` names, and looks at every target before anything is asked.

    Raises `NotFound` for an unknown task, `InvalidConfig` when the deciding or the safety metric is none of its
    figures, `InvalidData` with all bad rows and targets, `Unavailable` when a public data set cannot be fetched.
    """
    # Both are read when the libraries are first imported. lm-eval forks one process per core for a bootstrap of its
    # own, which is not used here; data sets of public tasks belong with the rest of the cache.
    os.environ.setdefault("DISABLE_MULTIPROC", "1")
    os.environ.setdefault("HF_DATASETS_CACHE", str(cache / "datasets"))
    register()
    _keep_templates()
    instances: dict[str, list[Any]] = {}
    samples: list[Sample] = []
    with _quiet():
        tasks = _load_tasks(config)
        chosen = {name: sampled(len(task.eval_docs), config.limit, config.seed) for name, task in tasks.items()}
        for name, task in tasks.items():
            own = task.config.num_fewshot or 0
            task.set_config(key="num_fewshot", value=own if config.task_shots is None else config.task_shots)
            turns = config.fewshot_as_multiturn if generates(task) or config.apply_chat_template else None
            for number, requests in built(task, chosen[name], config.seed, turns):
                sample = _sample(name, task, number, requests[0], config)
                instances[sample.key] = requests
                samples.append(sample)

    def behind_a_template() -> dict[str, list[Any]]:
        with _quiet():
            return {
                _key(name, number, requests[0].doc): requests
                for name, task in tasks.items()
                for number, requests in built(task, chosen[name], config.seed, config.fewshot_as_multiturn)
            }

    label_rules = {labels_of(task.config.metric_list or []) for task in tasks.values()}
    figures = _check(config, tasks)
    if len(label_rules) == 1 and None not in label_rules:
        figures = (*figures, MACRO_F1)
    scorer = LmEvalScorer(
        tasks=tasks,
        instances=instances,
        given=figures,
        answer_schema=config.schema_of_answers,
        labels=label_rules.pop() if len(label_rules) == 1 else None,
    )
    return Suite(
        name=config.task,
        samples=with_slices(samples, labels=are_labels([sample.shown_target for sample in samples])),
        solver=LmEvalSolver(
            instances=instances,
            chat=config.apply_chat_template,
            in_turns=behind_a_template,
            delimiters={
                name: task.config.fewshot_delimiter
                for name, task in tasks.items()
                if task.config.fewshot_delimiter != BLANK_LINE
            },
            begun=tuple(name for name, task in tasks.items() if begins_its_answers(task)),
        ),
        scorers=(scorer,),
        metric=require_decidable(config.task, figures, config.metric, config.safety),
        safety=config.safety,
        cluster=config.cluster,
        digest=_digest(config, tasks),
        scoring=_digest(config, tasks, items=False),
        data_digest=_data_digest(tasks),
        whole=sum(len(task.eval_docs) for task in tasks.values()),
    )


@cache
def _keep_templates() -> None:
    """lm-eval compiles a task's templates again for each item, which takes as long as all else that it does with it."""
    from lm_eval.utils import env

    compiled = env.from_string

    @lru_cache(maxsize=256)
    def kept(source: str) -> Any:
        template = compiled(source)
        template.globals = dict(template.globals)  # copied for each item, which a chain of dictionaries is slow at
        return template

    env.from_string = kept


def _load_tasks(config: EvalConfig) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=str(config.task_files) if config.task_files else None,
        include_defaults=config.task_files is None,
        metadata={"data_override": str(config.data)} if config.data else None,
    )
    if config.task not in manager.all_tasks:
        close = get_close_matches(config.task, manager.all_tasks, n=4) or manager.all_tasks[:8]
        where = config.task_files or "lm-eval's own tasks"
        raise NotFound(f"no task '{config.task}' in {where}; there is {', '.join(close)}")
    try:
        tasks: dict[str, Any] = manager.load([config.task])["tasks"]
    except DabtError:
        raise
    except (OSError, ConnectionError) as error:  # the hub's and the data sets' errors are among these
        raise Unavailable(f"the data of task '{config.task}' cannot be fetched: {error}") from error
    except Exception as error:  # a task file can fail in as many ways as Python can
        raise InvalidConfig(f"lm-eval cannot load task '{config.task}': {type(error).__name__}: {error}") from error
    if config.data and any(task.config.custom_dataset is not chat_rows.dataset for task in tasks.values()):
        cure = "name the file in the task file, or let it use evals.chat_rows.dataset"
        raise InvalidConfig("data cannot be replaced", [Problem("data", "this task does not read chat rows", cure)])
    return tasks


def _sample(name: str, task: Any, doc_id: int, request: Any, config: EvalConfig) -> Sample:
    doc, target = request.doc, task.doc_to_target(request.doc)
    if isinstance(target, int) and task.config.doc_to_choice is not None:
        target = task.doc_to_choice(doc)[target]
    meta = json.loads(doc["meta"]) if isinstance(doc.get("meta"), str) else {}
    fields = {**meta, **doc}
    for key, wanted in (("cluster", [config.cluster] if config.cluster else []), ("slices", required(config.slices))):
        if problems := [
            Problem(f"{name}:{doc_id}", f"it has no '{field}'", f"take it out of `{key}`, or add the field")
            for field in wanted
            if fields.get(field) is None
        ]:
            raise InvalidData(f"items cannot be put into {key.rstrip('s')}s", problems)
    return Sample(
        key=_key(name, doc_id, doc),
        id=str(doc.get("id") or f"{name}/{doc_id}"),
        messages=tuple(turns_of(request)),
        target=str(target),
        metadata=meta,
        cluster=str(fields[config.cluster]) if config.cluster else None,
        slices=named(config.slices, fields),
    )


def _key(name: str, doc_id: int, doc: Any) -> str:
    return f"{name}/{doc_id}/{digest_of(_stable(doc))[7:19]}"


def _check(config: EvalConfig, tasks: Mapping[str, Any]) -> tuple[Figure, ...]:
    """The figures that items can get, by scoring an empty answer to each: bad targets show up here, all of them."""
    names: dict[str, None] = {}
    problems: list[Problem] = []
    lower: set[str] = set()
    for name, task in tasks.items():
        requests = [request for request in task.instances if request.doc_id == task.instances[0].doc_id]
        empty = [(-1.0, False)] * len(requests) if requests[0].request_type == "loglikelihood" else [""]
        # Of our own items all, in use or not; those of a public task are not ours to check.
        ours = task.config.custom_dataset is chat_rows.dataset
        for doc in task.eval_docs if ours else [requests[0].doc]:
            try:
                figures = task.process_results(doc, empty)
            except InvalidData as error:
                places = [
                    Problem(f"{name}:{doc['id']} {problem.place}", problem.fault, problem.cure)
                    for problem in error.problems
                ]
                problems += places
                continue
            for kind in task._filters:
                names |= dict.fromkeys(figures_of(figures, suffix_of(task, kind.name)))
        if config.schema_of_answers and generates(task):
            names |= dict.fromkeys(FITS + suffix_of(task, kind.name) for kind in task._filters)
            problems += _off_schema(name, task, config.schema_of_answers) if ours else []
        lower |= {metric for metric, better in task.higher_is_better().items() if better is False}
    if problems:
        raise InvalidData("the targets cannot be scored by this task", problems)
    # A task file does not say of what kind a figure is: all are means, and a mean of yes and no is a share.
    return tuple(
        Figure(name=name, kind=Kind.MEAN, higher_is_better=name.partition(",")[0] not in lower) for name in names
    )


def _off_schema(name: str, task: Any, schema: AnswerSchema) -> list[Problem]:
    """The targets that no answer may be like."""
    cure = "mend the target, or the schema"
    return [
        Problem(f"{name}:{doc['id']} target", f"does not fit {schema.name}: {fault}", cure)
        for doc in task.eval_docs
        for fault in schema.faults(str(task.doc_to_target(doc)))
    ]


def _digest(config: EvalConfig, tasks: Mapping[str, Any], *, items: bool = True) -> Digest:
    """Of the task files, all items, the metrics' settings, and by what rules they score. No path is in it, and no
    `limit`. Without `items`: of all else."""
    parts = {}
    for name, task in tasks.items():
        settings = dict(vars(task.config))
        for place in ("metadata", "dataset_kwargs", "fewshot_config"):
            settings.pop(place, None)
        scoring = rules(settings.get("metric_list") or [])
        docs = [_stable(doc) for doc in task.eval_docs] if items else []
        parts[name] = [_stable(settings), docs, task.config.num_fewshot, scoring]
    schema = config.schema_of_answers
    more: list[Any] = [schema.digest, config.structured] if schema else []
    if config.apply_chat_template:
        more.append("apply_chat_template")
    if any(says_more(task) for task in tasks.values()):
        more.append({"fewshot_as_multiturn": config.fewshot_as_multiturn})
    return digest_of({**parts, "": more} if more else parts)  # the digests of other tasks are what they were


def _data_digest(tasks: Mapping[str, Any]) -> Digest:
    return digest_of(sorted(digest_of(_stable(doc)) for task in tasks.values() for doc in task.eval_docs))


def _stable(value: Any) -> Any:
    """`value` as JSON that is the same on every machine: functions by their source, the rest by its text."""
    if isinstance(value, Mapping):
        return {str(key): _stable(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_stable(part) for part in value]
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if callable(value):
        inner: Callable[..., Any] = value.func if isinstance(value, partial) else value
        try:
            return getsource(inner)
        except (TypeError, OSError):
            return getattr(inner, "__qualname__", type(inner).__name__)
    return str(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval without its own bars and notes on every default: the progress shown is ours."""
    import lm_eval.api.task as tasks

    logger, bar = logging.getLogger("lm_eval"), tasks.tqdm
    level = logger.level
    logger.setLevel(logging.ERROR)
    tasks.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        logger.setLevel(level)
        tasks.tqdm = bar
