"""What a campaign comes to, for the terminal and as JSON: pairs of arms, strengths, and who agrees with whom.

Results are those of a closed campaign. Of an open one a rater could tell by them whose the answer was that they have
just voted for, and take the vote back; and a team could stop when the arm that it likes is ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.people.agreement import alpha
from evals.people.strengths import strengths
from evals.people.tally import compared, pairs_in, said_in, units_of
from lifecycle.errors import InvalidInput, NotAllowed
from lifecycle.interval import Interval
from lifecycle.people import PeopleComparison
from lifecycle.rating import Ratings
from lifecycle.report import words_of
from lifecycle.version import Frozen

if TYPE_CHECKING:
    from rich.console import Console


class ArmStrength(Frozen):
    """As `strengths.py` has it."""

    arm: str
    ref: str
    log_odds: Interval
    beats_first: Interval


class Agreement(Frozen):
    """How far raters agree, on all pairs together: nothing that tells which arm is ahead."""

    campaign: str
    votes: int
    rated_twice: int
    """Pairs of answers that two or more people have voted on."""
    alpha_nominal: float | None
    """Krippendorff's, over the four kinds of vote; None where no pair has two."""
    alpha_ordinal: float | None
    """The same, with ties and both bad between the two arms."""


class CampaignResults(Frozen):
    campaign: str
    pairs: tuple[PeopleComparison, ...]
    strengths: tuple[ArmStrength, ...]
    """Bradley–Terry; empty where votes do not connect the arms."""
    agreement: Agreement


def agreement_of(ratings: Ratings) -> Agreement:
    said = said_in(ratings)
    units = units_of(said)
    return Agreement(
        campaign=ratings.campaign.name,
        votes=sum(vote.preferred is not None for vote in ratings.votes),
        rated_twice=sum(len(raters) > 1 for raters in units.values()),
        alpha_nominal=alpha(units, "nominal"),
        alpha_ordinal=alpha(units_of(said, ordinal=True), "ordinal"),
    )


def results_of(ratings: Ratings) -> CampaignResults:
    """Raises `NotAllowed` for a campaign that is open, and `InvalidInput` for one that nobody voted in."""
    campaign, said = ratings.campaign, said_in(ratings)
    if campaign.closed_at is None:
        raise NotAllowed(
            f"{campaign.name} is open, and its results would tell whose answers are whose: `dabt rate status "
            f"{campaign.name}` says how far it is, `dabt rate close {campaign.name}` ends it"
        )
    agreement = agreement_of(ratings)
    if not agreement.votes:
        raise InvalidInput(f"nobody has voted in {campaign.name}: it has no results")
    arms = tuple(campaign.arms)
    try:
        fitted = strengths(said, arms, seed=campaign.seed)
    except InvalidInput:  # some were never compared
        fitted = ()
    return CampaignResults(
        campaign=campaign.name,
        pairs=tuple(told for arm, against in pairs_in(said, arms) if (told := compared(said, arm, against))),
        strengths=tuple(
            ArmStrength(arm=of.arm, ref=campaign.arms[of.arm].ref, log_odds=of.log_odds, beats_first=of.beats)
            for of in fitted
        ),
        agreement=agreement,
    )


def print_results(results: CampaignResults, console: Console) -> None:
    """Within 80 columns."""
    from rich import box
    from rich.table import Table

    from lifecycle.commands.terminal import show

    for told in results.pairs:
        console.print(pair_line(told), markup=False, highlight=False)
    table = Table("arm", "version", "strength", "95 %", "beats first", "95 %", box=box.SIMPLE_HEAD, pad_edge=False)
    for of in results.strengths:
        table.add_row(of.arm, of.ref, *_cells(of.log_odds, "+.2f"), *_cells(of.beats_first, ".2f"))
    if results.strengths:
        table.title, table.title_justify = "Bradley–Terry", "left"
        show(table, console)
    for line in [agreement_line(results.agreement), *(line for told in results.pairs for line in figure_lines(told))]:
        console.print(line, markup=False, highlight=False)


def agreement_line(agreement: Agreement) -> str:
    if agreement.alpha_nominal is None or agreement.alpha_ordinal is None:
        return f"{agreement.votes} votes, and no pair has those of two people: nothing says how far they agree"
    return (
        f"Krippendorff's alpha {agreement.alpha_nominal:.3f} nominal, {agreement.alpha_ordinal:.3f} ordinal, over "
        f"{agreement.rated_twice} pairs with two votes or more"
    )


def pair_line(told: PeopleComparison) -> str:
    """`adapter wins 0.70 [0.60, 0.78] against base: 63 for, 20 against, 10 ties, 3 both bad`"""
    rate, more = told.win_rate, ""
    where = f" in {words_of(told.where)}" if told.where else ""
    if told.settled:
        more += f", {told.settled} settled unasked"
    if told.skipped:
        more += f", {told.skipped} skipped"
    return (
        f"{told.arm} wins {_share(rate)} against {told.against}{where}: {told.wins} for, {told.losses} against, "
        f"{told.ties} ties, {told.both_bad} both bad{more}; {rate.n} items, {told.raters} raters"
    )


def figure_lines(told: PeopleComparison) -> list[str]:
    lines = []
    if (people := told.people_agreed) is not None:
        lines.append(f"{told.arm} and {told.against}: two people say the same in {_share(people)}")
    for name, figure in told.figures.items():
        decided = f"; {_share(figure.decided)} where both take a side" if figure.decided else ""
        lines.append(f"{told.arm} and {told.against}: {name} says what people say in {_share(figure.agreed)}{decided}")
    return lines


def _share(figure: Interval) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _cells(figure: Interval, form: str) -> tuple[str, str]:
    return f"{figure.value:{form}}", f"{figure.low:{form}}…{figure.high:{form}}"
