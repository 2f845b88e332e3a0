"""The JSON of an evaluation: its schema is published, and every earlier form is still read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from dabt import app
from evals.asking.measure import ItemResult
from evals.gate.policy import Policy, judge
from evals.page_command import report_schema
from evals.report import stored, write, write_texts
from evals.report.evaluation import Evaluation
from evals.report.words import Words
from evals.sample import Sample
from lifecycle.errors import Corrupt, InvalidInput, NotFound

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.fixture
def evaluation(make_report, tmp_path: Path) -> Evaluation:
    report = make_report({"base": 0.2, "adapter": 0.9}, advice=("Ship adapter.",))
    policy = Policy.model_validate({"name": "mine", "rules": [{"rule": "beats"}]})
    verdicts = judge(report, policy, ["adapter"], at=report.created_at)
    return Evaluation(report, verdicts, "mine", "toy:2", tmp_path / "toy", {"adapter": "opens toy:prod"})


def test_the_published_schemas_are_those_of_what_is_written() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == set(stored.schemas())
    for name in stored.schemas():
        assert (SCHEMAS / name).read_text("utf-8") == stored.schema_text(name), (
            "run: dabt report-schema --out docs/schemas"
        )


def test_a_place_that_can_hold_no_schemas_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidInput, match="file can hold no files"):
        report_schema(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    report_schema(tmp_path / "new" / "schemas")
    assert {path.name for path in (tmp_path / "new" / "schemas").iterdir()} == set(stored.schemas())


def test_what_is_written_fits_its_schema_and_is_read_as_it_was(evaluation: Evaluation) -> None:
    write(evaluation, [], [])
    told = json.loads((evaluation.folder / "evaluation.json").read_text("utf-8"))
    Draft202012Validator(json.loads((SCHEMAS / "evaluation.schema.json").read_text("utf-8"))).validate(told)
    assert told["format"] == 2
    assert stored.read(evaluation.folder) == evaluation


TURNS = ({"role": "system", "content": "أجب"}, {"role": "user", "content": "عندي ألم"})
TOOL = {"type": "function", "function": {"name": "book", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("told", "more"), [({}, set()), ({"cluster": "c", "slices": {"language": "ar"}, "tools": (TOOL,)}, {"tools"})]
)
def test_a_line_of_the_items_fits_its_schema_with_all_turns_and_tools(
    evaluation: Evaluation, told: dict[str, Any], more: set[str]
) -> None:
    turns = TURNS if more else TURNS[1:]
    sample = Sample(key="k", id="toy-1", messages=turns, target={"reply": "نعم"}, **told)
    one = ItemResult(answer="نعم", scores={"fields": 1.0}, latency=0.5, prompt_tokens=9, completion_tokens=1,
                     spans=((1.0, 1.5),), unscored={"wins": "there is no judge to ask"})  # fmt: skip
    several = ItemResult.of([one, one])
    arms: list[Any] = [
        SimpleNamespace(arm=SimpleNamespace(label=label), outcomes=[outcome])
        for label, outcome in (("base", one), ("adapter", several))
    ]
    write(evaluation, [sample], arms)
    line = json.loads((evaluation.folder / "items.jsonl").read_text("utf-8"))
    Draft202012Validator(json.loads((SCHEMAS / "item.schema.json").read_text("utf-8"))).validate(line)
    assert set(line) & {"messages", "tools"} == (more | {"messages"} if more else set())
    assert stored.StoredItem.model_validate(line).messages == (turns if more else ())


def test_an_evaluation_of_the_first_form_is_read_with_what_it_has(evaluation: Evaluation) -> None:
    write(evaluation, [], [])
    (evaluation.folder / "evaluation.json").unlink()
    again = stored.read(evaluation.folder)
    assert (again.report, again.verdicts) == (evaluation.report, evaluation.verdicts)
    assert again.report.digest == evaluation.report.digest
    assert (again.policy, again.opens) == (evaluation.verdicts[0].policy_digest, {})
    write_texts(again, Words("ar"))
    assert '<html lang="ar" dir="rtl">' in (evaluation.folder / "report.html").read_text("utf-8")


def test_what_is_no_evaluation_is_told_with_its_file(evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"report\.json is not there: name the folder"):
        stored.read(tmp_path / "nothing")
    write(evaluation, [], [])
    (evaluation.folder / "evaluation.json").write_text('{"format": 3}')
    with pytest.raises(Corrupt, match=r"evaluation\.json is no evaluation of this release"):
        stored.read(evaluation.folder)


def test_the_page_of_a_kept_evaluation_is_written_again_in_arabic(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation = replace(evaluation, folder=tmp_path / "home" / "evaluations" / "toy-1")
    write(evaluation, [], [])
    before = (evaluation.folder / "report.json").read_bytes()
    run = CliRunner().invoke(app, ["page", "toy-1", "--language", "ar", "--home", str(tmp_path / "home")])
    assert run.exit_code == 0, run.output
    assert "الأرقام" in (evaluation.folder / "report.html").read_text("utf-8")
    assert (evaluation.folder / "report.md").read_text("utf-8").startswith('<div dir="rtl">')
    assert (evaluation.folder / "report.json").read_bytes() == before
