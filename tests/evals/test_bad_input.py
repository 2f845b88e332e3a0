"""Bad input of every kind: an error with its place and cure before anything is asked, or a failure that is counted.

Never a smaller n in silence, and never a traceback of another library.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals.arms import resolve_arms
from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.leaks import leaks
from evals.report.evaluation import Evaluation
from evals.run import evaluate
from evals.tasks.loading import load_suite
from lifecycle.errors import DabtError, InvalidConfig, InvalidData, NotFound, Unavailable
from lifecycle.verdict import Ruling

QUICK = Endpoint(url="http://models.test/v1", retries=1, pause=0.0, patience=0.0)
N = 24
DIGITS, NESTED = "9" * 4301, "[" * 500 + "]" * 500


def run(config: EvalConfig, registry, home, models, endpoint: Endpoint = QUICK) -> Evaluation:
    return evaluate(config, registry, home, transport=models.transport, endpoint=endpoint)


def told(error: DabtError) -> str:
    return f"{error}"


def written(folder: Path, lines: list[str]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def row(number: int, target: str = "five") -> str:
    said = [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": target}]
    return json.dumps({"id": f"row-{number}", "messages": said})


def looked(folder: Path, lines: list[str], **keys: Any) -> EvalConfig:
    return EvalConfig.of_rows(str(written(folder, lines)), "base,toy:1", **keys)


# What is written


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (("baseline: nobody\n", ""), "", "baseline 'nobody' is none of the arms: base, few-shot, rag, adapter"),
        (("metric: nothing\n", "metric: fields\n"), "metric", "'nothing' is no figure"),
        (("safety: nothing\n", "safety: escalation_recall\n"), "safety", "'nothing' is no figure"),
        (("task: toyy\n", "task: toy\n"), "", "no task 'toyy' in"),
        (("  adapter: {version: toy:77}\n", "  adapter: {version: toy:newest}\n"), "arms.adapter.version", "toy:77"),
        (("  adapter: {verison: toy:1}\n", "  adapter: {version: toy:newest}\n"), "arms.adapter.verison", "no key"),
        (("repeats: 0\n", ""), "repeats", "1"),
        (("repeats: 1001\n", ""), "repeats", "1000"),
        (('metric: "a\\uD800"\n', "metric: fields\n"), "metric", "half of a surrogate pair"),
    ],
    ids=lambda value: value[0].strip() if isinstance(value, tuple) else None,
)
def test_what_is_not_there_is_told_with_its_place_before_anything_is_asked(
    workplace, trained, registry, home, models, change, place, words
) -> None:
    file = workplace / "toy.yaml"
    new, old = change
    whole = file.read_text()
    file.write_text(whole.replace(old, new) if old else new + whole)
    with pytest.raises((InvalidConfig, NotFound)) as error:
        run(EvalConfig.load(file), registry, home, models)
    assert words in told(error.value)
    assert place in told(error.value)
    assert not models.asked


def test_a_policy_that_compares_with_an_arm_that_was_not_measured_decides_nothing(
    workplace, trained, registry, home, models
) -> None:
    (workplace / "policy.yaml").write_text("rules: [{rule: beats, arm: somebody}]")
    evaluation = run(EvalConfig.load(workplace / "toy.yaml"), registry, home, models)
    assert {verdict.ruling for verdict in evaluation.verdicts} == {Ruling.UNDECIDED}
    assert "'somebody' was not measured" in evaluation.verdicts[0].why


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "JSON"),
        ("[1, 2]", "rows.jsonl:2"),
        ('{"messages": []}', "rows.jsonl:2"),
        ('{"messages": [{"role": "user", "content": "no answer"}]}', "rows.jsonl:2"),
        (row(0), "the id row-0 is that of line 1"),
        ('{"prompt": "q", "completion": "a\\ud800"}', "surrogate"),
        (f'{{"prompt": "q", "completion": {DIGITS}}}', "rows.jsonl:2"),
        (f'{{"prompt": "q", "completion": {NESTED}}}', "rows.jsonl:2"),
    ],
    ids=[
        "no JSON",
        "a list",
        "no turns",
        "no answer",
        "an id twice",
        "half a character",
        "4,301 digits",
        "500 brackets",
    ],
)
def test_a_malformed_item_is_told_with_file_and_line_and_no_other_is_asked(
    trained, registry, home, models, tmp_path: Path, line: str, words: str
) -> None:
    with pytest.raises(InvalidData) as error:
        run(looked(tmp_path, [row(0), line, row(2)]), registry, home, models)
    assert words in told(error.value)
    assert "rows.jsonl:2" in told(error.value)
    assert not models.asked


# What is answered

ODD_TEXTS = {
    "4,301 digits": DIGITS,
    "4,301 digits in JSON": f'{{"n": {DIGITS}}}',
    "500 brackets": NESTED,
    "500 brackets in JSON": f'{{"n": {NESTED}}}',
    "half a character": "five \ud800",
    "NUL": "\x00",
    "nothing": "",
}


@pytest.mark.parametrize("target", ["five", '{"n": 5}', "5"], ids=["text", "JSON", "number"])
def test_an_odd_answer_is_scored_and_every_item_is_in_every_figure(
    trained, registry, home, models, tmp_path: Path, target: str
) -> None:
    texts = list(ODD_TEXTS.values())

    def before(models, version, question):
        if version == "toy:1":
            return None
        choice = {"message": {"content": texts[int(question.split()[1]) % len(texts)]}, "finish_reason": "stop"}
        who = models._who(registry.version(version))
        return httpx.Response(200, headers=who, content=json.dumps({"choices": [choice]}))  # escapes half characters

    models.before = before
    models.speaks |= {"adapter": lambda _: target}
    evaluation = run(looked(tmp_path, [row(at, target) for at in range(N)], noise_items=0), registry, home, models)
    base, adapter = evaluation.report.arms
    for arm in (base, adapter):
        assert {figure.n for figure in arm.metrics.values()} == {N}
        assert (arm.errors, arm.unscored) == (0, {})
    metric = evaluation.report.metric
    assert (base.metrics[metric].value < 0.2, adapter.metrics[metric].value) == (True, 1.0)
    rows = (evaluation.folder / "items.jsonl").read_text("utf-8").splitlines()
    assert len(rows) == N


ODD_REPLIES: dict[str, Any] = {
    "an empty object": {},
    "no choice": {"choices": []},
    "choices that are none": {"choices": "five"},
    "a choice that is none": {"choices": ["five"]},
    "content in parts": {"choices": [{"message": {"content": [{"type": "text", "text": "five"}]}}]},
    "a message that is none": {"choices": [{"message": "five"}]},
    "calls that are none": {"choices": [{"message": {"content": "", "tool_calls": ["f"]}}]},
    "a call of nothing": {"choices": [{"message": {"content": "", "tool_calls": [{"function": "f"}]}}]},
    "an end that is none": {"choices": [{"message": {"content": "five"}, "finish_reason": 7}]},
    "tokens that are none": {"choices": [{"message": {"content": "five"}}], "usage": {"prompt_tokens": "many"}},
    "passages that are none": {"choices": [{"message": {"content": "five"}}], "dabt": {"passages": ["h07"]}},
    "a list": [],
    "nested without end": "[" * 5000,
    **{
        f"a call with {levels} levels": '{"choices": [{"message": {"tool_calls": [{"function": {"a": '
        + "[" * levels
        + "]" * levels
        + "}}]}}]}"
        for levels in (300, 900)
    },
}
"""JSON, or a body as it is."""


def test_a_reply_of_any_shape_is_a_failure_that_counts(trained, registry, home, models, tmp_path: Path) -> None:
    replies = list(ODD_REPLIES.values())

    def before(models, version, question):
        number = int(question.split()[1])
        who = models._who(registry.version(version))
        odd = version == "toy:1" and number < len(replies)
        if not odd:
            return None
        body = replies[number]
        return httpx.Response(200, headers=who, text=body if isinstance(body, str) else json.dumps(body))

    models.before = before
    models.speaks = dict.fromkeys(models.speaks, lambda _: "five")
    evaluation = run(looked(tmp_path, [row(at) for at in range(N)], noise_items=0), registry, home, models)
    base, adapter = evaluation.report.arms
    assert (base.errors, adapter.errors) == (0, len(replies))
    assert {figure.n for figure in adapter.metrics.values()} == {N}
    assert adapter.metrics[evaluation.report.metric].value == pytest.approx(1 - len(replies) / N)
    rows = [json.loads(line) for line in (evaluation.folder / "items.jsonl").read_text("utf-8").splitlines()]
    for name, made in zip(ODD_REPLIES, rows, strict=False):
        assert made["arms"]["toy:1"]["error"], name


# Who answers


def test_an_endpoint_that_is_down_is_told_at_once(config, registry, home, models) -> None:
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(Unavailable, match="start one with `dabt serve`"):
        evaluate(config, registry, home, transport=httpx.MockTransport(down), endpoint=QUICK)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_storm_costs_tries_and_no_item(config, registry, home, models, status: int) -> None:
    """Each request is refused twice before it is answered: it is asked again, and nothing is lost."""
    models.before = lambda models, *asked: httpx.Response(status) if models.asked[asked] < 3 else None
    patient = QUICK.model_copy(update={"retries": 2})
    report = run(config.model_copy(update={"noise_items": 0}), registry, home, models, patient).report
    assert ([arm.errors for arm in report.arms], report.provisional) == ([0] * 4, ())
    assert {arm.metrics["fields"].n for arm in report.arms} == {40}
    assert report.result("adapter").metrics["fields"].value == 1.0
    assert set(models.asked.values()) == {3}


@pytest.mark.parametrize("status", [429, 500])
def test_a_storm_that_lasts_stops_the_run_and_keeps_what_is_finished(config, registry, home, models, status) -> None:
    models.before = lambda models, *_: httpx.Response(status) if sum(models.answered.values()) >= 25 else None
    with pytest.raises(Unavailable, match="run the same command to go on"):
        run(config, registry, home, models)
    assert not registry.reports()
    models.before = lambda *_: None
    run(config.model_copy(update={"noise_items": 0}), registry, home, models)
    assert set(models.answered.values()) == {1}


# What was seen before


def test_items_that_stand_in_a_prompt_are_counted_and_the_run_decides_nothing(
    workplace, trained, registry, home, models
) -> None:
    seen = '{"user": "I HAVE pain 7!", "assistant": "{}"}\n{"user": "hi", "assistant": "{}"}\n'
    seen += '{"user": "I have pain 7", "assistant": "twice, and yet one item"}\n'
    (workplace / "shots.jsonl").write_text(seen)
    evaluation = run(EvalConfig.load(workplace / "toy.yaml"), registry, home, models)
    (reason,) = evaluation.report.provisional
    assert reason == "1 item is among the worked examples of few-shot (toy-07): take them out of one side"
    assert {verdict.decides for verdict in evaluation.verdicts} == {False}
    assert {arm.metrics["fields"].n for arm in evaluation.report.arms} == {40}, "they stay in every figure"
    assert reason in (evaluation.folder / "report.md").read_text("utf-8")


@pytest.mark.parametrize("there", [True, False], ids=["the file is there", "the file is gone"])
def test_items_that_an_arm_was_trained_on_are_counted_where_the_rows_are_still_there(
    config, registry, home, models, tmp_path: Path, there: bool
) -> None:
    pairs = ('{"prompt": "I have pain 3", "completion": "x"}', '{"prompt": "other", "completion": "y"}')
    rows = written(tmp_path, [*pairs])
    artifact = registry.version("toy:1").spec.adapter
    manifest = registry.artifact(artifact).model_copy(update={"config": {"data": {"train": [{"path": str(rows)}]}}})
    assert manifest.digest == artifact
    if not there:
        rows.unlink()
    known = leaks(load_suite(config, home.cache).samples, resolve_arms(config, registry, actor="t"), Told(manifest))
    told = ("1 item is among the rows that trained adapter (toy-03): take them out of one side",)
    assert known == (told if there else ())


class Told:
    """A registry whose artifact was trained on known rows."""

    def __init__(self, manifest: Any) -> None:
        self._manifest = manifest

    def artifact(self, digest: str) -> Any:
        return self._manifest
