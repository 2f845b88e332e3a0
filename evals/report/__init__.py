"""The report's folder: `<home>/evaluations/<task>-<digest>/` with report.html and report.md for people, evaluation.json
and items.jsonl for programs (`stored.py`), report.json and verdicts.json as digests bind them.

`html.py` and `markdown.py` render the same `Evaluation`, in the words of `words.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from evals.archive import items
from evals.asking.measure import MeasuredArm
from evals.report import stored
from evals.report.evaluation import Evaluation
from evals.report.html import render_html
from evals.report.markdown import render_markdown
from evals.report.words import Words
from evals.sample import Sample
from lifecycle.home import Home
from lifecycle.report import Report


def folder_of(home: Home, report: Report) -> Path:
    """Where the report is written: one folder per evaluation, named by the digest that its verdicts carry."""
    return home.evaluations / f"{report.task.replace('/', '-')}-{report.digest.removeprefix('sha256:')[:12]}"


def write(
    evaluation: Evaluation,
    samples: Sequence[Sample],
    measured: Sequence[MeasuredArm],
    words: Words = Words(),  # noqa: B008 - frozen
) -> None:
    """Fills the evaluation's folder. report.json is the report as its digest was taken; the verdicts are beside it."""
    folder = evaluation.folder
    folder.mkdir(parents=True, exist_ok=True)
    verdicts = [verdict.model_dump(mode="json") for verdict in evaluation.verdicts]
    rows = (_row(sample, at, measured) for at, sample in enumerate(samples))
    texts = {
        "report.json": evaluation.report.model_dump_json(indent=2),
        "verdicts.json": json.dumps(verdicts, ensure_ascii=False, indent=2),
        stored.FILE: stored.StoredEvaluation.of(evaluation).model_dump_json(indent=2),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    with (folder / items.FILE).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_texts(evaluation, words)


def write_texts(evaluation: Evaluation, words: Words) -> None:
    """report.html and report.md, of an evaluation whose other files are in its folder; without items.jsonl (it may have
    been left behind) the page has no items."""
    folder = evaluation.folder
    kept = items.read(folder) if (folder / items.FILE).is_file() else ()
    texts = {"report.html": render_html(evaluation, kept, words), "report.md": render_markdown(evaluation, words)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _row(sample: Sample, at: int, measured: Sequence[MeasuredArm]) -> dict[str, object]:
    arms = {arm.arm.label: arm.outcomes[at].model_dump(mode="json") for arm in measured}
    return {**sample.told(), "arms": arms}
