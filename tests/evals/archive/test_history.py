"""A task over time: what can be joined by a line, what served when, and the plot."""

from __future__ import annotations

from datetime import timedelta
from xml.etree import ElementTree

import pytest

from evals.archive.history import Trail, history, name_of
from evals.archive.history_shown import plot, print_history
from lifecycle.registry.audit import AuditEntry
from lifecycle.version import digest_of
from tests.evals.archive.conftest import START

ITEMS = [f"i{number:02}" for number in range(20)]
LOW, HIGH = dict.fromkeys(ITEMS, 0.0), dict.fromkeys(ITEMS, 1.0)
SVG = "{http://www.w3.org/2000/svg}"


def entry(day: float, to: dict[str, float], action: str = "alias.move", subject: str = "toy:prod") -> AuditEntry:
    at = START + timedelta(days=day)
    return AuditEntry(id=1, at=at, actor="amal", action=action, subject=subject, detail={"to": to}, reason="")


TRAIL = [  # newest first
    entry(9, {"toy:9": 1.0}, subject="other:prod"),
    entry(3.5, {"toy:2": 1.0}, "alias.rollback"),
    entry(2.5, {"toy:2": 0.9, "toy:3": 0.1}, "alias.force"),
    entry(2.4, {}, "alias.policy"),
    entry(0.5, {"toy:2": 1.0}),
]


@pytest.fixture
def made(keep, library):
    """Three reports on the same items, then two on others, of which the last has no such figure."""
    keep({"base": LOW, "new": HIGH}, day=0)
    keep({"base": HIGH, "new": LOW}, day=1, systems={"new": "worse"})
    keep({"base": LOW, "new": HIGH}, day=2, provisional=("a dry run",))
    keep({"base": LOW, "new": HIGH}, day=4, task_digest=digest_of("x"), scoring=digest_of("y"))
    reports, _ = library.of_task("toy")
    return history("toy", reports, {"toy": Trail.of(TRAIL, "toy:prod")})


def test_the_alias_pointed_where_its_newest_move_of_before_put_it() -> None:
    trail = Trail.of(TRAIL, "toy:prod")
    days = [0.0, 0.5, 2.45, 3.0, 3.6, 30.0]
    served = [trail.at(START + timedelta(days=day)) for day in days]
    assert served == ["", "toy:2", "toy:2", "toy:2 (90%), toy:3 (10%)", "toy:2", "toy:2"]


def test_each_report_has_its_figures_rulings_and_what_served_then(made) -> None:
    new = [point for point in made.points if point.arm == "new"]
    assert [point.figure.value for point in new] == [1.0, 0.0, 1.0, 1.0]
    assert [point.word for point in new] == ["passed", "failed", "look", "passed"]
    assert [point.word for point in made.points if point.arm == "base"] == [None] * 4
    assert [point.serving for point in new] == ["", "toy:2", "toy:2", "toy:2"]
    assert [point.version for point in new] == ["toy:2", "toy:3", "toy:2", "toy:2"]
    assert [point.basis for point in new] == [0, 0, 0, 1]
    assert [move.to for move in made.moves] == ["toy:2", "toy:2 (90%), toy:3 (10%)", "toy:2"]


def test_arms_and_figures_are_chosen_and_reports_without_them_are_counted(keep, library) -> None:
    keep({"base": LOW, "new": HIGH}, day=0)
    keep({"base": LOW}, day=1, judged=False)
    reports, _ = library.of_task("toy")
    made = history("toy", reports, {}, arms=["new"])
    assert (made.arms, len(made.points), made.without) == (["new"], 1, 1)
    assert history("toy", reports, {}, metric="none").without == 2


def test_the_same_items_scored_alike_are_one_basis_whatever_the_tasks_digest(keep, library) -> None:
    keep({"base": LOW, "new": HIGH}, day=0, task_digest=digest_of("1"))
    keep({"base": LOW, "new": HIGH}, day=1, task_digest=digest_of("2"))
    keep({"base": LOW, "new": HIGH}, day=2, task_digest=digest_of("3"), scoring=None)
    reports, _ = library.of_task("toy")
    assert [point.basis for point in history("toy", reports, {}, arms=["new"]).points] == [0, 0, 1]


def test_the_plot_is_well_formed_joins_what_can_be_compared_and_marks_the_moves(made) -> None:
    root = ElementTree.fromstring(plot(made).encode("utf-8"))
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert titles[0] == "toy: exact over 4 reports, with 95 % intervals"
    assert "new toy:3: 0.000 [0.000, 0.161], n 20, failed" in titles
    joined = [group.findall(f"{SVG}line") for group in root.findall(f"{SVG}g")]
    assert [len(lines) for lines in joined] == [2, 2], "two of three steps of each arm: the items changed at the last"
    moves = [line for line in root.iter(f"{SVG}line") if line.get("class") == "move"]
    told = [title.text.count("toy:prod →") for line in moves for title in line]
    assert told == [1, 2], "two moves between the same reports are one line"
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts.count("≠ items") == 1
    assert "http" not in plot(made).replace("http://www.w3.org/2000/svg", "")


def test_a_label_of_any_letters_is_in_the_plot(keep, library) -> None:
    keep({"base": LOW, "جديد <&>\x00": HIGH})
    reports, _ = library.of_task("toy")
    root = ElementTree.fromstring(plot(history("toy", reports, {})).encode("utf-8"))
    assert "جديد <&>\ufffd" in [text.text for text in root.iter(f"{SVG}text")]


def test_the_table_fits_80_columns_and_says_where_the_items_changed(made, capsys, monkeypatch) -> None:
    from rich.console import Console

    monkeypatch.setenv("COLUMNS", "80")
    print_history(made, Console())
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("≠ items") == 2, "the place, and what it means"
    assert "toy:prod → toy:2 (90%), toy:3 (10%)" in text


def test_names_of_versions_and_of_other_tools_models() -> None:
    assert [name_of(ref) for ref in ("toy:3", "meta-llama/Llama 3", "")] == ["toy", "", ""]


def test_any_number_of_arms_is_drawn_each_with_a_sign(keep, library) -> None:
    keep({f"arm {n}": HIGH for n in range(7)})
    reports, _ = library.of_task("toy")
    root = ElementTree.fromstring(plot(history("toy", reports, {})).encode("utf-8"))
    assert len([sign for kind in ("circle", "polygon") for sign in root.iter(f"{SVG}{kind}")]) == 14, (
        "points and legend"
    )
