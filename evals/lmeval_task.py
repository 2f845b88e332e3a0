"""An lm-eval task, loaded once: its items, its requests, and its scores for each item.

Task files, filters and metrics are lm-eval's. What is added: a seeded sample of items, a look at every target before
anything is asked, and scores that stay zero where the endpoint failed. Imports lm-eval inside functions (seconds).
"""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from inspect import getsource
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals import chat_rows
from evals.config import EvalConfig
from evals.lmeval_metrics import labels_of, register, rules
from lifecycle.answer_schema import AnswerSchema
from lifecycle.errors import DabtError, InvalidConfig, InvalidData, NotFound, Problem, Unavailable
from lifecycle.text.normaliser import Normaliser
from lifecycle.version import Digest, Frozen, digest_of

if TYPE_CHECKING:
    from evals.endpoint_lm import EndpointLM

Scores = dict[str, float]
FITS = "fits_schema"
"""The figure of an item whose answer is JSON that the evaluation's `answer_schema` allows."""


class Item(Frozen):
    """One question. `key` pairs it across arms: the task, lm-eval's doc_id, and the hash of its content."""

    key: str
    name: str
    question: str
    target: str
    cluster: str | None = None


@dataclass(frozen=True)
class EvalTask:
    """See `load`. `tasks` are lm-eval's objects by name: one, or the members of a group."""

    name: str
    digest: Digest
    items: tuple[Item, ...]
    metrics: tuple[str, ...]
    """Names of the figures that items can get."""
    tasks: Mapping[str, Any]
    chosen: Mapping[str, list[int]]
    """The doc_ids in use, in order, by task."""
    data_digest: Digest
    """Of the items alone, all of them, whatever their order: the same items are the same under any task."""
    whole: int
    """How many items there are; `items` are fewer when they are a sample."""
    schema: AnswerSchema | None = None
    """What answers must be."""

    def label_rule(self) -> tuple[tuple[str, ...], Normaliser] | None:
        """The labels that answers are to be, and by what rule they are; None unless all tasks have the same."""
        rules = {labels_of(task.config.metric_list or []) for task in self.tasks.values()}
        return rules.pop() if len(rules) == 1 else None

    def requests(self) -> list[tuple[str, list[Any]]]:
        """lm-eval's requests of each item, in the items' order, with the method of the model that takes them."""
        grouped: dict[tuple[str, int], list[Any]] = {}
        for name, task in self.tasks.items():
            for request in task.instances:
                repeated = [request] * request.repeats
                grouped.setdefault((name, request.doc_id), []).extend(repeated)
        return [(group[0].request_type, group) for group in grouped.values()]

    def score(self, model: EndpointLM) -> dict[str, Scores]:
        """Each item's figures by its key: lm-eval asks `model`, applies the task's filters and its metrics.

        An item with a failed request gets zero in all of its figures, whatever an empty answer would have scored:
        for multiple choice, lm-eval would otherwise take the first choice.
        """
        from lm_eval.evaluator import evaluate

        with _quiet():
            evaluated = evaluate(
                model, {"tasks": dict(self.tasks)}, samples=dict(self.chosen), bootstrap_iters=0, log_samples=True
            )
        scores: dict[str, Scores] = {}
        for name, samples in evaluated["samples"].items():
            place = {doc_id: running for running, doc_id in enumerate(self.chosen[name])}
            for sample in samples:
                key = _key(name, sample["doc_id"], sample["doc"])
                failed = any(answer.error for answer in model.answers[name, place[sample["doc_id"]]])
                suffix = _suffix(self.tasks[name], sample["filter"])
                figures = _figures(sample, sample["metrics"], suffix)
                if self.schema and _generates(self.tasks[name]):
                    figures[FITS + suffix] = float(not self.schema.faults(str(sample["filtered_resps"][0])))
                scores.setdefault(key, {}).update(dict.fromkeys(figures, 0.0) if failed else figures)
        return scores

    def place(self, number: int) -> tuple[str, int]:
        """Where `EndpointLM.answers` keeps what was answered to the item of that number."""
        for name, ids in self.chosen.items():
            if number < len(ids):
                return name, number
            number -= len(ids)
        raise IndexError(number)


def load(config: EvalConfig, cache: Path) -> EvalTask:
    """Loads the task that `config` names, and looks at every target before anything is asked.

    Raises `NotFound` for an unknown task, `InvalidConfig` when the deciding or the safety metric is none of its
    figures, `InvalidData` with all bad rows and targets, `Unavailable` when a public data set cannot be fetched.
    """
    # Both are read when the libraries are first imported. lm-eval forks one process per core for a bootstrap of its
    # own, which is not used here; data sets of public tasks belong with the rest of the cache.
    os.environ.setdefault("DISABLE_MULTIPROC", "1")
    os.environ.setdefault("HF_DATASETS_CACHE", str(cache / "datasets"))
    register()
    with _quiet():
        tasks = _load_tasks(config)
        chosen = {name: _sample(len(task.eval_docs), config) for name, task in tasks.items()}
        items: list[Item] = []
        for name, task in tasks.items():
            task.set_config(key="num_fewshot", value=config.task_shots)
            task.set_fewshot_seed(seed=config.seed)
            task.build_all_requests(samples=chosen[name])
            first = {request.doc_id: request for request in reversed(task.instances)}
            items += [_item(name, task, chosen[name][at], first[at], config) for at in sorted(first)]
    metrics = _check(config, tasks)
    whole = sum(len(task.eval_docs) for task in tasks.values())
    return EvalTask(
        config.task,
        _digest(config, tasks),
        tuple(items),
        metrics,
        tasks,
        chosen,
        _data_digest(tasks),
        whole,
        config.schema_of_answers,
    )


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


def _sample(size: int, config: EvalConfig) -> list[int]:
    if config.limit is None or config.limit >= size:
        return list(range(size))
    # The first N would be one language or one topic where a file is in order.
    return sorted(random.Random(config.seed).sample(range(size), config.limit))


def _item(name: str, task: Any, doc_id: int, request: Any, config: EvalConfig) -> Item:
    doc, target = request.doc, task.doc_to_target(request.doc)
    if isinstance(target, int) and task.config.doc_to_choice is not None:
        target = task.doc_to_choice(doc)[target]
    cluster = None
    if config.cluster:
        meta = json.loads(doc["meta"]) if isinstance(doc.get("meta"), str) else {}
        value = doc.get(config.cluster, meta.get(config.cluster))
        if value is None:
            place = Problem(f"{name}:{doc_id}", f"it has no '{config.cluster}'", "take out `cluster`, or add the field")
            raise InvalidData("items cannot be put into clusters", [place])
        cluster = str(value)
    return Item(
        key=_key(name, doc_id, doc),
        name=str(doc.get("id") or f"{name}/{doc_id}"),
        question=str(request.args[0]),
        target=str(target),
        cluster=cluster,
    )


def _key(name: str, doc_id: int, doc: Any) -> str:
    return f"{name}/{doc_id}/{digest_of(_stable(doc))[7:19]}"


def _check(config: EvalConfig, tasks: Mapping[str, Any]) -> tuple[str, ...]:
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
                names |= dict.fromkeys(_figures(figures, list(figures), _suffix(task, kind.name)))
        if config.schema_of_answers and _generates(task):
            names |= dict.fromkeys(FITS + _suffix(task, kind.name) for kind in task._filters)
            problems += _off_schema(name, task, config.schema_of_answers) if ours else []
        lower |= {metric for metric, better in task.higher_is_better().items() if better is False}
    if problems:
        raise InvalidData("the targets cannot be scored by this task", problems)
    for key, metric in (("metric", config.metric), ("safety", config.safety)):
        cure = f"one of {', '.join(names)}"
        if metric is not None and metric not in names:
            problems.append(Problem(key, f"'{metric}' is no figure that the items of '{config.task}' get", cure))
        elif metric is not None and metric.partition(",")[0] in lower:
            problems.append(Problem(key, f"of '{metric}' less is better", cure))
    if problems:
        raise InvalidConfig(f"the evaluation of '{config.task}' cannot be decided", problems)
    return tuple(names)


def _off_schema(name: str, task: Any, schema: AnswerSchema) -> list[Problem]:
    """The targets that no answer may be like."""
    cure = "mend the target, or the schema"
    return [
        Problem(f"{name}:{doc['id']} target", f"does not fit {schema.name}: {fault}", cure)
        for doc in task.eval_docs
        for fault in schema.faults(str(task.doc_to_target(doc)))
    ]


def _generates(task: Any) -> bool:
    return bool(task.config.output_type == "generate_until")


def _figures(values: Mapping[str, Any], metrics: Sequence[str], suffix: str) -> Scores:
    """The figures that are one number per item; lm-eval's corpus metrics give tuples, which nothing can pair."""
    return {f"{metric}{suffix}": float(values[metric]) for metric in metrics if isinstance(values[metric], Real)}


def _suffix(task: Any, kind: str) -> str:
    """A task with several filters has several of each figure: `exact_match,strict-match` in lm-eval's own writing."""
    return f",{kind}" if len(task._filters) > 1 else ""


def _digest(config: EvalConfig, tasks: Mapping[str, Any]) -> Digest:
    """Of the task files, all items, the metrics' settings, and by what rules they score. No path is in it, and no
    `limit`."""
    parts = {}
    for name, task in tasks.items():
        settings = dict(vars(task.config))
        for place in ("metadata", "dataset_kwargs", "fewshot_config"):
            settings.pop(place, None)
        scoring = rules(settings.get("metric_list") or [])
        parts[name] = [_stable(settings), [_stable(doc) for doc in task.eval_docs], config.task_shots, scoring]
    if schema := config.schema_of_answers:  # the digests of other tasks are what they were
        return digest_of({**parts, "": [schema.digest, config.structured]})
    return digest_of(parts)


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
