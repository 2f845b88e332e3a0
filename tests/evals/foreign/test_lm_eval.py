"""lm-eval's result files as lm-eval itself writes them: it is run with its own dummy model on local tasks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evals.archive.diff import compare
from evals.archive.library import Kept, Library
from evals.foreign.taking import take_in
from lifecycle.errors import InvalidData
from lifecycle.home import Home

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[3]
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
metric_list:
  - {{metric: {metric}, aggregation: mean, higher_is_better: true}}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run of `lm_eval --model dummy`, which always says "lol", over two tasks in Arabic."""
    folder = tmp_path_factory.mktemp("lm_eval")
    rows = [{"question": f"هل {n}؟", "answer": ("lol", "no")[n % 2]} for n in range(8)]
    data = folder / "items.jsonl"
    data.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    (folder / "tasks").mkdir()
    words = TASK.format(name="tiny_words", data=data, kind="generate_until", metric="exact_match")
    words += 'doc_to_target: "{{answer}}"\ngeneration_kwargs: {until: ["\\n"]}\n'
    (folder / "tasks" / "words.yaml").write_text(words)
    choice = TASK.format(name="tiny_choice", data=data, kind="multiple_choice", metric="acc")
    (folder / "tasks" / "choice.yaml").write_text(choice + 'doc_to_choice: ["نعم", "لا"]\ndoc_to_target: 0\n')
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "dummy", "--tasks", "tiny_words,tiny_choice"]
    command += ["--include_path", str(folder / "tasks"), "--output_path", str(folder / "out"), "--log_samples"]
    cache = {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "DISABLE_MULTIPROC": "1"}
    done = subprocess.run(command, env=os.environ | cache, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "out"


@pytest.fixture
def taken(results: Path, home: Home) -> dict[str, Kept]:
    return {kept.report.task: kept for kept in take_in([results], home)}


def test_each_task_is_a_report_with_the_tools_figures_and_our_intervals(taken, results) -> None:
    (file,) = results.rglob("results_*.json")
    figures = json.loads(file.read_text("utf-8"))["results"]
    for task, metric in (("tiny_words", "exact_match"), ("tiny_choice", "acc")):
        report = taken[task].report
        (arm,) = report.arms
        assert arm.metrics[metric].value == pytest.approx(figures[task][f"{metric},none"])
        assert (arm.metrics[metric].n, report.n_items, report.metric) == (8, 8, metric)
        assert report.imported is not None
        assert report.imported.tool == "lm-eval 0.4.13"
        assert report.imported.notes == ()
        assert report.imported.settings["model"] == "dummy"


def test_items_have_their_texts_in_arabic_and_their_scores(taken) -> None:
    rows = list(taken["tiny_words"].items())
    assert [row.question for row in rows] == [f"هل {n}؟" for n in range(8)]
    (answer,) = rows[0].arms.values()
    assert (rows[0].target, answer.answer, answer.scores) == ("lol", "lol", {"exact_match": 1.0})
    assert rows[0].key.startswith("tiny_words/0/")


def test_the_same_file_again_is_the_same_report_and_the_list_has_it_once(taken, results, home, registry) -> None:
    again = take_in([results], home)
    assert {kept.name for kept in again} == {kept.name for kept in taken.values()}
    listed, _ = Library(registry, home).reports()
    assert len(listed) == 2
    assert Library(registry, home).find("tiny_words:latest").report == taken["tiny_words"].report


def test_two_runs_are_compared_on_their_items(taken, results, home, tmp_path) -> None:
    shutil.copytree(results, tmp_path / "later")
    (path,) = (tmp_path / "later").rglob("samples_tiny_words*")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    lines[1]["exact_match"] = 1.0
    path.write_text("\n".join(json.dumps(line) for line in lines))
    later = next(kept for kept in take_in([tmp_path / "later"], home) if kept.report.task == "tiny_words")
    diff = compare(taken["tiny_words"], later)
    assert (diff.comparable, diff.both) == (True, 8)
    assert [flip.name for flip in diff.arms[0].flips] == ["tiny_words/1"]
    assert "by the tool and" in later.report.imported.notes[0], "the file's figure is not that of its items any more"


def test_nothing_imported_opens_a_gate(taken, registry) -> None:
    from lifecycle.errors import InvalidInput

    with pytest.raises(InvalidInput, match="names versions that this registry lacks"):
        registry.record_report(taken["tiny_words"].report)


def test_without_samples_the_figures_stand_and_the_items_are_said_to_be_missing(results, home, tmp_path) -> None:
    (file,) = results.rglob("results_*.json")
    shutil.copy(file, tmp_path)
    kept = next(kept for kept in take_in([tmp_path], home) if kept.report.task == "tiny_words")
    assert not kept.has_items
    figure = kept.report.arms[0].metrics["exact_match"]
    stderr = json.loads(file.read_text("utf-8"))["results"]["tiny_words"]["exact_match_stderr,none"]
    assert figure.high - figure.value == pytest.approx(1.96 * stderr, rel=1e-3)
    assert "no item can be shown or compared" in kept.report.imported.notes[0]


def test_a_line_that_is_no_sample_is_told_with_its_place(results, home, tmp_path) -> None:
    shutil.copytree(results, tmp_path / "torn")
    (path,) = (tmp_path / "torn").rglob("samples_tiny_words*")
    path.write_text(path.read_text("utf-8") + '{"doc_id": 3')
    with pytest.raises(InvalidData, match=rf"{path.name}:9: is no JSON: .* in line 1, column 13"):
        take_in([tmp_path / "torn"], home)
    assert not list(home.root.rglob("report.json"))
