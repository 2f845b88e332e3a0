"""`dabt eval --data test.jsonl --arms base,toy:1`: rows alone, and short task files, against fake models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.run import evaluate
from lifecycle.errors import InvalidConfig, InvalidInput

QUICK = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
TOOL = {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def classes(tmp_path: Path) -> str:
    rows = [{"text": f"text {n}", "label": ("good", "bad")[n % 2]} for n in range(40)]
    return written(tmp_path / "Our Moods.jsonl", rows)


def test_rows_and_two_arms_are_an_evaluation(classes, trained, registry, home, models) -> None:
    models.speaks |= {"base": lambda _: "good", "adapter": lambda q: ("Good.", "bad")[int(q.split()[1]) % 2]}
    config = EvalConfig.of_rows(classes, "base,toy:1")
    made = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    report = made.report
    assert (report.task, report.metric, report.n_items) == ("Our Moods", "accuracy", 40)
    assert {arm.arm: arm.metrics["accuracy"].value for arm in report.arms} == {"base": 0.5, "toy:1": 1.0}
    assert report.arms[0].metrics["macro_f1"].value == pytest.approx(1 / 3)
    assert report.arms[0].tables == {"confusion": {"good": {"good": 20}, "bad": {"good": 20}}}
    assert "no evaluation file says what decides" in report.provisional
    assert not any(verdict.decides for verdict in made.verdicts)
    asked = sum(models.asked.values())
    evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    assert sum(models.asked.values()) == asked


def test_macro_f1_decides_and_stands_in_slices_examples_and_rules(classes, trained, registry, home, models) -> None:
    models.speaks |= {"base": lambda _: "good", "adapter": lambda q: ("Good.", "bad")[int(q.split()[1]) % 2]}
    config = EvalConfig.of_rows(classes, "base,toy:1").model_copy(update={"metric": "macro_f1"})
    made = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    report = made.report
    assert (report.metric, report.item_metric) == ("macro_f1", "accuracy")
    (gap,) = report.comparisons
    assert (gap.metric, gap.test, gap.n) == ("macro_f1", "approximate-randomisation", 40)
    assert gap.delta == pytest.approx(2 / 3)
    assert report.slice({"label": "bad"}).arms[1].metrics["macro_f1"].value == 1.0
    assert report.slice({"label": "bad"}).comparisons[0].delta == 1.0
    assert {score for example in report.examples for score in example.scores.values()} == {0.0, 1.0}
    beats = next(check for check in made.verdicts[0].checks if check.rule == "beats base")
    assert beats.ruling == "passed"
    assert "on macro_f1 over 40 items" in beats.detail


def test_what_was_said_of_what_was_right_is_in_the_reports(classes, trained, registry, home, models) -> None:
    models.speaks |= {"base": lambda _: "good", "adapter": lambda _: "perhaps"}
    config = EvalConfig.of_rows(classes, "base,toy:1")
    folder = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK).folder
    markdown = (folder / "report.md").read_text("utf-8")
    assert "| good | 20 | 0 |" in markdown
    assert "(none)" in markdown


@pytest.mark.parametrize(
    ("data", "arms", "places"),
    [
        (None, "base,toy:1", ["--data"]),
        ("x.jsonl", "", ["--arms"]),
        (None, "", ["--data", "--arms"]),
        ("x.jsonl", "base,base", ["--arms"]),
        ("x.jsonl", "base", ["--arms"]),
        ("x.jsonl", "base,toy:1", ["the options: data"]),
    ],
)
def test_what_is_missing_is_told_by_its_option(data: str | None, arms: str, places: list[str]) -> None:
    with pytest.raises(InvalidConfig) as error:
        EvalConfig.of_rows(data, arms)
    assert [problem.place for problem in error.value.problems] == places


def test_an_arm_that_there_is_not_is_told(classes, trained, registry, home, models) -> None:
    config = EvalConfig.of_rows(classes, "base,toy:1,toy:77")
    with pytest.raises(InvalidConfig, match="arms cannot be made into versions") as error:
        evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    assert error.value.problems[0].place == "arms.toy:77.version"
    with pytest.raises(InvalidConfig) as error:
        EvalConfig.of_rows(classes, "base,Few Shots")
    assert "Few Shots" in str(error.value.problems[0])


class Calls:
    """Answers with tool calls, as an OpenAI server does; the rest is the fake models'."""

    def __init__(self, models: Any, says: Any) -> None:
        self._models, self._says = models, says
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        reply = self._models._handle(request)
        if not request.url.path.endswith("/chat/completions"):
            return reply
        body = json.loads(request.content)
        self.bodies.append(body)
        whole = reply.json()
        whole["choices"][0]["message"] = {"role": "assistant", **self._says(body)}
        headers = {key: value for key, value in reply.headers.items() if key.startswith("x-dabt")}
        return httpx.Response(200, headers=headers, content=json.dumps(whole).encode())  # \ud83d and all


def call(arguments: str, called: str = "c1") -> dict[str, Any]:
    return {"id": called, "type": "function", "function": {"name": "book", "arguments": arguments}}


def test_tools_are_sent_and_calls_are_scored(tmp_path, trained, registry, home, models) -> None:
    day = [{"role": "assistant", "content": "", "tool_calls": [call('{"day": "sunday"}')]}]
    rows = [
        {"id": "call", "messages": [{"role": "user", "content": "book sunday"}, *day], "tools": [TOOL]},
        {
            "id": "none",
            "messages": [{"role": "user", "content": "sing"}, {"role": "assistant", "content": "No."}],
            "tools": [TOOL],
        },
    ]
    models.speaks |= {"base": lambda _: "", "adapter": lambda _: ""}

    def says(body: dict[str, Any]) -> dict[str, Any]:
        if body["model"] == "toy:1" and body["messages"][-1]["content"] == "sing":
            return {"content": "I cannot."}
        return {"content": None, "tool_calls": [call('{"day": "sunday"}')]}

    server = Calls(models, says)
    config = EvalConfig.of_rows(written(tmp_path / "calls.jsonl", rows), "base,toy:1")
    transport = httpx.MockTransport(server)
    report = evaluate(config, registry, home, transport=transport, endpoint=QUICK).report
    assert {arm.arm: arm.metrics["tool_calls"].value for arm in report.arms} == {"base": 0.5, "toy:1": 1.0}
    assert {arm.arm: arm.metrics["no_call"].value for arm in report.arms} == {"base": 0.0, "toy:1": 1.0}
    assert [arm.metrics["tool_names"].n for arm in report.arms] == [1, 1]
    sent = [body for body in server.bodies if body["messages"][-1]["content"] != "Hello"]
    assert all(body["tools"] == [TOOL] for body in sent)
    (file,) = home.evaluations.rglob("items.jsonl")
    first = json.loads(file.read_text("utf-8").splitlines()[0])
    assert first["arms"]["base"]["answer"] == 'book({"day": "sunday"})'


def own(workplace: Path, base_model: Path, task: str) -> EvalConfig:
    (workplace / "short.yaml").write_text(task)
    (workplace / "own.yaml").write_text(
        f"name: toy\npolicy: policy.yaml\ntask: short.yaml\nbase: {base_model}\n"
        "noise_items: 0\narms:\n  base: {}\n  adapter: {version: toy:newest}\n"
    )
    return EvalConfig.load(workplace / "own.yaml")


def test_turns_are_asked_one_by_one_behind_the_versions_own_answers(
    workplace, base_model, trained, registry, home, models
) -> None:
    turns = [("user", "one"), ("assistant", "recorded"), ("user", "two"), ("assistant", "fin")]
    written(workplace / "rows.jsonl", [{"messages": [{"role": role, "content": text} for role, text in turns]}])
    models.speaks |= {"base": lambda q: f"said to {q}", "adapter": lambda q: "fin" if q == "two" else "hm"}
    config = own(workplace, base_model, "data: rows.jsonl\nsolver: turns\nscorers: [exact]\n")
    report = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK).report
    assert [arm.metrics["exact"].value for arm in report.arms] == [0.0, 1.0]
    second = [body["messages"] for body in models.bodies if body["messages"][-1]["content"] == "two"]
    assert {messages[1]["content"] for messages in second} == {"said to one", "hm"}
    assert all("recorded" not in json.dumps(messages) for messages in second)


def test_a_tool_gives_what_the_row_recorded_until_there_is_an_answer(
    workplace, base_model, trained, registry, home, models
) -> None:
    made = call('{"day": "sunday"}')
    turns = [
        {"role": "user", "content": "book sunday"},
        {"role": "assistant", "content": "", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c1", "content": "room 7"},
        {"role": "assistant", "content": "room 7"},
    ]
    written(workplace / "rows.jsonl", [{"messages": turns, "tools": [TOOL]}])
    models.speaks |= {"base": lambda _: "", "adapter": lambda _: ""}

    def says(body: dict[str, Any]) -> dict[str, Any]:
        last = body["messages"][-1]
        if last["role"] == "tool":
            return {"content": last["content"]}
        day = "sunday" if body["model"] == "toy:1" else "monday"
        return {"content": "", "tool_calls": [call(json.dumps({"day": day}), "mine")]}

    server = Calls(models, says)
    config = own(workplace, base_model, "data: rows.jsonl\nsolver: tools\nscorers: [exact]\n")
    transport = httpx.MockTransport(server)
    report = evaluate(config, registry, home, transport=transport, endpoint=QUICK).report
    assert [arm.metrics["exact"].value for arm in report.arms] == [0.0, 1.0]
    results = [body["messages"][-1] for body in server.bodies if body["messages"][-1]["role"] == "tool"]
    assert {(one["tool_call_id"], one["content"]) for one in results} == {
        ("mine", "room 7"),
        ("mine", "error: no result"),
    }


def test_half_a_character_in_an_answer_costs_no_run(classes, trained, registry, home, models) -> None:
    models.speaks |= {"base": lambda _: "good", "adapter": lambda _: "good"}
    server = Calls(models, lambda _: {"content": "good \ud83d", "tool_calls": [call("\ud83d")]})
    config = EvalConfig.of_rows(classes, "base,toy:1")
    report = evaluate(config, registry, home, transport=httpx.MockTransport(server), endpoint=QUICK).report
    assert [arm.metrics["labelled"].value for arm in report.arms] == [1.0, 1.0]


def test_the_command_takes_rows_or_a_file_and_not_both(tmp_path: Path, classes: str) -> None:
    from typer.testing import CliRunner

    from dabt import app

    result = CliRunner().invoke(app, ["eval", "x.yaml", "--arms", "base,toy:1"])
    assert isinstance(result.exception, InvalidInput) or "take --arms out" in result.output
