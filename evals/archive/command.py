"""`dabt reports`: evaluations that are kept, listed, shown, searched, compared with each other and over time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.commands.terminal import HomeOption, JsonOption, open_console, say_left_out, to_json
from lifecycle.text.counting import counted

if TYPE_CHECKING:
    from evals.archive.items import Item
    from evals.archive.library import Kept, Library

_TRAIL = 100_000
"""Changes of a name that are looked through for the moves of its alias."""
ReportArgument = Annotated[
    str, typer.Argument(help="The beginning of its digest, its folder, latest, or TASK:latest.")
]  # fmt: skip


def list_(
    task: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    version: Annotated[str | None, typer.Option(help="Only with this version, or any of a name: triage:5.")] = None,
    since: Annotated[str | None, typer.Option(help="From this day on, such as 2026-05-01 (UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="Up to the end of this day.")] = None,
    verdict: Annotated[str | None, typer.Option(help="passed, failed, undecided, or look.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List the evaluations that are kept, the newest first.

    Example: `dabt reports list --task triage --verdict failed`
    """
    from evals.archive.library import Wanted
    from evals.archive.shown import listed, print_list
    from lifecycle.config_file import validated

    given = {"task": task, "version": version, "since": since, "until": until, "verdict": verdict}
    wanted = validated(Wanted, {key: value for key, value in given.items() if value is not None}, Path("the options"))
    with _library(home) as library:
        reports, left_out, more = library.newest(wanted, limit)
    say_left_out(left_out)
    if as_json:
        typer.echo(to_json([listed(kept) for kept in reports]))
        return
    if not reports:
        typer.echo("no evaluation of this kind is kept" if any(given.values()) else "no evaluation is kept yet")
        return
    print_list(reports, open_console())
    if more:
        typer.echo(f"and {more} older ones: --limit shows more")


def show(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    report: ReportArgument,
    item: Annotated[str | None, typer.Option(help="One item, by its name, key or link: item-5f1e0c27a9b3.")] = None,
    disagree: Annotated[bool, typer.Option("--disagree", help="The items on which the arms differ.")] = False,
    search: Annotated[
        str | None, typer.Option(help="The items with all of these words, in any text of theirs.")
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="Look for differences among these alone; again for more.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Items that are printed.")] = 20,
    csv: Annotated[Path | None, typer.Option(help="Write the items to this file, for a spreadsheet.")] = None,
    bom: Annotated[bool, typer.Option("--bom", help="Mark the CSV as UTF-8: Excel needs it for Arabic.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show a report as it was printed, or its items: those where arms disagree, those with some words, or one.

    Example: `dabt reports show triage:latest --disagree --search "chest pain"`
    """
    from evals.archive import items as archive
    from evals.archive.csv_export import export
    from evals.archive.shown import listed, print_item
    from evals.report.table import print_evaluation

    name, _, link = report.partition("#")
    with _library(home) as library:
        kept = library.find(name)
        evaluation = library.shown(kept)
    if item or link:
        chosen = [archive.pick(kept.items(), item or link)]
    elif disagree or search is not None:
        chosen = list(_chosen(kept, tuple(arm or ()), disagree=disagree, search=search))
    else:
        chosen = None
    if csv:
        count = export(kept, csv, bom=bom, chosen=chosen)
        typer.echo(f"{csv}: {counted(count, 'item')}")
    elif as_json:
        whole = listed(kept) | {"full": kept.report.model_dump(mode="json")}
        typer.echo(to_json(whole if chosen is None else [archive.as_row(row) for row in chosen]))
    elif chosen is None:
        console = open_console()
        print_evaluation(evaluation, console)
        page = kept.folder / "report.html"
        where = str(page) if page.is_file() else f"digest {kept.report.digest}"
        console.print(f"report: {where}", soft_wrap=True, highlight=False)
    else:
        for row in chosen[:limit]:
            print_item(kept, row, open_console())
        typer.echo(f"{len(chosen)} of {kept.report.n_items} items" + _more(len(chosen), limit))


def _more(count: int, limit: int) -> str:
    return f", the first {limit} of them shown; --limit shows more" if count > limit else ""


def _chosen(kept: Kept, arms: tuple[str, ...], *, disagree: bool, search: str | None) -> Iterator[Item]:
    from evals.archive import items as archive

    for arm in arms:
        kept.report.result(arm)  # raises for one that is not there
    rows = kept.items()
    if disagree:
        rows = archive.disagreeing(rows, kept.report.of_items, arms)
    return archive.searched(rows, search) if search is not None else rows


def diff(
    before: ReportArgument,
    after: ReportArgument,
    arm: Annotated[
        list[str] | None, typer.Option(help="Only this arm, or OLD=NEW where its label is another; again for more.")
    ] = None,
    metric: Annotated[str, typer.Option(help="Another figure than the deciding one.")] = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Compare two reports: every arm on the items that both have, and all else in which the runs differ.

    What was asked or scored in another way is not compared, and the reason is said.

    Example: `dabt reports diff 3f2a91 triage:latest --arm adapter`
    """
    from evals.archive.diff import compare
    from evals.archive.shown import print_diff

    pairs = [(old, new or old) for old, _, new in (label.partition("=") for label in arm or ())]
    with _library(home) as library:
        made = compare(library.find(before), library.find(after), metric=metric, pairs=pairs, spec_of=library.spec_of)
    if as_json:
        typer.echo(to_json(made.model_dump(mode="json")))
    else:
        print_diff(made, open_console())


def history(
    task: Annotated[str, typer.Argument(help="The task, as `dabt reports list` names it.")],
    arm: Annotated[list[str] | None, typer.Option(help="Only this arm; again for more.")] = None,
    metric: Annotated[str, typer.Option(help="Another figure than the deciding one.")] = "",
    svg: Annotated[Path | None, typer.Option(help="Draw it into this file.")] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show a task over time: each report's figures with their intervals, what was decided, and what `prod` served then.

    Example: `dabt reports history triage --arm adapter --svg triage.svg`
    """
    from evals.archive.history import Trail, name_of
    from evals.archive.history import history as tell
    from evals.archive.history_shown import plot, print_history
    from lifecycle.aliases import PROD
    from lifecycle.rows.writing import replaced

    with _library(home) as library:
        reports, left_out = library.of_task(task)
        names = {name_of(row.ref) for kept in reports for row in kept.report.arms if not kept.report.imported}
        trails = {name: Trail.of(library.registry.audit(name, _TRAIL), f"{name}:{PROD}") for name in names - {""}}
        made = tell(task, reports, trails, metric=metric, arms=arm or ())
    say_left_out(left_out)
    if svg:
        with replaced(svg) as out:
            out.write(plot(made).encode())
        typer.echo(f"{svg}: {counted(len(made.points), 'figure')}")
    elif as_json:
        typer.echo(to_json(made.model_dump(mode="json")))
    else:
        print_history(made, open_console())


def import_(
    paths: Annotated[list[Path], typer.Argument(help="Result files, or folders of them.")],
    metric: Annotated[str, typer.Option(help="The figure to list it by; else the first that it has.")] = "",
    home: HomeOption = None,
) -> None:
    """Take in results of lm-eval (`results_*.json`) or NeMo Evaluator (`eval-*.json`, `results.yml`).

    They can be listed, shown and compared with each other, and open no gate.

    Example: `dabt reports import results/my-model`
    """
    from evals.archive.shown import print_list
    from evals.foreign.taking import take_in
    from lifecycle.home import Home

    kept = take_in(paths, Home.at(home), metric=metric)
    print_list(kept, open_console())
    for report in kept:
        for note in report.report.imported.notes if report.report.imported else ():
            typer.echo(f"{report.name}: {note}")


@contextmanager
def _library(home: Path | None) -> Iterator[Library]:
    from evals.archive.library import Library
    from lifecycle.home import Home
    from lifecycle.registry import Registry

    place = Home.at(home)
    with Registry.open(place.registry_url) as registry:
        yield Library(registry, place)
