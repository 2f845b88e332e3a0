"""Another tool's report by every command that shows reports: what there is is shown, what there is not is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dabt import app
from evals.archive.library import Kept
from evals.foreign.taking import take_in
from lifecycle.home import Home
from tests.evals.foreign.test_nemo import BUNDLE, rows, written

RESULTS = {
    "results": {"qa": {"acc,none": 0.5, "acc_stderr,none": 0.1, "bleu,none": 20.5, "bleu_stderr,none": 1.5}},
    "n-samples": {"qa": {"original": 8, "effective": 8}},
    "configs": {"qa": {"task": "qa"}},
    "config": {"model": "local-chat-completions", "model_args": {"model": "triage:3"}},
    "model_name": "triage:3",
    "lm_eval_version": "0.4.13",
    "date": 1772366400.0,
}
NOT_THERE = ("p50", "noise floor 0", "Asked a second time", "seed", "gate</th>", "try 1", "The endpoint did not say")


def of_lm_eval(folder: Path, *, samples: bool) -> Path:
    folder.mkdir()
    (folder / "results_x.json").write_text(json.dumps(RESULTS))
    lines = [
        {"doc_id": n, "doc": {"q": n}, "target": "نعم", "filter": "none", "metrics": ["acc", "bleu"],
         "acc": float(n % 2), "bleu": ["نعم", "لا"], "filtered_resps": ["لا"],
         "arguments": {"gen": {"arg_0": f"هل {n}؟"}}}
        for n in range(8)
    ]  # fmt: skip
    if samples:
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
        (folder / "samples_qa_x.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(params=["lm-eval", "lm-eval without samples", "NeMo Evaluator"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Kept:
    monkeypatch.setenv("DABT_HOME", str(home.root))
    monkeypatch.setenv("COLUMNS", "100")
    run = tmp_path / "run"
    nemo = request.param.startswith("NeMo")
    path = written(run, BUNDLE, rows()) if nemo else of_lm_eval(run, samples="without" not in request.param)
    (kept,) = take_in([path], home)
    return kept


def ran(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*arguments])
    assert done.exit_code == code, done.output
    return done.output or str(done.exception)


@pytest.mark.parametrize("language", ["en", "ar"])
def test_its_page_and_its_markdown_have_what_there_is_and_say_what_there_is_not(kept: Kept, language: str) -> None:
    for name in (kept.name, str(kept.folder), kept.folder.name, f"{kept.report.task}:latest"):
        assert ran("page", name, "--language", language).strip().endswith("report.html")
    page, markdown = ((kept.folder / name).read_text("utf-8") for name in ("report.html", "report.md"))
    arm = kept.report.arms[0]
    for text in (page, markdown):
        assert kept.report.imported.tool in text
        assert arm.arm in text
        assert all(f"{figure.value:.3f}" in text for figure in arm.metrics.values())
        assert not [words for words in NOT_THERE if words in text]
    told = {"en": "no policy judged it", "ar": "ولم تحكم عليه أي سياسة"}[language]
    assert told in page
    assert told in markdown
    assert ('id="packed-items"' in page) is kept.has_items
    assert 'id="differences"' not in page


def test_every_command_of_reports_takes_it(kept: Kept, tmp_path: Path) -> None:
    shown = ran("reports", "show", kept.name)
    assert kept.report.imported.tool in shown
    assert "another tool's file has no times" in shown
    assert "noise floor 0.0%" not in shown
    assert "gate  " not in shown
    assert kept.name in ran("reports", "list")
    assert kept.report.arms[0].arm in ran("reports", "history", kept.report.task)
    difference = ran("reports", "diff", kept.name, kept.name)
    table = tmp_path / "items.csv"
    if kept.has_items:
        assert f"{kept.report.n_items} items are in both" in difference
        assert f"{kept.report.n_items} items" in ran("reports", "show", kept.name, "--csv", str(table))
        assert f"of {kept.report.n_items} items" in ran("reports", "show", kept.name, "--disagree")
    else:
        assert "were not in results_x.json" in " ".join(difference.split())
        assert "had no items when it was imported" in ran("reports", "show", kept.name, "--csv", str(table), code=1)
        assert not table.exists()


def test_a_figure_of_the_whole_set_that_the_tool_told_is_not_compared_and_the_reason_is_said(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DABT_HOME", str(home.root))
    (kept,) = take_in([of_lm_eval(tmp_path / "run", samples=True)], home)
    assert kept.report.arms[0].metrics["bleu"].value == 20.5
    said = " ".join(ran("reports", "diff", kept.name, kept.name, "--metric", "bleu").split())
    assert "bleu is of all items together" in said
