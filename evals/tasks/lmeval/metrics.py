"""Our metrics in lm-eval's own registry, so that a task file names them like any other (`metric: json_fields`).

Each takes one target and one answer and may return several figures: lm-eval keeps every key of the returned dict.
An empty dict means that the item does not bear on the figure. The scoring itself is in `lifecycle/text/scores.py`.
Those that compare texts take the name of a normaliser, `normaliser: light-1`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evals.scorers.overlap import rouges
from lifecycle.errors import InvalidData, Problem
from lifecycle.text import scores
from lifecycle.text.normaliser import DEFAULT, Normaliser
from lifecycle.text.normaliser import normaliser as named

Figures = dict[str, float]
_MEASURES: dict[str, Callable[[str, str, Normaliser], float]] = {
    "exact": scores.exact_match,
    "f1": scores.token_f1,
    "chrf": lambda answer, target, _: scores.chrf(answer, target),
    "rouge_l": lambda answer, target, rule: rouges(answer, target, rule)["rouge_l"],
}


def valid_json(references: Sequence[str], predictions: Sequence[str], required: Sequence[str]) -> Figures:
    """`valid_json`: the answer is one JSON object with all of `required`."""
    return {"valid_json": scores.valid_json(predictions[0], required)}


def json_fields(references: Sequence[str], predictions: Sequence[str], fields: Sequence[str]) -> Figures:
    """One figure per field under its own name, and `fields`: all of them right at once."""
    right = scores.field_accuracy(predictions[0], references[0], fields)
    return {**right, "fields": float(all(right.values()))}


def json_text(
    references: Sequence[str],
    predictions: Sequence[str],
    fields: Sequence[str],
    measures: Sequence[str],
    normaliser: str = DEFAULT.name,
) -> Figures:
    """`<field>_<measure>` for free text inside a JSON answer: exact, f1, chrf or rouge_l. No JSON scores 0.

    With several fields, `text_<measure>` is their mean.
    """
    want, got = scores.target_object(references[0]), scores.parse_object(predictions[0]) or {}
    wanted = {field: _target(want, field) for field in fields}
    rule = named(normaliser)
    figures: Figures = {}
    for measure in measures:
        of_each = [_MEASURES[measure](scores.spoken(got.get(field)), wanted[field], rule) for field in fields]
        figures |= {f"{field}_{measure}": score for field, score in zip(fields, of_each, strict=True)}
        if len(fields) > 1:
            figures[f"text_{measure}"] = sum(of_each) / len(of_each)
    return figures


def spoken_f1(
    references: Sequence[str], predictions: Sequence[str], field: str, normaliser: str = DEFAULT.name
) -> Figures:
    """`<field>_f1` on whatever text came, JSON or not: knowledge apart from format."""
    target = _target(scores.target_object(references[0]), field)
    answer = scores.spoken_text(predictions[0], field)
    return {f"{field}_f1": scores.token_f1(answer, target, named(normaliser))}


def citation(references: Sequence[str], predictions: Sequence[str], field: str) -> Figures:
    """`citation`: the passages cited are those of the target."""
    return {"citation": scores.citation(predictions[0], references[0], field)}


def escalation_recall(references: Sequence[str], predictions: Sequence[str], labels: Mapping[str, Any]) -> Figures:
    """`escalation_recall`, over the emergencies alone."""
    score = scores.escalated(predictions[0], references[0], labels)
    return {} if score is None else {"escalation_recall": score}


def label(
    references: Sequence[str], predictions: Sequence[str], labels: Sequence[str], normaliser: str = DEFAULT.name
) -> Figures:
    """`accuracy`: the whole answer is the right label; `labelled`: it is any of `labels`, right or wrong.

    A report adds `macro_f1`, which only all items together have (`labels.macro_f1`).
    """
    rule = named(normaliser)
    (want, got) = (scores.label_of(text, labels, rule) for text in (references[0], predictions[0]))
    if want is None:
        problem = Problem("target", f"{references[0]!r} is none of {', '.join(labels)}", "one of the task's labels")
        raise InvalidData("a target is no label", [problem])
    return {"accuracy": float(got == want), "labelled": float(got is not None)}


def labels_of(metric_list: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], Normaliser] | None:
    """The labels of a task that scores by `label`, and by what rule an answer is one; None for other tasks."""
    for metric in metric_list:
        if metric.get("metric") == label.__name__:
            return tuple(metric["labels"]), named(metric.get("normaliser", DEFAULT.name))
    return None


def rules(metric_list: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """By what the metrics of a task score that its file does not write out; empty when none of them is ours.

    Raises `InvalidConfig` for a normaliser that there is not.
    """
    ours = [metric for metric in metric_list if metric.get("metric") in {metric.__name__ for metric in _METRICS}]
    texts = [metric for metric in ours if metric["metric"] in {metric.__name__ for metric in _OF_TEXTS}]
    normalisers = {named(metric.get("normaliser", DEFAULT.name)).name for metric in texts}
    return {"rules": scores.RULES, "normalisers": sorted(normalisers)} if ours else {}


def _target(target: Mapping[str, Any], field: str) -> str:
    if not (text := scores.spoken(target.get(field))):
        problem = Problem(f"target.{field}", "it is missing, empty, or no text", "a text to compare with")
        raise InvalidData("a target lacks a text that the task scores", [problem])
    return text


_METRICS = (valid_json, json_fields, json_text, spoken_f1, citation, escalation_recall, label)
_OF_TEXTS = (json_text, spoken_f1, label)
QUICK = frozenset(metric.__name__ for metric in _METRICS if metric is not json_text)
"""Those that take far less time than an answer, however long it is."""


@functools.cache
def register() -> None:
    """Puts the metrics above into lm-eval's registry, once in a process."""
    import lm_eval.api.metrics  # noqa: F401  # its own first: the registry only fills itself while it is empty
    from lm_eval.api.registry import register_metric

    for metric in _METRICS:
        register_metric(metric=metric.__name__, higher_is_better=True, aggregation="mean")(metric)
