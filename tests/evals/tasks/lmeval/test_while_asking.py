"""Which of lm-eval's tasks are scored while other answers are awaited: those of which it is known what that costs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from evals.tasks.lmeval.scorer import LmEvalScorer
from evals.tasks.lmeval.task import _keep_templates

REGEX = [{"name": "strict", "filter": [{"function": "regex", "regex_pattern": "a"}, {"function": "take_first"}]}]


def scorer(*tasks: dict[str, Any]) -> LmEvalScorer:
    usual: dict[str, Any] = {"process_results": None, "metric_list": [{"metric": "acc"}], "filter_list": None}
    made = {str(at): SimpleNamespace(config=SimpleNamespace(**usual | task)) for at, task in enumerate(tasks)}
    return LmEvalScorer(tasks=made, instances={}, given=())


@pytest.mark.parametrize("task", [{}, {"filter_list": REGEX}, {"metric_list": [{"metric": "label"}]}])
def test_usual_metrics_and_ours_are(task: dict[str, Any]) -> None:
    assert scorer(task).while_asking()


@pytest.mark.parametrize(
    "task",
    [
        {"process_results": lambda doc, results: {}},
        {"metric_list": [{"metric": "acc"}, {"metric": "ter"}]},
        {"metric_list": [{"metric": len}]},
        {"metric_list": [{"metric": "json_text"}]},
        {"filter_list": [{"name": "mine", "filter": [{"function": "custom", "filter_fn": len}]}]},
    ],
)
def test_what_may_take_long_waits_and_so_do_the_tasks_beside_it(task: dict[str, Any]) -> None:
    assert not scorer(task).while_asking()
    assert not scorer({}, task).while_asking()


def test_a_template_is_compiled_once_and_says_the_same() -> None:
    from lm_eval.utils import apply_template, env

    _keep_templates()
    assert env.from_string("{{a}} and {{b}}") is env.from_string("{{a}} and {{b}}")
    assert [apply_template("{{a}}!", {"a": text}) for text in ("x", "y")] == ["x!", "y!"]
