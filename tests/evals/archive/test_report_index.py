"""Lists of evaluations: every folder and every report of the registry once; what cannot be read is told, and why."""

from __future__ import annotations

import shutil
from datetime import date

import pytest

from evals.archive import report_index
from evals.archive.report_index import ReportIndex, ReportLine, Sought
from lifecycle.errors import InvalidInput, NotFound
from lifecycle.home import Home
from lifecycle.registry import Registry
from tests.evals.archive.conftest import Keep, take_in

ARMS = {"base": {"a": 0.0, "b": 0.0}, "adapter": {"a": 1.0, "b": 1.0}}


@pytest.fixture
def index(home: Home) -> ReportIndex:
    return ReportIndex(home)


def looked(index: ReportIndex, registry: Registry) -> list[ReportLine]:
    index.look()
    index.ask(registry)
    return index.lines


def test_all_that_is_kept_is_listed_once_and_newest_first(index: ReportIndex, registry: Registry, keep: Keep):
    older, newer = keep(ARMS, day=0), keep(ARMS, task="other", day=1)
    lines = looked(index, registry)
    assert [(line.id, line.task) for line in lines] == [(newer.name, "other"), (older.name, "toy")]
    assert [line.folder for line in lines] == [newer.folder, older.folder]
    assert [(arm.arm, arm.word) for arm in lines[0].arms] == [
        ("base", None),
        ("adapter", older.word(older.report.arms[1])),
    ]
    assert index.unreadable == []


def test_a_report_whose_folder_is_on_another_machine_is_listed_too(index: ReportIndex, registry: Registry, keep: Keep):
    kept = keep(ARMS)
    shutil.rmtree(kept.folder)
    [line] = looked(index, registry)
    assert (line.id, line.folder, line.has_items) == (kept.name, None, False)
    assert line.arms[1].word == kept.word(kept.report.arms[1])


def test_a_folder_that_cannot_be_read_is_named_with_its_reason(index: ReportIndex, registry: Registry, keep: Keep):
    kept = keep(ARMS)
    broken = kept.folder.with_name("broken-1")
    broken.mkdir()
    (broken / "evaluation.json").write_text('{"report": {"task": "toy"')
    empty = kept.folder.with_name("empty-1")
    empty.mkdir()
    assert [line.id for line in looked(index, registry)] == [kept.name]
    told = index.unreadable
    assert [it.what for it in told] == [str(broken), str(empty)]
    assert "EOF" in told[0].why
    assert "neither evaluation.json nor report.json" in told[1].why


def test_a_report_of_another_tool_is_marked_and_names_no_version(
    index: ReportIndex, registry: Registry, home: Home, keep: Keep
):
    take_in(home, keep(ARMS).report)
    [theirs, ours] = sorted(looked(index, registry), key=lambda line: not line.tool)
    assert (theirs.tool, theirs.names) == ("lm-eval 0.4.13", frozenset())
    assert (ours.tool, ours.names) == ("", {"toy"})
    assert index.unreadable == []


def test_a_list_reads_only_folders_that_are_new_or_changed(
    index: ReportIndex, registry: Registry, keep: Keep, monkeypatch: pytest.MonkeyPatch
):
    first = keep(ARMS)
    looked(index, registry)
    read = []
    before = report_index._line_of
    monkeypatch.setattr(report_index, "_line_of", lambda folder: read.append(folder) or before(folder))
    looked(index, registry)
    assert read == []
    second = keep(ARMS, day=2)
    looked(index, registry)
    assert read == [second.folder]
    (first.folder / "items.jsonl").unlink()
    assert [line.has_items for line in looked(index, registry)] == [True, False]
    shutil.rmtree(second.folder)
    assert [line.folder for line in looked(index, registry)] == [None, first.folder]


def test_a_report_of_the_registry_is_read_again_when_it_was_judged_since(
    index: ReportIndex, registry: Registry, keep: Keep
):
    from evals.gate.policy import judge
    from tests.evals.archive.conftest import POLICY

    kept = keep(ARMS, judged=False)
    shutil.rmtree(kept.folder)
    assert looked(index, registry)[0].arms[1].word is None
    [verdict] = judge(kept.report, POLICY, ["adapter"], at=kept.report.created_at)
    registry.record_verdict(verdict)
    assert looked(index, registry)[0].arms[1].word == verdict.ruling.value


@pytest.mark.parametrize(
    ("sought", "days"),
    [
        (Sought(), [2, 1, 0]),
        (Sought(words="TOY"), [1, 0]),
        (Sought(words="other adapter"), [2]),
        (Sought(words="toy:1"), [1, 0]),
        (Sought(words="nobody"), []),
        (Sought(since=date(2026, 3, 2)), [2, 1]),
        (Sought(until=date(2026, 3, 2)), [1, 0]),
        (Sought(since=date(2026, 3, 2), until=date(2026, 3, 2)), [1]),
        (Sought(word="look"), []),
    ],
)
def test_lines_are_found_by_words_and_days(
    index: ReportIndex, registry: Registry, keep: Keep, sought: Sought, days: list[int]
):
    for day, task in enumerate(("toy", "toy", "other")):
        keep(ARMS, task=task, name=task, day=day)
    assert [line.at.day - 1 for line in looked(index, registry) if sought.takes(line)] == days


def test_a_line_is_found_by_the_beginning_of_its_digest(index: ReportIndex, registry: Registry, keep: Keep):
    kept = [keep(ARMS, day=day) for day in range(2)]
    lines = looked(index, registry)
    for it in kept:
        assert index.find(it.name, lines).digest == it.report.digest
        assert index.find(it.report.digest, lines).digest == it.report.digest
        assert [line.id for line in lines if Sought(words=it.name[:8]).takes(line)] == [it.name]
    for nothing in ("", "zzzz", "latest"):
        with pytest.raises(NotFound):
            index.find(nothing, lines)
    with pytest.raises(InvalidInput, match="several reports begin"):
        index.find(lines[0].id[:4], [*lines, lines[0]])
