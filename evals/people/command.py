"""`dabt rate`: people rate stored answers, blind and in pairs. The work is in the modules beside this."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lifecycle.commands.terminal import (
    HomeOption,
    JsonOption,
    ReasonOption,
    open_console,
    open_registry,
    this_user,
    to_json,
)

if TYPE_CHECKING:
    from lifecycle.rating import Campaign
    from lifecycle.registry import Registry

NameArgument = Annotated[str, typer.Argument(help="The campaign's name.")]
RaterOption = Annotated[str | None, typer.Option(help="Who votes; the name of this user by default.")]


def create(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    name: NameArgument,
    evaluation: Annotated[str, typer.Option(help="Whose answers: a report as `dabt reports` names it.")],
    arms: Annotated[str, typer.Option(help="Which arms, such as base,adapter; all of them by default.")] = "",
    against: Annotated[str | None, typer.Option(help="Compare with this arm alone, and not every two.")] = None,
    items: Annotated[int | None, typer.Option(min=1, help="A seeded sample of so many items.")] = None,
    votes: Annotated[int, typer.Option(min=1, max=100, help="Votes on each pair, each of another rater.")] = 2,
    question: Annotated[str | None, typer.Option(help="What raters are asked.")] = None,
    show_target: Annotated[bool, typer.Option("--show-target", help="Show what would be right.")] = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="Say after each vote whose answers those were.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Of the order; drawn by default.")] = None,
    home: HomeOption = None,
) -> None:
    """Open a campaign on the answers of a stored evaluation.

    Example: `dabt rate create triage-nov --evaluation triage:latest --arms base,adapter --items 100 --votes 2`
    """
    from evals.people.making import Wish, campaign_of, stored
    from lifecycle.home import Home
    from lifecycle.rating import QUESTION

    labels = tuple(label.strip() for label in arms.split(",") if label.strip())
    wish = Wish(labels, against, items, votes, question or QUESTION, show_target, reveal, seed)
    with open_registry(home) as registry:
        report, there = stored(evaluation, registry, Home.at(home))
        campaign, chosen = campaign_of(name, report, there, wish, actor=this_user())
        registry.ratings.create(campaign, chosen, actor=this_user())
        progress = registry.ratings.progress(name)
    typer.echo(
        f"{name}: {progress.pairs} pairs of answers on {len(chosen)} items, {progress.wanted} votes are asked for"
        + (f"; {progress.settled} pairs need none (equal answers, or none)" if progress.settled else "")
    )
    typer.echo(f"rate with: dabt rate vote {name} --rater NAME")


def list_(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List the campaigns, newest first.

    Example: `dabt rate list`
    """
    from rich.table import Table
    from rich.text import Text

    from lifecycle.commands.terminal import print_table

    with open_registry(home) as registry:
        campaigns = registry.ratings.all()
        progress = [registry.ratings.progress(campaign.name) for campaign in campaigns]
    if as_json:
        seen = zip(campaigns, progress, strict=True)
        typer.echo(to_json([_public(campaign) | far.model_dump(mode="json") for campaign, far in seen]))
        return
    if not campaigns:
        typer.echo("there is no campaign yet; `dabt rate create` opens one on a stored evaluation")
        return
    table = Table("name", "task", "votes", "raters", "state", box=None)
    for campaign, far in zip(campaigns, progress, strict=True):
        state = f"closed {campaign.closed_at:%Y-%m-%d}" if campaign.closed_at else "open"
        cells = (campaign.name, campaign.task, f"{far.votes} of {far.wanted}", str(len(far.raters)), state)
        table.add_row(*(Text(cell) for cell in cells))
    print_table(table)


def vote(
    name: NameArgument,
    rater: RaterOption = None,
    language: Annotated[Literal["en", "ar"], typer.Option("--lang", help="Of the screen.")] = "en",
    home: HomeOption = None,
) -> None:
    """Rate: two answers, and nothing that tells whose they are. What you have voted on is kept at once.

    Example: `dabt rate vote triage-nov --rater amal --lang ar`
    """
    with open_registry(home) as registry:
        _rate(registry, name, rater or this_user(), language)


def undo(name: NameArgument, rater: RaterOption = None, home: HomeOption = None) -> None:
    """Take your last vote back; it is before you again at the next `dabt rate vote`.

    Example: `dabt rate undo triage-nov --rater amal`
    """
    with open_registry(home) as registry:
        registry.ratings.undo(name, rater or this_user())
    typer.echo("the last vote is taken back")


def status(name: NameArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show how far a campaign is, and nothing of what anybody said.

    Example: `dabt rate status triage-nov`
    """
    with open_registry(home) as registry:
        campaign, far = registry.ratings.get(name), registry.ratings.progress(name)
    if as_json:
        typer.echo(to_json(_public(campaign) | far.model_dump(mode="json")))
        return
    arms = ", ".join(f"{label} ({arm.ref})" for label, arm in campaign.arms.items())
    state = f"closed on {campaign.closed_at:%Y-%m-%d}" if campaign.closed_at else "open"
    lines = [
        f"{name} is {state}: {campaign.task}, {arms}",
        f"{far.votes} of {far.wanted} votes on {far.pairs} pairs; {far.waiting} ballots are before raters, "
        f"{far.skipped} skipped, {far.settled} pairs need no vote",
    ]
    if far.resting:
        lines.append(f"{far.resting} pairs are handed out no more: a version of theirs is retired")
    lines += [f"  {rater}: {votes}" for rater, votes in far.raters.items()]
    typer.echo("\n".join(lines))


def results(name: NameArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show win rates, Bradley–Terry strengths and agreement of a closed campaign, with 95 % intervals.

    Example: `dabt rate results triage-nov`
    """
    from evals.people.results import print_results, results_of

    with open_registry(home) as registry:
        found = results_of(registry.ratings.ratings(name))
    if as_json:
        typer.echo(to_json(found.model_dump(mode="json")))
    else:
        print_results(found, open_console())


def agreement(name: NameArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show how far raters agree so far. How far figures such as a judge's agree with them is among the results.

    Example: `dabt rate agreement triage-nov`
    """
    from evals.people.results import agreement_line, agreement_of

    with open_registry(home) as registry:
        found = agreement_of(registry.ratings.ratings(name))
    typer.echo(to_json(found.model_dump(mode="json")) if as_json else agreement_line(found))


def close(name: NameArgument, reason: ReasonOption = "", home: HomeOption = None) -> None:
    """End a campaign. From then on its figures count for the gate, and it can be exported.

    Example: `dabt rate close triage-nov --reason "two votes on every pair"`
    """
    with open_registry(home) as registry:
        registry.ratings.close(name, actor=this_user(), reason=reason)
        far = registry.ratings.progress(name)
    typer.echo(f"{name} is closed with {far.votes} of {far.wanted} votes")


def export(
    name: NameArgument,
    output: Annotated[Path, typer.Argument(help="A new file: .jsonl, .json, .parquet; packed with .gz.")],
    votes: Annotated[int, typer.Option(min=1, help="Votes that a pair needs.")] = 1,
    unanimous: Annotated[bool, typer.Option("--unanimous", help="Only pairs on which all votes agree.")] = False,
    home: HomeOption = None,
) -> None:
    """Write what people prefer as preference rows, which DPO trains on. The campaign must be closed.

    Example: `dabt rate export triage-nov preferences.jsonl --votes 2`
    """
    from evals.people.export import preference_rows
    from lifecycle.errors import InvalidInput
    from lifecycle.rows.writing import write

    with open_registry(home) as registry:
        exported = preference_rows(registry.ratings.ratings(name), votes=votes, unanimous=unanimous)
        for why, pairs in exported.left_out.items():
            typer.echo(f"left out: {pairs} pairs: {why}", err=True)
        if not exported.rows:
            raise InvalidInput(f"no pair of {name} has a preferred answer to write")
        registry.ratings.note_export(name, len(exported.rows), actor=this_user())
        write(output, exported.rows)
    typer.echo(f"{output}: {len(exported.rows)} preference rows")
    typer.echo("these are items of an evaluation: judge what is trained on them by others", err=True)


def _rate(registry: Registry, name: str, rater: str, language: Literal["en", "ar"]) -> None:
    """Ballot after ballot, until nothing is left or the rater stops."""
    from evals.people import screen
    from lifecycle.errors import Conflict, NotAllowed, NotFound

    console, words, book = open_console(), screen.WORDS[language], registry.ratings
    while (ballot := book.next(name, rater)) is not None:
        width = min(console.width, 100)
        for line in screen.shown(ballot, book.progress(name), rater, language, width):
            typer.echo(line)
        try:
            while (said := screen.typed(input("> "))) is None:
                typer.echo(words["again"])
        except EOFError:
            said = screen.Instead.STOP
        if said is screen.Instead.STOP:
            typer.echo(words["stopped"].format(name=name))
            return
        try:
            if said is screen.Instead.UNDO:
                book.undo(name, rater)
                typer.echo(words["undone"])
            elif were := book.vote(name, ballot.id, rater, said):
                typer.echo(words["were"].format(**were))
        except (Conflict, NotFound) as error:  # nothing to take back, or another rater was given it meanwhile
            typer.echo(str(error))
        except NotAllowed as error:
            if book.get(name).closed_at is not None:
                raise
            typer.echo(str(error))
        typer.echo("")
    typer.echo(words["done"].format(name=name))


def _public(campaign: Campaign) -> dict[str, object]:
    """Without the seed, which tells whose an answer is."""
    return campaign.model_dump(mode="json", exclude={"seed"})
