"""The data checks inside a run: what stops it, what is told, and what a version's lineage keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifecycle.conversation import Conversation, Message
from lifecycle.errors import InvalidData
from lifecycle.home import Home
from lifecycle.rows.kinds import Labelled, PlainText, Preference, Row
from training.config import DataSettings
from training.data import run_checks
from training.data.findings import DataReport

LONG = "please tell me when the clinic opens on sunday morning"


def asked(question: str, answer: str = "yes", place: str = "train:1", system: str = "") -> Conversation:
    said = [Message("system", system)] if system else []
    return Conversation(place, "", (*said, Message("user", question), Message("assistant", answer)))


def look(training: list[Row], validation: list[Row], tmp_path: Path, **more: bool) -> DataReport:
    return run_checks.look(training, validation, Home.at(tmp_path), **{"held_out": False, **more})


PERSONAL = "write to sara.haddad@alnoor-clinic.sa please"
KINDS: dict[str, Row] = {
    "conversation": asked(PERSONAL),
    "preference": Preference(
        "train:1", "", (Message("user", PERSONAL),), (Message("assistant", "a"),), (Message("assistant", "b"),)
    ),
    "text": PlainText("train:1", "", PERSONAL),
    "labelled": Labelled("train:1", "", PERSONAL, "mail"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_errors_stop_a_run_with_their_places_and_warnings_do_not(kind: str, tmp_path: Path) -> None:
    row = KINDS[kind]
    report = look([row], [row], tmp_path)
    with pytest.raises(InvalidData) as caught:
        run_checks.require_good(report, "refuse")
    assert sorted(problem.place for problem in caught.value.problems) == ["leakage", "personal data"]
    assert all("train:1" in problem.fault for problem in caught.value.problems)
    assert "`data.checks` is `report`" in caught.value.summary
    run_checks.require_good(report, "report")
    clean = look([PlainText("train:1", "", "a text")], [PlainText("v:1", "", "another text")], tmp_path)
    assert clean.of("warning")
    run_checks.require_good(clean, "refuse")


def test_what_the_run_itself_held_out_is_no_error_of_the_file(tmp_path: Path) -> None:
    training, held = [asked(f"hello there, {LONG}")], [asked(LONG, place="train:2")]
    assert [each.check for each in look(training, held, tmp_path).of("error")] == ["contained leakage"]
    report = look(training, held, tmp_path, held_out=True)
    assert not report.of("error")
    assert "contained leakage" in [each.check for each in report.of("warning")]
    run_checks.require_good(report, "refuse")


def test_every_finding_is_told_with_three_places_and_the_lineage_keeps_what_is_grave(tmp_path: Path) -> None:
    rows: list[Row] = [asked(f"question {number} of a kind", place=f"train:{number}") for number in range(5)]
    report = look(rows, [asked(f"question {number} of a kind", place=f"v:{number}") for number in range(5)], tmp_path)
    lines = list(run_checks.told(report))
    assert lines[0] == (
        "error, leakage: 5 rows of validation asked in the training rows too (v:0 = train:0, v:1 = train:1, "
        "v:2 = train:2, …)"
    )
    assert lines[-1].startswith("note, prompting: no prompt has been evaluated")
    assert run_checks.notes(report)[0] == "leakage: 5 rows of validation asked in the training rows too"
    assert not any("prompting" in note for note in run_checks.notes(report))
    assert run_checks.notes(None) == ()


def test_what_the_run_has_done_is_not_advised(tmp_path: Path) -> None:
    rows: list[Row] = [asked("a", system="be kind"), asked("b", place="train:2", system="be kind")]
    said = [[each.check for each in look(rows, [], tmp_path, prompted=prompted).findings] for prompted in (False, True)]
    assert ["system text" in checks for checks in said] == [True, False]
    (tmp_path / "evaluations" / "one").mkdir(parents=True)
    (tmp_path / "evaluations" / "one" / "report.json").touch()
    assert "prompting" not in [each.check for each in look(rows, [], tmp_path).findings]


def test_the_setting_is_refuse_unless_another_is_written_and_yaml_may_write_off() -> None:
    assert DataSettings.model_validate({"train": "a"}).checks == "refuse"
    assert DataSettings.model_validate({"train": "a", "checks": False}).checks == "off"


def test_a_record_that_is_cut_short_is_none(tmp_path: Path) -> None:
    assert run_checks.known(tmp_path) is None
    (tmp_path / run_checks.FILE).write_text("{", encoding="utf-8")
    assert run_checks.known(tmp_path) is None
