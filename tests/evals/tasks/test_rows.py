"""Rows that training reads, as they are: chat with tools and several turns, pairs, classes, preferences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.config import EvalConfig
from evals.gate.suites import facts_of
from evals.scorers.overlap import Bleu
from evals.scorers.scorer import Figure, Kind
from evals.tasks.by_shape import scorers_for
from evals.tasks.loading import load_suite
from evals.tasks.rows import read
from evals.tasks.suite import undecidable
from lifecycle.errors import InvalidConfig, InvalidData
from lifecycle.home import Home

TOOL = {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "book", "arguments": '{"day": "sunday"}'}}


def rows(path: Path, *given: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in given), encoding="utf-8")
    return path


def pairs(*targets: str) -> list[dict[str, Any]]:
    return [{"prompt": f"q {at}", "completion": target} for at, target in enumerate(targets)]


def test_a_conversation_keeps_its_turns_its_tools_and_its_calls(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "briefly"},
        {"role": "user", "content": "book it"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
        {"role": "assistant", "content": "booked"},
        {"role": "user", "content": "once more"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
    ]
    row = {
        "id": "a",
        "messages": turns,
        "tools": [TOOL],
        "parallel_tool_calls": False,
        "meta": {"lang": "en", "who": 3},
    }
    (sample,) = read(rows(tmp_path / "t.jsonl", row), "who", ["lang"]).samples
    assert [turn["role"] for turn in sample.messages] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert sample.messages[2]["tool_calls"] == [CALL]
    assert sample.target == {"tool_calls": [{"name": "book", "arguments": {"day": "sunday"}}]}
    assert (sample.tools, sample.parallel_tool_calls) == ((TOOL,), False)
    assert (sample.id, sample.cluster, sample.slices, sample.question) == ("a", "3", {"lang": "en"}, "once more")


def test_a_class_is_a_target_and_so_is_the_better_of_two_answers(tmp_path: Path) -> None:
    (labelled,) = read(rows(tmp_path / "l.jsonl", {"text": "خدمة ممتازة", "label": 1})).samples
    assert (labelled.question, labelled.target) == ("خدمة ممتازة", "1")
    (pair,) = read(rows(tmp_path / "p.jsonl", {"prompt": "q", "chosen": "good", "rejected": "bad"})).samples
    assert (pair.question, pair.target, pair.metadata) == ("q", "good", {"rejected": "bad"})


def test_every_bad_row_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    good = {"id": "a", "prompt": "q", "completion": "a", "meta": {"who": 1}}
    silent = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "q"}]
    last = {"role": "assistant", "content": "a", "weight": 0}
    lines = [good, good, {"prompt": "q"}, {**good, "id": "b", "meta": {}}, {"id": "c", "messages": [*silent, last]}]
    rows(path, *lines)
    with pytest.raises(InvalidData) as error:
        read(path, "who")
    told = [(problem.place.rpartition(":")[2], problem.fault) for problem in error.value.problems]
    assert [line for line, _ in told] == ["2", "3", "4", "5", "5"]
    assert "the id a is that of line 1" in told[0][1]
    assert "its meta has no 'who'" in told[2][1]


@pytest.mark.parametrize("row", [{"text": "only a text"}, {"prompt": "q", "completion": "a", "kto_tag": True}])
def test_rows_without_a_target_are_refused(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(InvalidData, match="and no conversations or"):
        read(rows(tmp_path / "t.jsonl", row))


SHAPES: dict[str, tuple[list[dict[str, Any]], list[str], str]] = {
    "tools": (
        [
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "tools": [TOOL]},
        ],
        ["tool_calls"],
        "tool_calls",
    ),
    "classes": ([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], ["label"], "accuracy"),
    "few words again and again": (pairs("yes", "no", "Yes.", "no"), ["label"], "accuracy"),
    "json": (pairs('{"a": 1}', '{"a": 2}'), ["json"], "fields"),
    "preferences": ([{"prompt": "q", "chosen": "a b", "rejected": "c"}], ["chrf", "nearer", "f1"], "chrf"),
    "short texts": (pairs("in the red house", "by bus"), ["normalised", "exact", "f1"], "normalised"),
    "long texts": (pairs("word " * 11, "short"), ["chrf", "rouge", "f1"], "chrf"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_scorers_follow_from_the_targets_shape(tmp_path: Path, shape: str) -> None:
    given, names, decides = SHAPES[shape]
    read_ = read(rows(tmp_path / "t.jsonl", *given))
    scorers, metric = scorers_for(read_.samples, read_.kind)
    assert ([scorer.type for scorer in scorers], metric) == (names, decides)


def config(path: Path, **more: Any) -> EvalConfig:
    return EvalConfig.of_rows(str(path), "base,toy:1", **more)


def test_the_same_items_are_the_same_under_a_task_of_lm_evals(workplace: Path, trained: str, home: Home) -> None:
    """Who tries on the same items often spends the same budget, whichever way they are named."""
    theirs = load_suite(EvalConfig.load(workplace / "toy.yaml"), home.cache)
    ours = load_suite(config(workplace / "tasks" / "test.jsonl"), home.cache)
    assert ours.data_digest == theirs.data_digest
    assert ours.digest != theirs.digest


def test_whatever_decides_a_figure_is_in_the_digest(workplace: Path, home: Home) -> None:
    data = rows(workplace / "rows.jsonl", *pairs("a b", "c d"))
    short = workplace / "short.yaml"

    def digest(text: str) -> str:
        short.write_text(text)
        (workplace / "own.yaml").write_text(
            "name: toy\npolicy: policy.yaml\ntask: short.yaml\narms:\n  base: {}\n  new: {version: toy:1}\n"
        )
        return load_suite(EvalConfig.load(workplace / "own.yaml"), home.cache).digest

    first = digest("data: rows.jsonl\nscorers: [f1]\n")
    assert digest("data: rows.jsonl\nscorers: [{type: f1, normaliser: light-1}]\nmetric: token_f1\n") == first
    others = {
        first,
        digest("data: rows.jsonl\nscorers: [exact]\n"),
        digest("data: rows.jsonl\nscorers: [f1]\nsolver: {type: chat, max_tokens: 9}\n"),
        digest("data: rows.jsonl\nscorers: [f1]\nsolver: turns\n"),
    }
    rows(data, *pairs("a b", "c e"))
    assert len({*others, digest("data: rows.jsonl\nscorers: [f1]\n")}) == 5


def test_a_task_file_tells_all_of_its_faults_at_once(workplace: Path, home: Home) -> None:
    rows(workplace / "rows.jsonl", *pairs("a"))
    (workplace / "short.yaml").write_text("data: rows.jsonl\nsolver: chatt\nscorers: [f2, {type: regex}, exact]\n")
    (workplace / "own.yaml").write_text(
        "name: toy\npolicy: policy.yaml\ntask: short.yaml\narms:\n  base: {}\n  new: {version: toy:1}\n"
    )
    with pytest.raises(InvalidConfig) as error:
        load_suite(EvalConfig.load(workplace / "own.yaml"), home.cache)
    places = [problem.place.rpartition(": ")[2] for problem in error.value.problems]
    assert places == ["solver", "scorers.0", "scorers.1.pattern"]
    assert "there is exact, normalised" in error.value.problems[1].cure


def test_targets_that_a_scorer_cannot_score_are_told_with_their_lines(workplace: Path, home: Home) -> None:
    rows(workplace / "rows.jsonl", *pairs('{"a": 1}', "no json", '{"a": 2}'))
    (workplace / "short.yaml").write_text("data: rows.jsonl\nscorers: [json]\nmetric: fields\n")
    (workplace / "own.yaml").write_text(
        "name: toy\npolicy: policy.yaml\ntask: short.yaml\narms:\n  base: {}\n  new: {version: toy:1}\n"
    )
    with pytest.raises(InvalidData) as error:
        load_suite(EvalConfig.load(workplace / "own.yaml"), home.cache)
    (problem,) = error.value.problems
    assert problem.place.endswith("rows.jsonl:2 target")


@pytest.mark.parametrize(
    ("metric", "said"),
    [("rogue", "no figure that the items"), ("accuracy", ""), ("macro_f1", "")],
)
def test_what_cannot_decide_is_refused(tmp_path: Path, home: Home, metric: str, said: str) -> None:
    path = rows(tmp_path / "t.jsonl", {"text": "a", "label": "x"}, {"text": "b", "label": "y"})
    if not said:
        assert load_suite(config(path, metric=metric), home.cache).metric == metric
        return
    with pytest.raises(InvalidConfig, match="cannot be decided") as error:
        load_suite(config(path, metric=metric), home.cache)
    assert said in str(error.value.problems[0])


def test_what_is_of_all_items_together_and_does_not_pair_decides_nothing() -> None:
    theirs, f1 = Figure(name="meteor", kind=Kind.STATISTIC), Figure(name="macro_f1", kind=Kind.STATISTIC, pairs=True)
    assert undecidable("t", list(Bleu().figures()), "bleu", None) == []
    (problem,) = undecidable("t", [theirs], "meteor", None)
    assert "two arms are not paired by it" in problem.fault
    assert "such as chrf" in problem.cure
    (problem,) = undecidable("t", [Figure(name="accuracy"), f1], "macro_f1", "macro_f1")
    assert (problem.place, problem.cure) == ("safety", "one of accuracy")
    assert "safety is told by single items" in problem.fault


def test_two_scorers_that_give_one_figure_are_refused(workplace: Path, home: Home) -> None:
    rows(workplace / "rows.jsonl", *pairs("a"))
    (workplace / "short.yaml").write_text("data: rows.jsonl\nscorers: [exact, exact]\n")
    (workplace / "own.yaml").write_text(
        "name: toy\npolicy: policy.yaml\ntask: short.yaml\narms:\n  base: {}\n  new: {version: toy:1}\n"
    )
    with pytest.raises(InvalidConfig, match="cannot be scored"):
        load_suite(EvalConfig.load(workplace / "own.yaml"), home.cache)


def test_a_task_file_of_lm_evals_is_told_apart(workplace: Path, home: Home) -> None:
    text = (workplace / "toy.yaml").read_text().replace("task: toy\ntask_files: tasks\n", "task: tasks/toy.yaml\n")
    (workplace / "own.yaml").write_text(text)
    with pytest.raises(InvalidConfig, match="cannot be used") as error:
        load_suite(EvalConfig.load(workplace / "own.yaml"), home.cache)
    assert "task_files" in error.value.problems[0].cure


def test_a_part_of_the_rows_is_a_seeded_sample(tmp_path: Path, home: Home) -> None:
    path = rows(tmp_path / "t.jsonl", *pairs(*(f"answer number {n}" for n in range(30))))
    whole, part = load_suite(config(path), home.cache), load_suite(config(path, limit=7), home.cache)
    assert (len(part.samples), part.whole, part.digest) == (7, 30, whole.digest)
    assert [sample.id for sample in part.samples] != [sample.id for sample in whole.samples[:7]]


def test_clusters_of_a_task_file_are_a_part_of_what_a_gate_asks_for(workplace: Path, home: Home, registry: Any) -> None:
    given = [{"prompt": f"q {n}", "completion": "a b c", "meta": {"who": n // 2}} for n in range(6)]
    rows(workplace / "rows.jsonl", *given)
    (workplace / "own.yaml").write_text(
        "name: toy\npolicy: policy.yaml\ntask: short.yaml\narms:\n  base: {}\n  new: {version: toy:1}\n"
    )
    facts = []
    for text in ("data: rows.jsonl\n", "data: rows.jsonl\ncluster: who\n"):
        (workplace / "short.yaml").write_text(text)
        own = EvalConfig.load(workplace / "own.yaml")
        suite = load_suite(own, home.cache)
        facts.append(facts_of(own, suite, registry))
    assert facts[0].differences(facts[1]) == ["the clusters"]
    assert [sample.cluster for sample in suite.samples] == ["0", "0", "1", "1", "2", "2"]
