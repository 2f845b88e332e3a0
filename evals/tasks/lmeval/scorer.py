"""lm-eval's own scoring of one item: the task's filters over the responses, then the task's metrics.

The numbers are those of `lm_eval.evaluate` (`tests/evals/tasks/lmeval/test_parity.py`): filters look at one item's
responses, so items can be scored one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Literal

from evals.asking.answers import Answer
from evals.sample import Sample
from evals.scorers.labels import Label, macro_f1_of
from evals.scorers.scorer import Figure, Score, Scorer, ScoringContext
from evals.solvers.solver import Attempt
from evals.statistics.together import Summed
from evals.tasks.lmeval.metrics import QUICK
from evals.tasks.lmeval.solver import stop_strings
from lifecycle.answer_schema import AnswerSchema
from lifecycle.text.normaliser import Normaliser
from lifecycle.text.scores import label_of

FITS = "fits_schema"
"""The figure of an item whose answer is JSON that the evaluation's `answer_schema` allows."""

_QUICK_METRICS = frozenset({"acc", "acc_norm", "acc_bytes", "exact_match", "perplexity", *QUICK})
_QUICK_FILTERS = frozenset({"lowercase", "uppercase", "map", "regex", "remove_whitespace", "take_first"})
"""lm-eval's names. Whatever has another one is scored once everything is answered."""


class LmEvalScorer(Scorer):
    """`tasks` are lm-eval's objects by name, `instances` an item's requests by the sample's key."""

    type: Literal["lm-eval"] = "lm-eval"
    tasks: Mapping[str, Any]
    instances: Mapping[str, Sequence[Any]]
    given: tuple[Figure, ...]
    answer_schema: AnswerSchema | None = None
    labels: tuple[tuple[str, ...], Normaliser] | None = None
    """The labels that answers are to be, and by what rule they are; None unless all tasks have the same."""

    def figures(self) -> tuple[Figure, ...]:
        return self.given

    def while_asking(self) -> bool:
        return self.answer_schema is None and all(map(_takes_a_moment, self.tasks.values()))

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        return self._scored(sample, attempt)

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        """Zero whatever an empty answer would have scored: for multiple choice lm-eval would take the first choice."""
        given = self._scored(sample, attempt)
        cells = {name: (right, "") for name, (right, _) in given.cells.items()}
        return Score(dict.fromkeys(given.figures, 0.0), cells=cells)

    def _scored(self, sample: Sample, attempt: Attempt) -> Score:
        requests = _answered(self.instances[sample.key], attempt.answers)
        task = self.tasks[requests[0].task_name]
        figures: dict[str, float] = {}
        said = []
        for kind in task._filters:
            kind.apply(requests)
            responses = [request.filtered_resps[kind.name] for request in requests]
            said.append(str(responses[0]))
            suffix = suffix_of(task, kind.name)
            figures |= figures_of(task.process_results(requests[0].doc, responses), suffix)
            if self.answer_schema and generates(task):
                figures[FITS + suffix] = float(not self.answer_schema.faults(str(responses[0])))
        # What the first filter takes from the answer is what a vote is about, not the thoughts before it.
        return Score(figures, cells=self._cells(sample, attempt), said=said[0] if generates(task) else None)

    def _cells(self, sample: Sample, attempt: Attempt) -> dict[str, tuple[str, str]]:
        if self.labels is None:
            return {}
        right, said = (label_of(text, *self.labels) for text in (sample.shown_target, attempt.text))
        return {"confusion": (right or sample.shown_target, said or "")}

    def summed(self, samples: Sequence[Sample], scores: Sequence[Score], *, part: bool = False) -> dict[str, Summed]:
        """`macro_f1`, of a task that scores by `label`."""
        return {} if self.labels is None else macro_f1_of(scores, self.labels[0], part=part)

    def again(self) -> Scorer | None:
        return None if self.labels is None else Label(labels=self.labels[0], normaliser=self.labels[1].name)


def _answered(instances: Sequence[Any], answers: Sequence[Answer]) -> list[Any]:
    """lm-eval's requests with the responses that a model of its own would have given, in its order."""
    answered: dict[int, Any] = {}
    for instance, answer in zip(instances, answers, strict=True):
        request = answered.get(id(instance))
        if request is None:
            request = answered[id(instance)] = object.__new__(type(instance))  # a copy, at a fifth of copy.copy's time
            request.__dict__.update(instance.__dict__, resps=[], filtered_resps={})
        request.resps.append(_response(instance, answer))
    return sorted(answered.values(), key=lambda request: request.idx)


def _response(instance: Any, answer: Answer) -> Any:
    if instance.request_type == "loglikelihood":
        # A failed choice gets no probability; its item is scored zero whatever lm-eval then picks.
        return (-math.inf if answer.logprob is None else answer.logprob, bool(answer.greedy))
    text = answer.text
    for stop in stop_strings(instance.args[1]):  # those that the endpoint was not sent
        text = text.split(stop, 1)[0]
    return text


def _takes_a_moment(task: Any) -> bool:
    """Whether a task scores by what is known here to be quick, and by no function of its own."""
    filters = {step["function"] for row in _of(task, "filter_list") for step in row["filter"]}
    metrics = {metric["metric"] for metric in _of(task, "metric_list")}  # names, or functions of the task's file
    return not callable(task.config.process_results) and filters <= _QUICK_FILTERS and metrics <= _QUICK_METRICS


def _of(task: Any, key: str) -> list[dict[str, Any]]:
    return getattr(task.config, key) or []


def generates(task: Any) -> bool:
    return bool(task.config.output_type == "generate_until")


def figures_of(values: Mapping[str, Any], suffix: str) -> dict[str, float]:
    """The figures that are one number per item; lm-eval's corpus metrics give tuples, which nothing can pair."""
    return {f"{metric}{suffix}": float(value) for metric, value in values.items() if isinstance(value, Real)}


def suffix_of(task: Any, kind: str) -> str:
    """A task with several filters has several of each figure: `exact_match,strict-match` in lm-eval's own writing."""
    return f",{kind}" if len(task._filters) > 1 else ""
