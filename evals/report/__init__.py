"""The report's folder: `<home>/evaluations/<task>-<digest>/` with report.html and report.md for people, evaluation.json
and items.jsonl for programs (`stored.py`), report.json and verdicts.json as digests bind them.

`html.py` and `markdown.py` render the same `Evaluation`, in the words of `words.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evals.archive import items, sums
from evals.asking.measure import MeasuredArm
from evals.report import stored
from evals.report.evaluation import Evaluation
from evals.report.html import render_html
from evals.report.markdown import render_markdown
from evals.report.words import Words
from evals.sample import Sample
from evals.scorers.scorer import Scorer
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
    scorers: Sequence[Scorer] = (),
) -> None:
    """Fills the evaluation's folder. report.json is the report as its digest was taken; the verdicts are beside it.
    `scorers` are the suite's, in the order of each arm's `parts`."""
    folder = evaluation.folder
    folder.mkdir(parents=True, exist_ok=True)
    verdicts = [verdict.model_dump(mode="json") for verdict in evaluation.verdicts]
    rows = _rows(samples, measured, kept := sums.kept(scorers))
    together = {figure: scorer.model_dump(mode="json") for figure, scorer in kept.values()}
    whole = stored.StoredEvaluation.of(evaluation).model_copy(update={"together": together})
    texts = {
        "report.json": evaluation.report.model_dump_json(indent=2),
        "verdicts.json": json.dumps(verdicts, ensure_ascii=False, indent=2),
        stored.FILE: whole.model_dump_json(indent=2),
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


def _rows(
    samples: Sequence[Sample], measured: Sequence[MeasuredArm], kept: Mapping[int, tuple[str, Scorer]]
) -> Iterator[dict[str, object]]:
    starts = dict.fromkeys((arm.arm.label for arm in measured), 0)
    for at, sample in enumerate(samples):
        arms = {}
        for arm in measured:
            label, outcome = arm.arm.label, arm.outcomes[at]
            arms[label] = outcome.model_dump(mode="json")
            start = starts[label]
            starts[label] = end = start + len(outcome.each)
            if kept:
                arms[label]["adds"] = [
                    {figure: sums.Adds.of(arm.parts[place][answer]).model_dump() for place, (figure, _) in kept.items()}
                    for answer in range(start, end)
                ]
        yield {**sample.told(), "arms": arms}
