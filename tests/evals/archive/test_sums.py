"""Kept reports by figures of all items together: what two reports show is what one report shows of its own arms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.archive.diff import compare
from evals.archive.items import ItemAnswer
from evals.archive.library import Kept
from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.run import evaluate
from lifecycle.report import Report

QUICK = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
TASK = "data: rows.jsonl\nscorers:\n  - {{type: label, labels: [{labels}]}}\n  - bleu\nmetric: {metric}\n"
OWN = "name: toy\npolicy: policy.yaml\ntask: short.yaml\nbase: {base}\n"
ARMS = "arms:\n  base: {}\n  adapter: {version: toy:1}\n"
GOOD, BAD, ODD = "a good day for all of us", "a bad day for all of us", "no day for anybody at all"


def kept(workplace: Path, base_model: Path, metric: str, *services) -> Kept:
    registry, home, models = services
    rows = [{"text": f"line {n} of a long day", "label": (GOOD, BAD)[n % 3 == 0]} for n in range(60)]
    (workplace / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (workplace / "short.yaml").write_text(TASK.format(metric=metric, labels=", ".join((GOOD, BAD, ODD))))
    (workplace / "own.yaml").write_text(OWN.format(base=base_model) + ARMS)
    right = {row["text"]: row["label"] for row in rows}
    models.speaks |= {
        "base": lambda q: BAD if int(q.split()[1]) % 4 else GOOD,
        "adapter": lambda q: right[q] if int(q.split()[1]) % 7 else ODD,
    }
    made = evaluate(EvalConfig.load(workplace / "own.yaml"), registry, home, transport=models.transport, endpoint=QUICK)
    return Kept(made.report, made.verdicts, made.folder)


def of_report(report: Report) -> dict[str, object]:
    return report.comparisons[0].model_dump(exclude={"arm", "against"})


@pytest.mark.parametrize(("metric", "told_by"), [("macro_f1", "accuracy"), ("bleu", "accuracy")])
def test_two_reports_are_compared_as_the_arms_of_one(
    metric: str, told_by: str, workplace, base_model, trained, registry, home, models
) -> None:
    there = kept(workplace, base_model, metric, registry, home, models)
    assert (there.report.metric, there.report.of_items) == (metric, told_by)
    for asked in ("", metric):
        diff = compare(there, there, metric=asked, pairs=[("base", "adapter")])
        (arm,) = diff.arms
        assert arm.paired is not None
        assert arm.paired.model_dump(exclude={"arm", "against"}) == of_report(there.report)
        figures = [result.metrics[metric].value for result in there.report.arms]
        assert (arm.before_paired, arm.after_paired) == (pytest.approx(figures[0]), pytest.approx(figures[1]))
        assert (arm.told_by, arm.unscored_before, arm.unscored_after) == (told_by, 0, 0)
        assert (arm.better, arm.worse) == (
            sum(flip.after > flip.before for flip in arm.flips),
            sum(flip.after < flip.before for flip in arm.flips),
        )
        assert arm.better > 0


def test_a_report_from_before_they_were_kept_says_what_to_do(
    workplace, base_model, trained, registry, home, models
) -> None:
    there = kept(workplace, base_model, "macro_f1", registry, home, models)
    path = there.folder / "evaluation.json"
    old = json.loads(path.read_text())
    del old["together"]
    path.write_text(json.dumps(old))
    (arm, _) = compare(there, there).arms
    assert arm.paired is None
    assert "run its evaluation again" in arm.why_not
    assert (arm.before.value, arm.flips) == (arm.after.value, ())


def test_a_part_of_the_items_is_compared_as_a_slice_is(workplace, base_model, trained, registry, home, models) -> None:
    there = kept(workplace, base_model, "macro_f1", registry, home, models)
    path = there.folder / "items.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:30]))
    (arm,) = compare(there, there, pairs=[("base", "adapter")]).arms
    assert arm.paired.n == 30
    other = compare(there, Kept(there.report, (), there.folder), metric="accuracy", pairs=[("base", "adapter")])
    assert (other.arms[0].told_by, other.arms[0].paired.test) == ("", "mcnemar-exact")


def test_a_figure_that_only_several_answers_have_is_read_of_them() -> None:
    answers = [ItemAnswer(answer=text, scores={"exact": score}, said=text) for text, score in
               (("a", 1.0), ("b", 0.0), ("b", 0.0), ("c", 0.0))]  # fmt: skip
    several = ItemAnswer(answer="a", scores={"exact": 0.25}, repeats=tuple(answers))
    assert [several.score(f"exact {kind}") for kind in ("pass@2", "pass^2", "majority", "pass@9")] == [
        0.5, 0.0, 0.0, None,
    ]  # fmt: skip
    assert (several.score("exact"), answers[0].score("exact pass@2")) == (0.25, None)
