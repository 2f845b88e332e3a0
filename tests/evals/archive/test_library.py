"""Kept reports are found by filters and by name, those of other machines and releases too."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import insert, update

from evals.archive.library import Wanted
from lifecycle.errors import InvalidInput, NotFound
from lifecycle.registry import records, tables
from lifecycle.version import digest_of

ITEMS = [f"i{number}" for number in range(20)]
LOW, HIGH = dict.fromkeys(ITEMS, 0.0), dict.fromkeys(ITEMS, 1.0)


@pytest.fixture
def three(keep):
    """A pass of toy, a failure of toy a day later, and a look at other."""
    return (
        keep({"base": LOW, "new": HIGH}, day=0),
        keep({"base": HIGH, "new": LOW}, day=1, systems={"new": "worse"}),
        keep({"base": LOW, "new": HIGH}, day=2, task="other", provisional=("a dry run",)),
    )


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ({}, [2, 1, 0]),
        ({"task": "toy"}, [1, 0]),
        ({"task": "none"}, []),
        ({"version": "toy:3"}, [1]),
        ({"version": "toy"}, [2, 1, 0]),
        ({"version": "to"}, []),
        ({"since": date(2026, 3, 2)}, [2, 1]),
        ({"until": date(2026, 3, 2)}, [1, 0]),
        ({"since": date(2026, 3, 2), "until": date(2026, 3, 2)}, [1]),
        ({"verdict": "passed"}, [0]),
        ({"verdict": "failed"}, [1]),
        ({"verdict": "undecided"}, []),
        ({"verdict": "look"}, [2]),
        ({"verdict": "passed", "version": "toy:3"}, []),
    ],
)
def test_reports_are_listed_newest_first_by_every_filter(three, library, wanted: dict, places: list[int]) -> None:
    listed, left_out = library.reports(Wanted(**wanted))
    assert [kept.name for kept in listed] == [three[place].name for place in places]
    assert left_out == []


def test_a_report_is_found_by_its_digest_its_folder_and_by_being_the_latest(three, library) -> None:
    first, second, third = three
    names = (
        first.name[:6],
        first.report.digest,
        first.name.upper(),
        str(first.folder),
        str(first.folder / "report.json"),
    )
    (first.folder / "report.json").write_text(first.report.model_dump_json())
    for name in names:
        there = library.find(name)
        assert (there.report, there.verdicts) == (first.report, first.verdicts)
    assert library.find("latest").name == third.name
    assert library.find("toy:latest").name == second.name
    assert [item.name for item in library.find("toy:latest").items()] == ITEMS


@pytest.mark.parametrize("name", ["abc", "no report", "", "../..x", "sha256:"])
def test_what_cannot_name_a_report_is_told_with_what_can(three, library, name: str) -> None:
    with pytest.raises(InvalidInput, match="letters of its digest"):
        library.find(name)


def test_no_such_report_and_no_report_at_all(library) -> None:
    with pytest.raises(NotFound, match="dabt reports list"):
        library.find("0" * 64)
    with pytest.raises(NotFound, match="of toy is kept yet"):
        library.find("toy:latest")


def test_a_newest_report_that_cannot_be_read_gives_its_place_to_an_older_one(three, library, registry) -> None:
    digest = three[1].report.digest
    with registry._database.write() as tx:
        tx.execute(update(tables.reports).where(tables.reports.c.digest == digest).values(body={}))
    reports, left_out, more = library.newest(Wanted(task="toy"), 1)
    assert ([kept.name for kept in reports], [row.ref for row in left_out], more) == ([three[0].name], [digest], 0)
    assert library.find("toy:latest").name == three[0].name


def test_a_report_that_another_release_wrote_hides_no_other(three, library, registry) -> None:
    digest = three[0].report.digest
    body = {**three[0].report.model_dump(mode="json"), "jury": 3}
    with registry._database.write() as tx:
        tx.execute(update(tables.reports).where(tables.reports.c.digest == digest).values(body=body))
    listed, left_out = library.reports()
    assert [kept.name for kept in listed] == [three[2].name, three[1].name]
    assert [(row.kind, row.ref) for row in left_out] == [("report", digest)]
    with pytest.raises(NotFound, match="cannot be read"):
        library.find(digest)


@pytest.fixture
def others(registry) -> int:
    """Reports of other tasks, which no release can read: reading one would be told."""
    count = 10_000
    rows = [{"digest": digest_of(["other", number]), "task": f"t{number % 7}", "body": {}} for number in range(count)]
    with registry._database.write() as tx:
        tx.execute(insert(tables.reports), rows)
    return count


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The digests of the reports that were read."""
    read: list[str] = []
    plain = records.to_report

    def to_report(row):
        read.append(row.digest)
        return plain(row)

    monkeypatch.setattr(records, "to_report", to_report)
    return read


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ({"task": "toy"}, [1, 0]),
        ({"version": "toy:3"}, [1]),
        ({"version": "toy"}, [2, 1, 0]),
        ({"verdict": "look"}, [2]),
    ],
)
def test_among_ten_thousand_reports_only_those_are_read_that_are_asked_for(
    three, others, library, read: list[str], wanted: dict, places: list[int]
) -> None:
    reports, left_out, more = library.newest(Wanted(**wanted), 20)
    assert [kept.name for kept in reports] == [three[place].name for place in places]
    assert (left_out, more) == ([], 0)
    assert {*read} <= {kept.report.digest for kept in three}


def test_of_ten_thousand_reports_the_newest_are_read_and_the_rest_is_counted(
    others, keep, library, read: list[str]
) -> None:
    first, second = (keep({"base": LOW, "new": HIGH}, day=day) for day in (0, 1))
    read.clear()
    reports, left_out, more = library.newest(Wanted(), 2)
    assert [kept.name for kept in reports] == [second.name, first.name]
    assert (left_out, more) == ([], others)
    assert sorted(read) == sorted(kept.report.digest for kept in (first, second))
    read.clear()
    assert library.find("latest").name == library.find("toy:latest").name == second.name
    assert {*read} == {second.report.digest}
