"""What a step of a pipeline leaves: a summary in Markdown and JUnit XML, whatever texts are in them.

JUnit has no word for undecided: it is an `error` there, so that the file is green only where the step is. A rule that
an arm without a say did not pass is `skipped`. The standard library writes the XML, and `xml_text` sees that each text
may be in it.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from evals.ci.outcome import Judged, Outcome, Step
from evals.report.evaluation import MARKS, RULINGS
from evals.xml_text import xml_text
from lifecycle.errors import InvalidInput
from lifecycle.verdict import Check, Ruling

SUMMARY, JUNIT = "summary.md", "junit.xml"
_MOST = 200_000
"""Characters of a summary: GitHub shows a step up to 1 MiB."""
_HEADS = {
    Outcome.PASSED: "✓ passed", Outcome.FAILED: "✗ failed", Outcome.UNDECIDED: "? undecided", Outcome.ERROR: "✗ error",
}  # fmt: skip
_SIGNS = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]<>#|~!"})


def clear(folder: Path) -> None:
    """Makes the folder, and takes an earlier run's files out of it: nothing green may be left of a run that is killed.

    Raises `InvalidInput` where there can be no such folder, before hours of asking are spent.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (SUMMARY, JUNIT):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"--ci-folder: {folder} can hold no files ({error.strerror}): name another folder"
        ) from error


def write_step(step: Step, folder: Path) -> None:
    """Fills the folder, and adds the summary to the page of a GitHub run where there is one."""
    _write(folder, summary(step), junit(step))


def write_error(title: str, error: Exception, folder: Path) -> None:
    """The same of a run that found nothing."""
    told = f"{error}" if str(error) else type(error).__name__
    text = f"# {_plain(title)}: {_HEADS[Outcome.ERROR]}\n\n{_plain(told, lines=True)}\n"
    suite = _suite(title, {})
    case = ElementTree.SubElement(suite, "testcase", classname=xml_text(title), name="the evaluation runs", time="0")
    _fault(case, "error", type(error).__name__, told)
    _write(folder, text, _document([suite]))


def summary(step: Step) -> str:
    """Short enough for a pull request: the ruling first, each arm's figure, then the rules of the arms that decide."""
    evaluation, report = step.evaluation, step.evaluation.report
    parts = [
        f"# {_plain(report.task)}: {_HEADS[step.outcome]}",
        _plain(step.why),
        f"{report.n_items} items, {_plain(report.metric)}, {_plain(evaluation.history)}, report `{report.digest}`",
        *([f"**A look: {_plain('; '.join(report.provisional))}.** Nothing is decided."] if report.provisional else []),
        *(f"{_plain(str(now))}." for now in report.served.values()),
        _figures(step),
        *(_rules(step, judged) for judged in step.deciding),
        "\n".join(f"- {_plain(sentence)}" for sentence in report.advice),
        *(f"**ALERT: {_plain(alert)}**" for alert in evaluation.alerts),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return text if len(text) <= _MOST else f"{text[:_MOST]}…\n\nCut here: the report in the run's folder is whole.\n"


def junit(step: Step) -> str:
    """A test suite for each arm that was judged, and in it a test case for each rule."""
    return _document([_suite_of(step, judged) for judged in step.judged])


def _figures(step: Step) -> str:
    report = step.evaluation.report
    rulings = {judged.arm.arm: judged for judged in step.judged}
    lines = ["| arm | version | figure | against the baseline | ruling |", "|---|---|---|---|---|"]
    for arm in report.arms:
        figure, gap = arm.metrics[report.metric], step.evaluation.against_baseline(arm)
        judged = rulings.get(arm.arm)
        ruling = f"{RULINGS[judged.verdict.ruling]}{'' if judged.decides else ', has no say'}" if judged else ""
        cells = (
            _plain(arm.arm),
            _plain(arm.ref),
            f"{figure.value:.3f} \\[{figure.low:.3f}, {figure.high:.3f}\\]",
            f"{gap.delta:+.3f} \\[{gap.low:+.3f}, {gap.high:+.3f}\\]" if gap else "",
            ruling,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _rules(step: Step, judged: Judged) -> str:
    arm, opens = judged.arm, step.evaluation.opens.get(judged.arm.arm, "")
    lines = [f"## {_plain(arm.arm)} ({_plain(arm.ref)}): {RULINGS[judged.verdict.ruling]}", ""]
    lines += [
        f"- {MARKS[check.ruling]} **{_plain(check.rule)}**: {_plain(check.detail)}" for check in judged.verdict.checks
    ]
    return "\n".join([*lines, *(["", _plain(opens)] if opens else [])])


def _plain(text: str, *, lines: bool = False) -> str:
    """The text as itself in Markdown: no sign of it makes a link, a picture, a tag or a cell."""
    text = xml_text(text).translate(_SIGNS)
    return text.replace("\n", "\n\n") if lines else " ".join(text.split())


def _suite_of(step: Step, judged: Judged) -> ElementTree.Element:
    report, arm, verdict = step.evaluation.report, judged.arm, judged.verdict
    digests = {"report": report.digest, "version": arm.version_digest, "policy": verdict.policy_digest}
    suite = _suite(f"{report.task}: {arm.arm} ({arm.ref})", digests, f"{report.created_at:%Y-%m-%dT%H:%M:%S}")
    names: Counter[str] = Counter()
    for check in verdict.checks:
        names[check.rule] += 1
        name = check.rule if names[check.rule] == 1 else f"{check.rule} ({names[check.rule]})"
        _case(suite, f"{report.task}.{arm.arm}", name, check, decides=judged.decides)
    if judged.decides and verdict.passed and judged.outcome is not Outcome.PASSED:
        look = f"a look decides nothing: {'; '.join(verdict.provisional)}"
        check = Check(rule="decides", ruling=Ruling.UNDECIDED, detail=look)
        _case(suite, f"{report.task}.{arm.arm}", check.rule, check, decides=True)
    return suite


def _suite(name: str, properties: Mapping[str, str], timestamp: str = "") -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", {"name": xml_text(name)} | ({"timestamp": timestamp} if timestamp else {}))
    if properties:
        inner = ElementTree.SubElement(suite, "properties")
        for key, value in properties.items():
            ElementTree.SubElement(inner, "property", name=key, value=xml_text(value))
    return suite


def _case(suite: ElementTree.Element, classname: str, name: str, check: Check, *, decides: bool) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=xml_text(classname), name=xml_text(name), time="0")
    if check.ruling is Ruling.PASSED:
        return
    if not decides:
        ElementTree.SubElement(case, "skipped", message=xml_text(f"{check.ruling}, has no say: {check.detail}"))
        return
    _fault(case, "failure" if check.ruling is Ruling.FAILED else "error", check.ruling.value, check.detail)


def _fault(case: ElementTree.Element, tag: str, kind: str, text: str) -> None:
    fault = ElementTree.SubElement(case, tag, type=xml_text(kind), message=xml_text(" ".join(text.split())))
    fault.text = xml_text(text)


def _document(suites: list[ElementTree.Element]) -> str:
    root = ElementTree.Element("testsuites", name="dabt eval")
    for element in (root, *suites):
        within = suites if element is root else [element]
        for key, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            element.set(key, str(sum(len(suite.findall(f".//{tag}")) for suite in within)))
    root.extend(suites)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _write(folder: Path, text: str, xml: str) -> None:
    clear(folder)
    (folder / SUMMARY).write_text(text, encoding="utf-8", errors="replace")
    (folder / JUNIT).write_text(xml, encoding="utf-8")
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(page).open("a", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError as error:  # the files are there, and the ruling stands
            print(f"the summary is not on the run's page: {error}", file=sys.stderr)
