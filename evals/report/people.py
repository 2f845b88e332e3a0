"""What people say of the arms, as the report shows it: in Markdown, HTML and the terminal."""

from __future__ import annotations

from evals.people.results import figure_lines
from lifecycle.interval import Interval
from lifecycle.people import PeopleComparison
from lifecycle.report import Report, words_of

PEOPLE_HEAD = ("arm", "against", "items", "wins", "for", "against it", "ties", "both bad", "raters", "alpha")
OF_PEOPLE = (
    "Blind votes of closed campaigns on these versions, items and deployment. A win rate is a share of items, with "
    "ties and both bad as one half; alpha is Krippendorff's over the four kinds of vote."
)
"""What a reader of these figures must know."""


def people_rows(report: Report) -> list[list[str]]:
    """One for each two arms, and for each slice that a rule names."""
    return [_row(told) for told in report.people]


def people_notes(report: Report) -> list[str]:
    """How far people and figures agree, and what is in no count of votes."""
    notes = []
    for told in report.people:
        if told.where:
            continue
        names = f"{told.arm} and {told.against}: campaigns {', '.join(told.campaigns)}, {told.votes} votes"
        notes.append(f"{names}, {told.skipped} skipped, {told.settled} items settled unasked")
        notes += figure_lines(told)
    return notes


def _row(told: PeopleComparison) -> list[str]:
    votes = [str(count) for count in (told.wins, told.losses, told.ties, told.both_bad, told.raters)]
    where = f"{told.win_rate.n} of {words_of(told.where)}" if told.where else str(told.win_rate.n)
    alpha = "–" if told.alpha is None else f"{told.alpha:.3f}"
    return [told.arm, told.against, where, _rate(told.win_rate), *votes, alpha]


def _rate(rate: Interval) -> str:
    return f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
