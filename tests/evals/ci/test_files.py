"""JUnit XML and the summary: one test case a rule and arm, and well-formed whatever texts are in them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from evals.ci.files import junit, summary, write_error, write_step
from evals.ci.outcome import step_of
from evals.report.evaluation import Evaluation
from evals.xml_text import xml_text
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.gates import SuiteFacts
from lifecycle.verdict import Check, Ruling, Verdict
from lifecycle.version import digest_of

ODD = "نعم\u200f <b>&\"' ]]> \x00\x08\x1b[31m \ud800 \ufffe \U0001f600 | [x](http://y) ![p](q) `code`\n# head"

WHOLE = ODD.replace("\ud800", "")
"""A report has a digest, so no half of a pair is in it; an error or a check of another tool may have one."""


@pytest.fixture
def evaluation(make_report, tmp_path: Path) -> Evaluation:
    """Two arms over the base: of `adapter` one rule of each ruling, `few-shot` is a rival that failed."""
    digest = digest_of("x")
    suite = SuiteFacts(task="toy", task_digest=digest, data_digest=digest, metric="fields", rivals={"few-shot": digest})
    report = make_report(
        {"base": 0.2, "few-shot": 0.5, "adapter": 0.9}, suite=suite, task=f"toy {WHOLE}", advice=(WHOLE,)
    )
    checks = (
        Check(rule="beats base", ruling=Ruling.PASSED, detail="+0.7"),
        Check(rule=f"fields in {ODD}", ruling=Ruling.FAILED, detail=ODD),
        Check(rule="items", ruling=Ruling.UNDECIDED, detail="40 items; at least 200 are asked for"),
        Check(rule="items", ruling=Ruling.PASSED, detail="fine"),
    )

    def verdict(arm: str, ruling: Ruling, checks: tuple[Check, ...]) -> Verdict:
        result = report.result(arm)
        return Verdict(ref=result.ref, version_digest=result.version_digest, evaluation_digest=report.digest,
                       policy_digest=digest, ruling=ruling, checks=checks, created_at=report.created_at)  # fmt: skip

    rival = (Check(rule="beats base", ruling=Ruling.FAILED, detail="no"),)
    verdicts = (verdict("few-shot", Ruling.FAILED, rival), verdict("adapter", Ruling.FAILED, checks))
    return Evaluation(report, verdicts, "p", None, tmp_path, opens={"adapter": f"opens {ODD}"}, alerts=(ODD,))


def test_there_is_a_test_case_for_each_rule_and_arm_and_undecided_is_an_error(evaluation) -> None:
    root = ElementTree.fromstring(junit(step_of(evaluation)))
    counts = {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    rival, adapter = root.findall("testsuite")
    assert (rival.get("skipped"), rival.get("failures")) == ("1", "0")
    cases = adapter.findall("testcase")
    assert [[child.tag for child in case] for case in cases] == [[], ["failure"], ["error"], []]
    assert [cases[at].get("name") for at in (0, 2, 3)] == ["beats base", "items", "items (2)"]
    assert cases[2][0].get("type") == "undecided"
    assert cases[2][0].text == "40 items; at least 200 are asked for"
    names = {(case.get("classname"), case.get("name")) for case in root.iter("testcase")}
    assert len(names) == 5


def test_whatever_a_text_holds_the_xml_is_well_formed_and_keeps_what_xml_may_have(evaluation) -> None:
    text = junit(step_of(evaluation))
    failure = ElementTree.fromstring(text.encode("utf-8")).find(".//failure")
    assert failure is not None
    expected = ODD.replace("\x00", "\ufffd").replace("\x08", "\ufffd").replace("\x1b", "\ufffd")
    assert failure.text == expected.replace("\ud800", "\ufffd").replace("\ufffe", "\ufffd")


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, 0x85, 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF,
                                  0x10000, 0x10FFFF])  # fmt: skip
def test_each_character_is_kept_or_replaced_as_the_standard_says(code: int) -> None:
    text = xml_text(f"a{chr(code)}b")
    allowed = code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
    assert text == (f"a{chr(code)}b" if allowed else "a\ufffdb")
    ElementTree.fromstring(f"<a>{text.replace('&', '')}</a>".encode())


def test_the_summary_says_the_ruling_first_and_no_text_in_it_is_markup(evaluation) -> None:
    text = summary(step_of(evaluation))
    assert text.splitlines()[0].endswith(": ✗ failed")
    assert "| adapter | toy:3 | 0.900" in text
    assert "rejected, has no say" in text
    assert "## adapter (toy:3): rejected" in text
    assert "\\<b\\>" in text
    for markup in ("<b>", "[x](", "![p]", " `code`", "\n# head", "\x1b", "\ud800"):
        assert markup not in text


def test_the_files_are_written_and_the_page_of_a_github_run_gets_the_summary(
    evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    write_step(step_of(evaluation), tmp_path / "ci" / "deep")
    text = (tmp_path / "ci" / "deep" / "summary.md").read_text("utf-8")
    assert page.read_text("utf-8") == "before\n" + text
    ElementTree.parse(tmp_path / "ci" / "deep" / "junit.xml")


def test_a_page_that_cannot_be_written_changes_no_ruling(evaluation, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "folder" / "page.md"))
    write_step(step_of(evaluation), tmp_path / "ci")
    assert (tmp_path / "ci" / "junit.xml").is_file()
    assert "the summary is not on the run's page" in capsys.readouterr().err


def test_an_error_is_a_summary_and_one_test_case_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    error = InvalidConfig("bad\x00 file", [Problem("arms.prod", "toy:prod serves nothing yet")])
    write_error("toy.yaml", error, tmp_path)
    assert "toy:prod serves nothing yet" in (tmp_path / "summary.md").read_text("utf-8")
    case = ElementTree.parse(tmp_path / "junit.xml").getroot().find(".//testcase")
    assert case is not None
    assert case[0].tag == "error"
    assert case[0].get("type") == "InvalidConfig"
