"""NeMo Evaluator's result files, in the form that its own writer gave (`write_all` of 0.3.0, run once by hand; the
package needs a newer Python than ours, so no test runs it)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.archive.diff import compare
from evals.archive.library import Kept
from evals.foreign.taking import take_in
from lifecycle.errors import InvalidData
from lifecycle.home import Home

BUNDLE: dict[str, Any] = {
    "run_id": "eval-20260301T120000Z-gsm8k",
    "config_hash": "sha256:99dc",
    "sdk_version": "0.3.0",
    "timestamp": "2026-03-01T12:00:00.209263+00:00",
    "config": {"model": "triage:3", "model_url": "http://user:secret@h/v1", "temperature": 0.0, "repeats": 2,
               "benchmark": "gsm8k", "api_key": "secret"},
    "benchmark": {
        "name": "gsm8k",
        "samples": 4,
        "repeats": 2,
        "scores": {
            "pass@1": {"value": 0.625, "ci_lower": 0.2007, "ci_upper": 1.0493, "bootstrap_ci_lower": 0.5,
                       "bootstrap_ci_upper": 0.875},
            "pass@2": {"value": 1.0, "bootstrap_ci_lower": 0.9, "bootstrap_ci_upper": 1.0},
            "summary": {"mean": 0.625, "std": 0.5175, "min": 0.0, "max": 1.0, "median": 1.0, "n": 8},
        },
        "categories": {"ar": {"mean_reward": 0.5, "n": 8}},
    },
    "n_results": 8,
}  # fmt: skip


def rows() -> list[dict[str, Any]]:
    return [
        {
            "problem_idx": number, "repeat": repeat, "reward": float((number + repeat) % 2 == 0 or number == 0),
            "scorer_rewards": {"scorer:exact": 1.0}, "prompt": f"كم {number}؟", "model_response": f"جواب {number}",
            "extracted_answer": None, "expected_answer": str(number), "scoring_details": {"method": "answer_line"},
            "metadata": {"category": "ar"}, "tokens": 7, "latency_ms": 12.5,
        }
        for number in range(4)
        for repeat in range(2)
    ]  # fmt: skip


def written(folder: Path, bundle: dict[str, Any], lines: list[dict[str, Any]] | None) -> Path:
    folder.mkdir()
    (folder / f"{bundle['run_id']}.json").write_text(json.dumps(bundle, indent=2))
    if lines is not None:
        (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def kept(tmp_path: Path, home: Home) -> Kept:
    (kept,) = take_in([written(tmp_path / "run", BUNDLE, rows())], home)
    return kept


def test_a_bundle_is_a_report_over_its_items_with_repeats_as_their_mean(kept) -> None:
    report = kept.report
    (arm,) = report.arms
    assert (report.task, arm.arm, report.n_items, report.metric) == ("gsm8k", "triage:3", 4, "reward")
    assert arm.metrics["reward"].value == 0.625
    assert arm.metrics["reward"].n == 4, "an item that is asked twice is one item"
    assert (arm.metrics["pass@2"].low, arm.metrics["pass@2"].high) == (0.9, 1.0)
    assert report.imported.tool == "NeMo Evaluator 0.3.0"
    assert report.imported.notes == ("each item was asked 2 times, and its score is the mean of them",)
    assert report.created_at.isoformat() == "2026-03-01T12:00:00.209263+00:00"
    first, second, *_ = kept.items()
    assert (first.question, first.target, first.slices) == ("كم 0؟", "0", {"category": "ar"})
    assert (first.arms["triage:3"].scores, second.arms["triage:3"].scores["reward"]) == (
        {"reward": 1.0, "scorer:exact": 1.0}, 0.5,
    )  # fmt: skip


def test_no_address_and_no_key_is_kept(kept) -> None:
    assert "secret" not in (kept.folder / "report.json").read_text("utf-8")


def test_two_runs_are_compared_and_another_setting_of_the_benchmark_is_another_task(kept, tmp_path, home) -> None:
    better = [{**row, "reward": 1.0} for row in rows()]
    config = BUNDLE["config"]
    (later,) = take_in(
        [written(tmp_path / "later", {**BUNDLE, "config": config | {"model": "triage:4"}}, better)], home
    )
    diff = compare(kept, later)
    assert (diff.comparable, diff.both, diff.arms[0].paired.delta) == (True, 4, 0.375)
    assert (diff.arms[0].before_arm, diff.arms[0].after_arm) == ("triage:3", "triage:4")
    other = {**BUNDLE, "config": config | {"system_prompt": "Think."}}
    (other,) = take_in([written(tmp_path / "other", other, rows())], home)
    assert "asked or scored in another way" in compare(kept, other).reasons[0]


def test_the_older_file_gives_its_statistics_and_says_that_it_has_no_items(tmp_path, home) -> None:
    stats = {"count": 100, "mean": 0.5, "stderr": 0.05}
    scores = {"micro": {"value": 0.5, "stats": stats}, "plain": {"value": 0.4}}
    body = {
        "config": {"type": "mmlu_pro", "params": {"extra": {"num_fewshot": 5}}},
        "target": {"api_endpoint": {"model_id": "meta/llama", "url": "http://x", "api_key": "secret"}},
        "results": {"tasks": {"mmlu_pro": {"metrics": {"accuracy": {"scores": scores}}}}, "groups": {}},
    }
    (tmp_path / "results.yml").write_text(json.dumps(body))  # JSON is YAML
    (kept,) = take_in([tmp_path], home)
    figure = kept.report.arms[0].metrics["accuracy,micro"]
    assert (figure.value, figure.n, kept.report.n_items) == (0.5, 100, 100)
    assert figure.low == pytest.approx(0.402, abs=1e-3)
    assert "no items" in kept.report.imported.notes[0]
    assert "accuracy,plain = 0.4000 is left out" in kept.report.imported.notes[1]
    assert not kept.has_items


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "no JSON"), ("[]", "no result file"), ("[" * 5000, "no JSON"), ("{}", "no result file"),
        ('{"results": {"a": {"acc,none": 1' + "0" * 5000 + '}}, "configs": {"a": {}}}', "no JSON"),
        ('{"benchmark": {"name": "x", "scores": [1]}}', "not in the form"),
        ('{"benchmark": {"name": "x", "scores": {}}}', "no figure with an interval"),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_file_of_another_form_is_told_and_nothing_is_kept(text: str, fault: str, tmp_path, home) -> None:
    (tmp_path / "eval-x.json").write_text(text)
    with pytest.raises(InvalidData, match=fault):
        take_in([tmp_path / "eval-x.json"], home)
    assert not home.evaluations.exists()


def test_all_that_is_wrong_in_all_files_is_told_at_once_and_nothing_is_kept(tmp_path, home) -> None:
    bad = [{"reward": 1.0}, *rows()[:1], {"prompt": "x"}]
    good, torn = written(tmp_path / "good", BUNDLE, rows()), written(tmp_path / "torn", BUNDLE, bad)
    endless = tmp_path / "endless" / "results.yml"
    endless.parent.mkdir()
    endless.write_text("results: {tasks: {a: .inf, b: {metrics: {m: -.inf}}}}")
    (tmp_path / "odd.json").write_text("[]")
    (tmp_path / "folder" / "results_x.json").mkdir(parents=True)
    with pytest.raises(InvalidData) as error:
        take_in([good, torn, endless, tmp_path / "odd.json", tmp_path / "folder"], home)
    told = [(problem.place.rpartition("/")[2], problem.fault) for problem in error.value.problems]
    assert [fault for _, fault in told] == [
        "no result file is there, neither results_*.json, eval-*.json nor results.yml",
        *["is no record: it has no `problem_idx`"] * 2,
        "is inf, which is no number to work with",
        "is -inf, which is no number to work with",
        "is no result file of lm-eval or NeMo Evaluator",
    ]
    assert [place for place, _ in told] == [
        "folder", "results.jsonl:1", "results.jsonl:3", "results.yml: results.tasks.a",
        "results.yml: results.tasks.b.metrics.m", "odd.json",
    ]  # fmt: skip
    assert not home.evaluations.exists()


def test_a_task_without_a_figure_is_told_beside_the_others(tmp_path, home) -> None:
    bundles = [{"run_id": "eval-x", "benchmark": {"name": name, "scores": {}}} for name in ("a", "b")]
    folders = [written(tmp_path / bundle["benchmark"]["name"], bundle, []) for bundle in bundles]
    with pytest.raises(InvalidData) as error:
        take_in(folders, home)
    places = [problem.place for problem in error.value.problems]
    assert places == [f"{folder / 'eval-x.json'}: {folder.name}" for folder in folders]


def test_odd_texts_and_numbers_in_the_records(tmp_path, home) -> None:
    odd = rows()[:2]
    odd[0] |= {"prompt": "half \ud800 of it", "reward": float("nan"), "problem_idx": 0}
    odd[1] |= {"problem_idx": 1, "reward": True}
    (kept,) = take_in([written(tmp_path / "odd", BUNDLE, odd)], home)
    first, second = kept.items()
    assert first.question == "half \ufffd of it"
    assert first.arms["triage:3"].unscored == {"reward": "the record has no reward"}
    assert second.arms["triage:3"].scores["reward"] == 1.0
    assert kept.report.arms[0].unscored == {"reward": {"the record has no reward": 1}}


def test_a_record_without_a_number_and_a_path_without_results_are_told(tmp_path, home) -> None:
    with pytest.raises(InvalidData, match=r"results\.jsonl:1: is no record"):
        take_in([written(tmp_path / "run", BUNDLE, [{"reward": 1.0}])], home)
    with pytest.raises(InvalidData, match="nothing: no result file is there, neither"):
        take_in([tmp_path / "nothing"], home)
