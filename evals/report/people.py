"""What people say of the arms, as the report shows it: in Markdown, HTML and the terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from evals.people.results import figure_lines
from evals.report.evaluation import Evaluation
from lifecycle.interval import Interval
from lifecycle.people import PeopleComparison
from lifecycle.report import words_of

PEOPLE_HEAD = ("arm", "against", "items", "wins", "for", "against it", "ties", "both bad", "raters", "alpha")
OF_PEOPLE = (
    "Blind votes of closed campaigns on these versions, items and deployment. A win rate is a share of items, with "
    "ties and both bad as one half; alpha is Krippendorff's over the four kinds of vote."
)
"""What a reader of these figures must know."""


def people_rows(evaluation: Evaluation) -> list[list[str]]:
    """One for each two arms, and for each slice that a rule names."""
    return [_row(told) for told in evaluation.people]


def as_of(evaluation: Evaluation) -> str:
    """Since when the votes may be others, and whether the verdicts stand on them."""
    made = evaluation.report.created_at
    if evaluation.votes is None:
        return f"Votes as of {_moment(made)} UTC."
    told = f"Votes as of {_moment(evaluation.votes.at)} UTC."
    if evaluation.votes.told == evaluation.report.people:
        return f"{told} They are those that the verdicts stand on."
    votes = sum(pair.votes for pair in evaluation.report.people if not pair.where)
    return (
        f"{told} The verdicts stand on those of {_moment(made)} UTC, {votes} in number: run the evaluation again for "
        "verdicts on these."
    )


def people_notes(evaluation: Evaluation) -> list[str]:
    """When the votes were counted, how far people and figures agree, and what is in no count of votes."""
    notes = [as_of(evaluation)] if evaluation.people else []
    for told in evaluation.people:
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


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _rate(rate: Interval) -> str:
    return f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
